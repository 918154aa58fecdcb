"""Checkpoints that cannot lie: orbax writes them, a manifest of sizes and SHA-256 makes them whole.

Orbax takes a step whose files were cut short or changed for a good one. So each finished step gets a
`<step>.json` in `manifests/`, written last; a step without it was interrupted and does not count, a step whose
files differ from it is damaged, and the newest whole step is used.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.training import paths

_LOG = logging.getLogger(__name__)
FORMAT = 1


class Checkpoints:
    """The checkpoints of one workdir: `<workdir>/checkpoints/<step>` and `<workdir>/manifests/<step>.json`.

    Saving is asynchronous. One checkpoint holds the state and `meta` (JSON): what resuming needs to compare.
    """

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
        self._manager: ocp.CheckpointManager | None = None
        self._sealing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1)

    def save(self, state: Any, meta: dict[str, Any]) -> None:
        """Begins to save the state under its step; returns as soon as the arrays may be changed.

        Raises:
          UserError: where this or the previous save could not be written.
        """
        self._wait()
        step = int(state.step)
        # A flat dict by path, as orbax gives tuples back as lists.
        items = ocp.args.Composite(state=ocp.args.StandardSave(_leaves(state)),
                                   meta=ocp.args.JsonSave({'format': FORMAT, **meta}))
        with _saying_where(self.folder):
            if self._manager is None:
                self.manifests.mkdir(parents=True, exist_ok=True)
                self._manager = ocp.CheckpointManager(
                    self.folder, options=ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=True))
            self._manager.save(step, args=items)
        self._sealing = self._thread.submit(self._seal, self._manager, step)

    def close(self) -> None:
        """Waits until the last save is on disk."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()
            manager, self._manager = self._manager, None
            if manager is not None:
                with _saying_where(self.folder):
                    manager.close()

    def _wait(self) -> None:
        if self._sealing is not None:
            sealing, self._sealing = self._sealing, None
            with _saying_where(self.folder):
                sealing.result()

    def _seal(self, manager: ocp.CheckpointManager, step: int) -> None:
        """Waits for a save to be committed, writes its manifest, and drops the manifests of deleted steps."""
        manager.wait_until_finished()
        if jax.process_index() != 0:
            return
        atomic.write(self.manifests / f'{step}.json', json.dumps(_digest(self.folder / str(step)), indent=1))
        for manifest in self.manifests.glob('*.json'):
            if not (self.folder / manifest.stem).exists():
                manifest.unlink()

    def newest(self) -> int | None:
        """The newest whole step; None where no save was ever finished.

        Says which steps it passed over and why.

        Raises:
          UserError: where every finished checkpoint is damaged.
        """
        damaged: list[str] = []
        for step in sorted((int(path.stem) for path in self.manifests.glob('*.json')), reverse=True):
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
        """What is wrong with a step's files, as a sentence; None where they are as they were written."""
        folder = self.folder / str(step)
        try:
            written = json.loads((self.manifests / f'{step}.json').read_text())
            sizes = written['files']
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f'The manifest of step {step} cannot be read ({error}).'
        for name, (size, sha256) in sizes.items():
            path = folder / name
            if not path.is_file():
                return f'{path} is missing.'
            if path.stat().st_size != size or _sha256(path) != sha256:
                return f'{path} is damaged.'
        return None

    def discard_after(self, step: int | None) -> None:
        """Moves everything newer than `step` out of the way, so that training may save there again.

        Saves that were cut off are deleted, damaged ones are kept under `<workdir>/damaged/`.
        """
        for folder in self.folder.glob('*') if self.folder.is_dir() else ():
            number = int(folder.name) if folder.name.isdigit() else None
            if number is not None and step is not None and number <= step:
                continue
            manifest = self.manifests / f'{number}.json'
            if manifest.exists():
                target = self.folder.parent / 'damaged' / folder.name
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                os.replace(folder, target)
                manifest.unlink()
            else:
                shutil.rmtree(folder)
        for manifest in self.manifests.glob('*.json'):
            if step is None or int(manifest.stem) > step:
                manifest.unlink()

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
            raise UserError(f'There is no finished checkpoint in {self._workdir}.')
        return step, self.meta(step)

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
        """Some arrays of a whole step by path, each with the shape, dtype and sharding given."""
        restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(self._state_folder(step), args=ocp.args.PyTreeRestore(
                item=wanted, restore_args=restore_args, partial_restore=True))

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
        # Tensorstore reports what the disk says as a ValueError.
        if isinstance(error, ValueError) and 'Error writing' not in str(error):
            raise
        reason = getattr(error, 'strerror', None) or str(error).partition('[')[0].partition(': Failed')[0]
        raise UserError(f'The checkpoint cannot be written to {folder}: {reason}; make room or name another '
                        f'--workdir. Older checkpoints stay.') from error


def _leaves(tree: Any) -> dict[str, Any]:
    """The leaves by path: a flat dict whose names stay readable in the checkpoint."""
    return {paths.name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _digest(folder: Path) -> dict[str, Any]:
    return {'files': {path.relative_to(folder).as_posix(): [path.stat().st_size, _sha256(path)]
                      for path in sorted(folder.rglob('*')) if path.is_file()}}


def _sha256(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
