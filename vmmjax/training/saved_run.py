"""A run as it lies in its folder."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.training import optimizer, workdir
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.players import averaged, same_leaves
from vmmjax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A run's folder, opened: the files of one of its checkpoints were compared with their sums, once.

    Attributes:
      folder: the workdir.
      checkpoints: in it.
      step: of the checkpoint.
      meta: the JSON saved with it.
    """

    folder: Path
    checkpoints: Checkpoints
    step: int
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path, *, best: bool = False) -> Self:
        """Opens the newest whole checkpoint.

        Args:
          folder: the workdir.
          best: takes the best one by `config.best.metric`.

        Raises:
          UserError: where there is none, besides what `Checkpoints` raises.
        """
        checkpoints = Checkpoints(Path(folder))
        step = checkpoints.best() if best else checkpoints.newest_meta()[0]
        return cls(Path(folder), checkpoints, step, checkpoints.meta(step))

    @property
    def config(self) -> ConfigDict:
        """The run's, for whatever devices there are now."""
        found = configs.from_json(self.meta['config'])
        found.mesh.update(configs.defaults().mesh)
        return found

    @property
    def is_converted(self) -> bool:
        """Whether `vmmjax convert` wrote it: it was never trained here, and how it reads clips is not known."""
        return not self.config.data.streams

    @property
    def run_inputs(self) -> dict[str, Any] | None:
        """What the run has written down of how its streams are read, see `workdir.run_inputs`."""
        return workdir.run_inputs(self.folder, self.meta)


def evaluated(checkpoints: Checkpoints, step: int, config: ConfigDict, init: Callable[[jax.Array], Any],
              where: jax.sharding.Sharding) -> TrainState:
    """What evaluation needs of a checkpoint: parameters, with their averages where there are any, and model state.

    Args:
      checkpoints: of the run.
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
    wanted = {'params': params, 'model_state': model_state, 'ema': averages}
    if averages is None:
        del wanted['ema']
    elif same_leaves(averages, params):
        del wanted['params']  # Every parameter has an average.
    saved = checkpoints.restore(step, wanted)
    found = averaged(saved['params'], saved.get('ema')) if 'params' in saved else saved['ema']
    return TrainState(jnp.asarray(step), found, saved['model_state'], opt_state=())
