"""The compiled steps: pure functions, and the one place where they meet jit and shardings."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.errors import UserError
from vmmjax.objectives import Objective, mean_of, total
from vmmjax.objectives.base import Apply
from vmmjax.training import paths
from vmmjax.training.scalars import computed_once
from vmmjax.training.sharding import batch_sharding, replicated, row_shards
from vmmjax.training.state import TrainState

TrainStep = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(apply: Apply, objective: Objective, optimizer: optax.GradientTransformation, *, seed: int,
                    freeze: Sequence[str] = (), ema_decay: float = 0.0, microbatches: int = 1,
                    rows: NamedSharding | None = None) -> TrainStep:
    """The pure step `(state, batch) -> (state, metrics)`; metrics are float32 scalars.

    Where the loss, a gradient or a running statistic is not finite, the step is skipped: the state stays as it is, but
    the step is counted, the learning rate goes on and the metric `skipped` is 1.

    Args:
      apply: `apply(variables, batch, ...)` on a raw clip batch.
      objective: what is minimised.
      optimizer: from `optimizer.create`.
      seed: dropout keys are `fold_in(key(seed), step)`.
      freeze: path patterns; running statistics that match stay as they are, and nothing is computed for the gradients
        of parameters that match (that these stay, too, is the optimizer's part).
      ema_decay: of the moving average, where the state has one.
      microbatches: parts of a batch whose gradients are computed one after another and added up. The sums are those
        of the whole batch, however the rows that count are spread; BatchNorm sees each part alone, and updates its
        running statistics once a part.
      rows: how a batch is sharded; its parts are then sharded alike, and no row moves.

    Raises:
      UserError: for an objective that compares rows, or, when it is traced, a batch that does not split.
    """
    if microbatches > 1 and getattr(objective, 'compares_rows', False):
        raise UserError(f'This task compares the clips of a batch with each other, and in microbatches they would not '
                        f'meet; set config.microbatches = 1 (it is {microbatches}).')

    def loss_of(params: Any, model_state: Any, batch: Any, rng: jax.Array, counts: Any, factor: Any) -> Any:
        params = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.stop_gradient(leaf) if paths.matches(freeze, path) else leaf, params)
        loss = objective(apply, params, model_state, batch, rng)
        if counts is not None:
            loss = loss._replace(terms={name: (term, counts[name]) for name, (term, _) in loss.terms.items()})
        value = total(loss)
        return value if factor is None else value * factor, (value, loss.model_state, loss.metrics)

    differentiate = jax.grad(loss_of, has_aux=True)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        rng = jax.random.fold_in(jax.random.key(seed), state.step)
        factor = None if state.loss_scale is None else state.loss_scale.factor
        if microbatches == 1:
            found = differentiate(state.params, state.model_state, batch, rng, None, factor)
        else:
            # Each part's share of the loss needs the weights of all. Nothing but masks is computed for them: XLA
            # drops the rest of the network, whose outputs nobody reads.
            terms = objective(apply, state.params, state.model_state, batch, rng).terms
            counts = {name: count for name, (_, count) in terms.items()}
            parts = _parts(batch, microbatches, rows), jax.random.split(rng, microbatches)
            found = _accumulate(differentiate, state, parts, counts, factor)
        gradients, (value, model_state, sums) = found
        if factor is not None:
            gradients = jax.tree.map(lambda gradient: gradient / factor, gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = _keep_frozen(freeze, state.model_state, model_state)
        ema = state.ema if state.ema is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
        norm = optax.tree.norm(gradients)
        finite = _all_finite((value, norm, model_state))
        metrics = {name: mean_of(pair) for name, pair in sums.items()}
        metrics |= {'loss': value, 'gradient_norm': norm, 'skipped': 1 - finite.astype(jnp.float32)}
        if state.loss_scale is not None:
            metrics['loss_scale'] = state.loss_scale.factor
        new = dataclasses.replace(state, params=params, model_state=model_state, opt_state=opt_state, ema=ema)
        scale = None if state.loss_scale is None else state.loss_scale.after(finite)
        return dataclasses.replace(_where(finite, new, state), step=state.step + 1, loss_scale=scale), metrics

    return train_step


def _parts(batch: Any, count: int, rows: jax.sharding.NamedSharding | None) -> Any:
    """Part i of a batch (count, B / count, ...) has the rows i, i + count, ...: as many from every device."""
    shards = 1 if rows is None else row_shards(rows)

    def split(x: jax.Array) -> jax.Array:
        if len(x) % (count * shards):
            raise UserError(f'A batch of {len(x)} clips does not split into {count} microbatches over {shards} '
                            f'device(s); set config.batch_size to a multiple of {count * shards}.')
        x = x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)
        if rows is None:
            return x
        return jax.lax.with_sharding_constraint(x, NamedSharding(rows.mesh, P(None, *rows.spec)))

    return jax.tree.map(split, batch)


def _accumulate(differentiate: Callable[..., Any], state: TrainState, parts: Any, counts: Any, factor: Any) -> Any:
    """What `differentiate` gives of the whole batch, one part after another."""
    def one(carry: Any, part: Any) -> Any:
        gradients, model_state = carry
        more, (value, model_state, metrics) = differentiate(state.params, model_state, *part, counts, factor)
        return (jax.tree.map(jnp.add, gradients, more), model_state), (value, metrics)

    start = jax.tree.map(jnp.zeros_like, state.params), state.model_state
    (gradients, model_state), sums = jax.lax.scan(one, start, parts)
    value, metrics = jax.tree.map(lambda each: each.sum(0), sums)
    return gradients, (value, model_state, metrics)


def _all_finite(tree: Any) -> jax.Array:
    """Whether every element of every array is finite."""
    flags = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return computed_once(functools.reduce(jnp.logical_and, flags).astype(jnp.float32)) > 0


def _where(finite: jax.Array, new: TrainState, old: TrainState) -> TrainState:
    """The new state, or the old one but for the place in the schedule of the learning rate, which is the step's."""
    def choose(a: Any, b: Any) -> Any:
        return a if isinstance(a, optax.ScaleByScheduleState) else jnp.where(finite, a, b)

    chosen: TrainState = jax.tree.map(choose, new, old,
                                      is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState))
    return chosen


def _keep_frozen(patterns: Sequence[str], old: Any, new: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, a, b: a if paths.matches(patterns, path) else b, old, new)


def compile_train_step(step: TrainStep, mesh: jax.sharding.Mesh, shardings: TrainState) -> TrainStep:
    """Jits the step over the mesh: shardings of the state pinned on both sides, the old state donated."""
    return jax.jit(step, in_shardings=(shardings, batch_sharding(mesh)),
                   out_shardings=(shardings, replicated(mesh)), donate_argnums=0)


def logits_of(outputs: Any) -> Any:
    """Logits as float32, whatever tree of arrays they are."""
    return jax.tree.map(lambda logits: logits.astype(jnp.float32), outputs.logits)


def make_eval_step(apply: Apply, mesh: jax.sharding.Mesh, read: Callable[[Any], Any] = logits_of
                   ) -> Callable[[Any, Any, Any], Any]:
    """The compiled `(params, model_state, batch) -> scores`, a tree of arrays (B, ...), replicated on all devices.

    Args:
      apply: `apply(variables, batch, ...)` on a raw clip batch.
      mesh: of the devices.
      read: takes the scores from the model's outputs.
    """
    def eval_step(params: Any, model_state: Any, batch: Any) -> Any:
        return read(apply({'params': params, **model_state}, batch, train=False))

    return jax.jit(eval_step, out_shardings=replicated(mesh))
