"""The compiled steps: pure functions, and the one place where they meet jit and shardings."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.errors import UserError
from vmmjax.training import path_patterns
from vmmjax.training.objective import Apply, Context, Loss, Objective, mean_of, total
from vmmjax.training.players import ONLY, Players, averaged
from vmmjax.training.scalars import computed_once
from vmmjax.training.sharding import batch_sharding, replicated, row_shards
from vmmjax.training.state import TrainState

TrainStep = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(apply: Apply, objective: Objective, players: Players, *, seed: int, freeze: Sequence[str] = (),
                    microbatches: int = 1, rows: NamedSharding | None = None) -> TrainStep:
    """The pure step `(state, batch) -> (state, metrics)`; metrics are float32 scalars.

    One forward pass serves all players; each moves along the gradient of its own loss. Where a loss, a gradient or a
    running statistic is not finite, the step is skipped: the state stays as it is, but the step is counted, the
    learning rate goes on and the metric `skipped` is 1.

    Args:
      apply: `apply(variables, batch, ...)` on a raw clip batch.
      objective: what is minimised.
      players: who updates what.
      seed: dropout keys are `fold_in(key(seed), step)`.
      freeze: path patterns; running statistics that match stay as they are, and nothing is computed for the gradients
        of parameters that match (that these stay, too, is the optimizer's part).
      microbatches: parts of a batch whose gradients are computed one after another and added up. The sums are those
        of the whole batch, however the rows that count are spread; BatchNorm sees each part alone, and updates its
        running statistics once a part.
      rows: how a batch is sharded; its parts are then sharded alike, and no row moves.

    Raises:
      UserError: for an objective that compares rows and does not `embed` them first, or, when it is traced, a batch
        that does not split, batch statistics of rows that are compared in parts, or losses of other players.
    """
    comparing: Any = objective if getattr(objective, 'compares_rows', False) else None
    if microbatches > 1 and comparing and not hasattr(comparing, 'embed'):
        raise UserError(f'This task compares the clips of a batch with each other, and in microbatches they would not '
                        f'meet; set config.microbatches = 1 (it is {microbatches}).')

    def given(params: Any, ctx: Context) -> Context:
        params = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.stop_gradient(leaf) if path_patterns.matches(freeze, path) else leaf, params)
        return dataclasses.replace(ctx, params=params)

    def losses_of(params: Any, ctx: Context, embeddings: Any = None) -> dict[str, Loss]:
        ctx = given(params, ctx)
        found = objective.loss(ctx) if embeddings is None else comparing.compare(ctx, embeddings)
        losses = {ONLY: found} if isinstance(found, Loss) else dict(found)
        players.check(losses)
        return losses

    def scaled(params: Any, ctx: Context, counts: Any, factor: Any, embeddings: Any = None) -> Any:
        losses = losses_of(params, ctx, embeddings)
        if counts is not None:
            losses = {name: loss._replace(terms={term: (value, counts[name][term])
                                                 for term, (value, _) in loss.terms.items()})
                      for name, loss in losses.items()}
        values = {name: total(loss) for name, loss in losses.items()}
        metrics = {name: pair for loss in losses.values() for name, pair in loss.metrics.items()}
        minimised = values if factor is None else {name: value * factor for name, value in values.items()}
        return minimised, (values, next(iter(losses.values())).model_state, metrics)

    def differentiate(ctx: Context, counts: Any, factor: Any) -> tuple[dict[str, Any], Any]:
        """Each player's gradient of its own loss, and the values, model state and metrics beside."""
        minimised, pullback, beside = jax.vjp(lambda params: scaled(params, ctx, counts, factor), ctx.params,
                                              has_aux=True)
        return {name: players.parts(pullback(_one(minimised, name))[0])[name] for name in minimised}, beside

    def compared(ctx: Context, factor: Any) -> tuple[dict[str, Any], Any]:
        """As `differentiate`, of an objective that embeds rows and then compares them, in microbatches."""
        if jax.tree.leaves(ctx.model_state):
            raise UserError(f'The model keeps batch statistics (BatchNorm), by which the rows of a microbatch see each '
                            f'other before they are compared; set config.microbatches = 1 (it is {microbatches}), or '
                            f'take encoders without BatchNorm.')
        from vmmjax.training.cached_gradients import cached_gradients

        total = len(ctx.batch['row'])

        def embed(params: Any, part: Any) -> Any:
            return comparing.embed(dataclasses.replace(given(params, ctx), batch=part, rows=total))[0]

        def compare(params: Any, embeddings: Any) -> Any:
            minimised, pullback, beside = jax.vjp(lambda *args: scaled(args[0], ctx, None, factor, args[1]), params,
                                                  embeddings, has_aux=True)
            return {name: pullback(_one(minimised, name)) for name in minimised}, beside

        return cached_gradients(embed, compare, lambda name, tree: players.parts(tree)[name], ctx.params,
                                _parts(ctx.batch, microbatches, rows))

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        batch = {'row': jnp.arange(len(batch['mask']), dtype=jnp.int32), **batch}
        ctx = Context(apply, state.params, state.model_state, batch, seed, state.step,
                      jax.lax.stop_gradient(averaged(state.params, state.ema)),
                      jax.random.fold_in(jax.random.key(seed), state.step))
        factor = None if state.loss_scale is None else state.loss_scale.factor
        if microbatches == 1:
            gradients, beside = differentiate(ctx, None, factor)
        elif comparing:
            gradients, beside = compared(ctx, factor)
        else:
            # Each part's share of the loss needs the weights of all. Nothing but masks is computed for them: XLA
            # drops the rest of the network, whose outputs nobody reads.
            counts = {name: {term: count for term, (_, count) in loss.terms.items()}
                      for name, loss in losses_of(state.params, ctx).items()}
            gradients, beside = _accumulate(differentiate, ctx, _parts(ctx.batch, microbatches, rows),
                                            players.parts(state.params), counts, factor)
        values, model_state, sums = beside
        if factor is not None:
            gradients = jax.tree.map(lambda gradient: gradient / factor, gradients)
        params, opt_state, ema = players.update(gradients, state.params, state.opt_state, state.ema, state.step)
        model_state = _keep_frozen(freeze, state.model_state, model_state)
        norms = {name: optax.tree.norm(gradient) for name, gradient in gradients.items()}
        finite = _all_finite((values, norms, model_state))
        metrics = {name: mean_of(pair) for name, pair in sums.items()}
        metrics |= _by_player('loss', values) | _by_player('gradient_norm', norms)
        metrics |= {'skipped': 1 - finite.astype(jnp.float32)}
        if state.loss_scale is not None:
            metrics['loss_scale'] = state.loss_scale.factor
        new = dataclasses.replace(state, params=params, model_state=model_state, opt_state=opt_state, ema=ema)
        scale = None if state.loss_scale is None else state.loss_scale.after(finite)
        return dataclasses.replace(_where(finite, new, state), step=state.step + 1, loss_scale=scale), metrics

    return train_step


def _one(values: Mapping[str, jax.Array], name: str) -> dict[str, jax.Array]:
    """1 for a player and 0 for the others, of the dtypes of the values."""
    return {key: (jnp.ones_like if key == name else jnp.zeros_like)(value) for key, value in values.items()}


def _by_player(name: str, values: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """A metric of one player under its name; of several `<name>_<player>` each, and of losses their sum, too."""
    if ONLY in values:
        return {name: values[ONLY]}
    found = {f'{name}_{player}': value for player, value in values.items()}
    return found | ({name: sum(values.values(), start=jnp.zeros(()))} if name == 'loss' else {})


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


def _accumulate(differentiate: Callable[..., Any], ctx: Context, parts: Any, like: Any, counts: Any, factor: Any
                ) -> Any:
    """What `differentiate` gives of the whole batch, one part after another; the gradients are `like` that."""
    total = len(ctx.batch['row'])

    def one(carry: Any, part: Any) -> Any:
        gradients, model_state = carry
        more, (values, model_state, metrics) = differentiate(
            dataclasses.replace(ctx, batch=part, model_state=model_state, rows=total), counts, factor)
        return (jax.tree.map(jnp.add, gradients, more), model_state), (values, metrics)

    start = jax.tree.map(jnp.zeros_like, like), ctx.model_state
    (gradients, model_state), sums = jax.lax.scan(one, start, parts)
    values, metrics = jax.tree.map(lambda each: each.sum(0), sums)
    return gradients, (values, model_state, metrics)


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
        lambda path, a, b: a if path_patterns.matches(patterns, path) else b, old, new)


def compile_train_step(step: TrainStep, mesh: jax.sharding.Mesh, shardings: TrainState) -> TrainStep:
    """Jits the step over the mesh: shardings of the state pinned on both sides, the old state donated."""
    return jax.jit(step, in_shardings=(shardings, batch_sharding(mesh)),
                   out_shardings=(shardings, replicated(mesh)), donate_argnums=0)


def make_eval_step(apply: Apply, mesh: jax.sharding.Mesh, compute: Callable[[Context], Any], *, seed: int = 0
                   ) -> Callable[[Any, Any, Any], Any]:
    """The compiled `(params, model_state, batch) -> scores`, a tree of arrays (B, ...), replicated on all devices.

    Args:
      apply: `apply(variables, batch, ...)` on a raw clip batch.
      mesh: of the devices.
      compute: the scores of a batch, such as `Task.compute`.
      seed: of the run, for what is drawn in evaluation.
    """
    def eval_step(params: Any, model_state: Any, batch: Any) -> Any:
        return compute(Context(apply, params, model_state, batch, seed))

    return jax.jit(eval_step, out_shardings=replicated(mesh))
