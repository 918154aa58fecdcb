"""What training changes, and how it begins."""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from vmmjax.training import lora, optimizer
from vmmjax.training.loss_scale import LossScale
from vmmjax.training.players import Players, averaged, same_leaves


@flax.struct.dataclass
class TrainState:
    """Everything a step reads and writes. Nothing random and no function is in it.

    Attributes:
      step: int32 scalar, steps done. Learning rate, data order and random keys derive from it.
      params: the trained parameters.
      model_state: the other collections of the model, such as `{'batch_stats': ...}`.
      opt_state: the optimizer's slots; of several players by player.
      ema: moving average of `params`, or None; of several players by player, of those that keep one.
      loss_scale: where gradients are of float16, else None.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: optax.OptState
    ema: Any = None
    loss_scale: LossScale | None = None

    @property
    def eval_params(self) -> Any:
        """What evaluation uses: moving averages where there are any."""
        return averaged(self.params, self.ema)


def parameters(params: Any) -> int:
    """How many numbers a tree of arrays or of shapes holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def initializer(init: Callable[[jax.Array], Any], players: Players, scale_loss: bool = False
                ) -> Callable[[jax.Array], TrainState]:
    """A function of a key that gives the first state; to be run under `jit(out_shardings=...)`.

    Args:
      init: gives the model's variables from a key.
      players: who train the parameters; their slots and moving averages are made for them.
      scale_loss: whether the loss is scaled, which float16 needs.
    """
    def create(key: jax.Array) -> TrainState:
        model_state = dict(init(key))
        params = model_state.pop('params')
        return TrainState(
            step=jnp.zeros((), jnp.int32), params=params, model_state=model_state, opt_state=players.slots(params),
            ema=players.averages(params), loss_scale=LossScale.create() if scale_loss else None)

    return create


def evaluated(checkpoints: Any, step: int, config: Any, init: Callable[[jax.Array], Any],
              where: jax.sharding.Sharding) -> TrainState:
    """What evaluation needs of a checkpoint: parameters, with their averages where there are any, and model state.

    Args:
      checkpoints: of the run, `Checkpoints` or what stands in for them.
      step: of a whole one.
      config: of the run.
      init: the model's variables from a key.
      where: of every array.
    """
    def placed(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), tree)

    model_state = placed(dict(jax.eval_shape(init, jax.random.key(0))))
    params = model_state.pop('params')
    averages = placed(jax.eval_shape(optimizer.players(config).averages, params))
    if checkpoints.averaged:  # And what only training needs is left out, low-rank factors after they were merged.
        averages = None
        params = {name: part for name, part in params.items() if name not in ('task_training', lora.LORA)}
    wanted = {'params': params, 'model_state': model_state, 'ema': averages}
    if averages is None:
        del wanted['ema']
    elif same_leaves(averages, params):
        del wanted['params']  # Every parameter has an average.
    saved = checkpoints.restore(step, wanted)
    found = averaged(saved['params'], saved.get('ema')) if 'params' in saved else saved['ema']
    return TrainState(jnp.asarray(step), found, saved['model_state'], opt_state=())
