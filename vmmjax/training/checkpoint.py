"""Checkpoints that cannot lie: orbax writes them, a manifest of sizes and SHA-256 makes them whole.

Orbax takes a step whose files were cut short or changed for a good one. So each finished step gets a manifest, see
`training.manifest`, and the newest whole step is used.
"""

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.training import distributed, early_stopping, manifest, orbax_messages, path_patterns

_LOG = logging.getLogger(__name__)
FORMAT = 1

orbax_messages.silence()


class Checkpoints:
    """The checkpoints of one workdir: `<workdir>/checkpoints/<step>` and `<workdir>/manifests/<step>.json`.

    Saving is asynchronous. One checkpoint holds the state and `meta` (JSON): what resuming needs to compare. Of several
    processes all call the same methods in the same order; what is on the disk is looked at by the first one.

    Attributes:
      averaged: whether parameters are saved as evaluation takes them, as in a bundle; here averages are beside them.
    """

    averaged = False

    def __init__(self, workdir: Path, keep: int = 2) -> None:
        """Opens the folder; nothing is written before the first `save`.

        Args:
          workdir: of the run.
          keep: how many of the newest checkpoints stay.
        """
        self._workdir = workdir
        self.folder = workdir.absolute() / 'checkpoints'
        self.manifests = workdir.absolute() / 'manifests'
        self._keep = keep
        self._writer: ocp.AsyncCheckpointer | None = None
        self._sealing: Future[None] | None = None
        self._failure: UserError | None = None
        self._thread = ThreadPoolExecutor(1)

    def save(self, state: Any, meta: dict[str, Any], best: int | None = None) -> None:
        """Begins to save the state under its step; returns as soon as the arrays may be changed.

        What cannot be written is warned of by the next `save`, as training need not stop for it, and raised by `close`.

        Args:
          state: with its `step`.
          meta: JSON values.
          best: a step that stays beside the newest ones.
        """
        self._settle()
        if self._failure is not None:
            _LOG.warning('%s Training goes on.', self._failure)
        step = int(state.step)
        # A flat dict by path, as orbax gives tuples back as lists.
        items = ocp.args.Composite(state=ocp.args.StandardSave(_leaves(state)),
                                   meta=ocp.args.JsonSave({'format': FORMAT, **meta}))
        try:
            with _saying_where(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self.manifests.mkdir(exist_ok=True)
                self._writer = self._writer or ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
                self._writer.save(self.folder / str(step), args=items)
        except UserError as failure:
            self._give_up(failure)
        else:
            self._sealing = self._thread.submit(self._seal, self._writer, step, best)

    def wait(self) -> bool:
        """Waits for the last save; whether it is whole. If not, the next `save` or `close` says why."""
        self._settle()
        return bool(distributed.agreed(lambda: self._failure is None))

    def close(self) -> None:
        """Waits until the last save is on disk.

        Raises:
          UserError: where it could not be written.
        """
        self._settle()
        self._thread.shutdown()
        if self._writer is not None:
            self._writer.close()
        if self._failure is not None:
            raise self._failure

    def _settle(self) -> None:
        """Waits for the save before this one, if there is one."""
        if self._sealing is not None:
            sealing, self._sealing = self._sealing, None
            try:
                sealing.result()
                self._failure = None
            except UserError as failure:
                self._give_up(failure)

    def _give_up(self, failure: UserError) -> None:
        """Removes what a failed save has left: it may be what fills the disk."""
        self._failure = failure
        if jax.process_index() == 0:
            self._discard(lambda step: False)

    def _seal(self, writer: ocp.AsyncCheckpointer, step: int, best: int | None) -> None:
        """Waits for a save to be committed, writes its manifest, and deletes older steps."""
        with _saying_where(self.folder):
            writer.wait_until_finished()
            if jax.process_index() != 0:
                return
            manifest.write(self._manifest(step), self.folder / str(step))
            # By us and not by orbax, which may count a step that it failed to write.
            for old in manifest.steps(self.manifests)[:-self._keep]:
                if old != best:
                    self._manifest(old).unlink()
                    shutil.rmtree(self.folder / str(old), ignore_errors=True)

    def _manifest(self, step: int) -> Path:
        return self.manifests / f'{step}.json'

    def newest(self) -> int | None:
        """The newest whole step; None where no save was ever finished.

        Says which steps it passed over and why.

        Raises:
          UserError: where every finished checkpoint is damaged.
        """
        return distributed.agreed(self._newest)

    def _newest(self) -> int | None:
        damaged: list[str] = []
        for step in reversed(manifest.steps(self.manifests)):
            fault = self._fault(step)
            if fault is None:
                if damaged:
                    _LOG.warning('Using the checkpoint of step %d: %s', step, ' '.join(damaged))
                return step
            damaged.append(fault)
        if damaged:
            raise UserError(f'No checkpoint in {self.folder} is whole: {" ".join(damaged)} Restore the files, '
                            f'or train again in another workdir.')
        return None

    def _fault(self, step: int) -> str | None:
        return manifest.fault(self._manifest(step), self.folder / str(step))

    def discard_after(self, step: int | None) -> None:
        """Moves everything newer than `step` out of the way, so that training may save there again.

        Saves that were cut off are deleted, damaged ones are kept under `<workdir>/damaged/`.
        """
        distributed.agreed(lambda: self._discard(lambda number: step is None or number > step))

    def _discard(self, damaged: Callable[[int], bool]) -> None:
        sealed = set(manifest.steps(self.manifests))
        for folder in filter(Path.is_dir, self.folder.glob('*') if self.folder.is_dir() else ()):
            # Without a manifest it was cut off, while it was written or while it was deleted.
            if not folder.name.isdigit() or int(folder.name) not in sealed:
                _remove(folder)
            elif damaged(int(folder.name)):
                target = self.folder.parent / 'damaged' / folder.name
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                os.replace(folder, target)
        for step in filter(damaged, sealed):
            self._manifest(step).unlink()
        atomic.remove_leftovers(self.manifests)

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON saved with a step.

        Raises:
          UserError: for a checkpoint of a newer format.
        """
        meta = json.loads((self.folder / str(step) / 'meta' / 'metadata').read_text())
        if meta['format'] > FORMAT:
            raise UserError(f'The checkpoint {self.folder / str(step)} has format {meta["format"]}, this version '
                            f'reads up to {FORMAT}; install a newer vmmjax.')
        return meta

    def newest_meta(self) -> tuple[int, dict[str, Any]]:
        """The newest whole step and its JSON.

        Raises:
          UserError: where there is none, besides what `newest` and `meta` raise.
        """
        step = self.newest()
        if step is None:
            raise UserError(f'There is no finished checkpoint in {self._workdir}; train first: vmmjax train '
                            f'--workdir={self._workdir} ...')
        return step, self.meta(step)

    def best(self) -> int:
        """The step that was best by `config.best.metric`, where it is whole.

        Raises:
          UserError: where there is none, besides what `newest` and `meta` raise.
        """
        step, meta = self.newest_meta()
        best = early_stopping.best_step(self._workdir) or meta.get('best', {}).get('step')
        if best is None:
            raise UserError(f'The run in {self._workdir} keeps no best checkpoint; train with config.best.metric.')
        if fault := self._fault(best):
            raise UserError(f'The best checkpoint, of step {best}, is not whole: {fault} The newest is of step {step}.')
        return best

    def restore(self, step: int, like: Any) -> Any:
        """The state of a whole step.

        Args:
          step: from `newest`.
          like: a tree of arrays or shapes with shardings (`jax.ShapeDtypeStruct`): what to restore, and where to.
            A part of the saved state will do.

        Raises:
          UserError: names the first array that is not there or whose shape differs.
        """
        wanted, shapes = _leaves(like), self.shapes(step)
        for name, leaf in wanted.items():
            found = shapes.get(name)
            if found != leaf.shape:
                raise UserError(f'{name} has shape {leaf.shape} in the model and {found or "no place"} in the '
                                f'checkpoint {self.folder / str(step)}; it is of another config.')
        restored = self.restore_arrays(step, wanted)
        return jax.tree.unflatten(jax.tree.structure(like), [restored[name] for name in wanted])

    def restore_arrays(self, step: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """Some arrays of a whole step by path, each with the shape, dtype and sharding given.

        Raises:
          UserError: where the state is of another step, as of folders that were renamed.
        """
        item = {'step': np.zeros((), np.int32), **wanted}
        restore_args = ocp.checkpoint_utils.construct_restore_args(item)
        with ocp.PyTreeCheckpointer() as reader:
            found: dict[str, Any] = reader.restore(self._state_folder(step), args=ocp.args.PyTreeRestore(
                item=item, restore_args=restore_args, partial_restore=True))
        if int(found['step']) != step:
            raise UserError(f'{self.folder / str(step)} holds the state of step {int(found["step"])}; give the folders '
                            f'and manifests back their names.')
        return {name: found[name] for name in wanted}

    def shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """Path -> shape of every array of a step's state."""
        with ocp.StandardCheckpointer() as reader:
            metadata = reader.metadata(self._state_folder(step)).item_metadata
        return {name: tuple(array.shape) for name, array in metadata.tree.items()}

    def _state_folder(self, step: int) -> Path:
        return self.folder / str(step) / 'state'


@contextmanager
def _saying_where(folder: Path) -> Iterator[None]:
    """A full disk or a folder that cannot be written is the user's to mend."""
    try:
        yield
    except (OSError, ValueError) as error:
        # Tensorstore reports what the disk says as a ValueError, 'Failed to write 94 bytes to file 18: File too large',
        # mostly followed by ' [os_error_code=...' or ' [tensorstore_spec=...'.
        said = re.search(r'Failed to .*?: ([^:[]+?) *(?:\[|$)', str(error))
        if isinstance(error, ValueError) and not said:
            raise
        reason = said[1] if said else getattr(error, 'strerror', None) or error
        raise UserError(f'The checkpoint cannot be written to {folder}: {reason}; make room or name another '
                        f'--workdir. Older checkpoints stay.') from error


def _remove(folder: Path) -> None:
    """Deletes a folder of a failed save, whose other writers may go on adding files for a moment."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    _LOG.warning('%s cannot be deleted; it is no checkpoint and may be deleted by hand.', folder)


def _leaves(tree: Any) -> dict[str, Any]:
    """The leaves by path: a flat dict whose names stay readable in the checkpoint."""
    return {path_patterns.name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
