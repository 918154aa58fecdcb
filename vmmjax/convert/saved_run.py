"""A run as it lies on the disk, opened."""

import dataclasses
from pathlib import Path
from typing import Any, Self

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.convert import own
from vmmjax.convert.bundle import Bundle
from vmmjax.training import workdir
from vmmjax.training.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A run's folder, or a bundle: the files of one of its checkpoints were compared with their sums, once.

    Attributes:
      folder: the workdir, or the bundle.
      checkpoints: in it.
      step: of the checkpoint.
      meta: the JSON saved with it.
    """

    folder: Path
    checkpoints: Checkpoints | Bundle
    step: int
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path, *, best: bool = False) -> Self:
        """Opens the newest whole checkpoint.

        Args:
          folder: the workdir, or a bundle of `vmmjax export`.
          best: takes the best one by `config.best.metric`.

        Raises:
          UserError: where there is none, besides what `Checkpoints` raises.
        """
        checkpoints = own.opened(Path(folder))
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
