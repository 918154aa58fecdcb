"""Data sets that are made on the spot: written as a user would have them, clips and a manifest."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.parallel import ordered_map


class Planned(Protocol):
    """A clip before it is drawn."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Columns of the manifest."""


@dataclass(frozen=True)
class DataSet:
    """A data set without settings of its own: a function that writes it, as those of `sources.SYNTHETIC` are.

    Attributes:
      name: in `synthetic:<name>`.
      version: changes when the same seed gives other files.
      labels: columns of the manifest beside path and split.
      plan: (seed, split, count) -> the clips of a split.
      write_one: writes a clip to a path; it is pickled.
    """

    name: str
    version: int
    labels: Sequence[str]
    plan: Callable[[int, str, int], Sequence[Planned]]
    write_one: Callable[[Path, Any], None]

    def __call__(self, out: Path, *, seed: int = 0, sizes: Mapping[str, int], options: str = '', progress: bool = True,
                 workers: int = 1) -> Path:
        """Writes the data set, see `write`.

        Args:
          out: a folder, made if need be.
          seed: of everything random.
          sizes: clips of each split.
          options: none; it has no settings.
          progress: whether a progress bar is shown.
          workers: processes.

        Returns:
          The manifest's path.

        Raises:
          UserError: see `write`, where there are options, or for sizes that the data set cannot have.
        """
        if options:
            raise UserError(f'synthetic:{self.name} has no settings, not {options!r}.')
        settings = {'version': self.version, 'seed': seed, 'sizes': dict(sizes)}
        return write(out, self.name, settings, self.labels, planned(self.plan, seed, sizes), self.write_one,
                     progress=progress, workers=workers)


def planned(plan: Callable[[int, str, int], Sequence[Planned]], seed: int, sizes: Mapping[str, int]
            ) -> dict[str, list[tuple[Planned, Mapping[str, str]]]]:
    """The clips of every split, and their labels."""
    return {split: [(clip, clip.labels) for clip in plan(seed, split, count)] for split, count in sizes.items()}


def write(out: Path, name: str, settings: Mapping[str, Any], labels: Sequence[str],
          clips: Mapping[str, Sequence[tuple[Any, Mapping[str, str]]]], write_one: Callable[[Path, Any], None], *,
          progress: bool, workers: int) -> Path:
    """Writes `out/clips/<split>_<number>.mp4`, `out/<name>.json` and, last, `out/manifest.csv`.

    Files that are there are whole and kept, so that a killed run goes on. The same arguments give the same bytes.

    Args:
      out: a folder, made if need be.
      name: of the data set.
      settings: that decide what is written; plain JSON.
      labels: columns of the manifest beside path and split.
      clips: by split; of each what `write_one` needs, and its labels.
      write_one: writes a clip to a path; it is pickled.
      progress: whether a progress bar is shown.
      workers: processes.

    Returns:
      The manifest's path.

    Raises:
      UserError: where `out` holds a data set of other settings, or cannot be written.
    """
    text = json.dumps({'name': name, **settings})
    known, manifest = out / f'{name}.json', out / 'manifest.csv'
    try:
        if manifest.exists() and not known.exists():
            raise UserError(f'{out} holds a manifest that is not of {name}: give another folder.')
        if known.exists() and known.read_text() != text:
            raise UserError(f'{out} holds {name} with other settings ({known.read_text()}): give another folder, or '
                            f'remove it.')
        (out / 'clips').mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers(out)
        atomic.write(known, text)
        rows, work = [['path', 'split', *labels]], []
        for split, items in clips.items():
            for index, (item, values) in enumerate(items):
                path = f'clips/{split}_{index:05d}.mp4'
                rows.append([path, split, *(values[label] for label in labels)])
                if not (out / path).exists():
                    work.append((item, path))
        if work:
            # Exhausted for its effect: the files.
            list(ordered_map(partial(_write, out, write_one), work, workers=workers, progress=progress,
                             label=f'generating {name}', chunk=8))
        atomic.write_csv(manifest, rows)
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error.strerror}.') from error
    return manifest


def _write(out: Path, write_one: Callable[[Path, Any], None], item: tuple[Any, str]) -> None:
    write_one(out / item[1], item[0])
