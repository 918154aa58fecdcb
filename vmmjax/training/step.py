"""The compiled steps: pure functions, and the one place where they meet jit and shardings."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vmmjax.objectives import Objective, mean_of, total
from vmmjax.objectives.base import Apply
from vmmjax.training import paths
from vmmjax.training.sharding import batch_sharding, replicated
from vmmjax.training.state import TrainState

TrainStep = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(apply: Apply, objective: Objective, optimizer: optax.GradientTransformation, *, seed: int,
                    freeze: Sequence[str] = (), ema_decay: float = 0.0) -> TrainStep:
    """The pure step `(state, batch) -> (state, metrics)`; metrics are float32 scalars.

    Args:
      apply: `apply(variables, batch, ...)` on a raw clip batch.
      objective: what is minimised.
      optimizer: from `optimizer.create`.
      seed: dropout keys are `fold_in(key(seed), step)`.
      freeze: path patterns; running statistics that match stay as they are (parameters: see the optimizer).
      ema_decay: of the moving average, where the state has one.
    """
    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        rng = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            loss = objective(apply, params, state.model_state, batch, rng)
            return total(loss), loss

        (value, loss), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = _keep_frozen(freeze, state.model_state, loss.model_state)
        ema = state.ema if state.ema is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
        metrics = {name: mean_of(pair) for name, pair in loss.metrics.items()}
        metrics |= {'loss': value, 'gradient_norm': optax.tree.norm(gradients)}
        return TrainState(state.step + 1, params, model_state, opt_state, ema), metrics

    return train_step


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
