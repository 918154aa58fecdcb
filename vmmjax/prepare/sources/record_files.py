"""Data sets whose clips lie as encoded pictures inside records: they become files, as everything else reads files.

The pictures' bytes are not changed, and sound is written without loss. A record that holds nothing to be shown or
heard, a damaged first picture, or a rate that is none, becomes an empty file, which the catalog rejects.
"""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media.probe import MediaError
from vmmjax.media.writer import write_pictures
from vmmjax.parallel import ordered_map
from vmmjax.prepare.sources.clip import Clip
from vmmjax.prepare.sources.media_index import PICTURES
from vmmjax.store import locks
from vmmjax.store.catalog import FIXED


@dataclasses.dataclass(frozen=True)
class Example:
    """A clip that was read from a record.

    Attributes:
      pictures: JPEG or PNG files.
      fps: pictures a second.
      labels: names and values.
      waveform: float32 (S,) within -1..1; None without sound.
      rate: samples a second.
    """

    pictures: Sequence[bytes]
    fps: float
    labels: Mapping[str, str]
    waveform: np.ndarray | None = None
    rate: int = 0


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records: what one process works on.

    Attributes:
      name: of the folder for its clips; no two shards have the same.
      split: of its clips.
      examples: reads them, in the same order every time; pickled.
    """

    name: str
    split: str
    examples: Callable[[], Iterator[Example]]


def generate(out: Path, shards: Sequence[Shard], settings: Mapping[str, object], *, workers: int,
             progress: bool) -> Path:
    """Writes `out/clips/<shard>/<number>.mov` and, last, `out/manifest.csv`; a killed run goes on.

    Of several workers the first writes, and the others wait for it.

    Args:
      out: a folder, made if need be.
      shards: the data set.
      settings: what makes it this data set: another one is not written into the same folder.
      workers: processes.
      progress: whether a progress bar is shown.

    Returns:
      The manifest's path.

    Raises:
      UserError: where `out` holds another data set, or cannot be written.
    """
    manifest = out / 'manifest.csv'
    if manifest.exists() and not (out / 'source.json').exists():
        raise UserError(f'{out} holds a manifest that no source wrote: give another folder as --files.')
    with _begun(out, settings):
        if manifest.exists():
            return manifest
        atomic.remove_leftovers(out)
        (out / 'clips').mkdir(exist_ok=True)
        work = ordered_map(partial(_write_shard, out), shards, workers=workers, progress=progress,
                           label='writing clips')
        rows = [row for part in work for row in part]
        columns = ['path', 'split', *dict.fromkeys(name for row in rows for name in row if name not in FIXED)]
        atomic.write_csv(manifest, [columns, *([row.get(name, '') for name in columns] for row in rows)])
    return manifest


@contextmanager
def _begun(out: Path, settings: Mapping[str, object]) -> Iterator[None]:
    """Holds the folder, which another worker may be filling, once it is sure that it is for these settings."""
    known, text = out / 'source.json', json.dumps(settings, indent=1)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locks.turn(out):
            if known.exists() and known.read_text() != text:
                raise UserError(f'{out} holds the files of another source, or made with other settings (see {known}): '
                                f'give another folder, or remove it.')
            if not known.exists():
                atomic.write(known, text)
            try:
                yield
            except UserError:
                if not any(out.rglob('*.mov')):  # Such as for want of a rate: nothing is bound to the settings yet.
                    known.unlink()
                    shutil.rmtree(out / 'clips', ignore_errors=True)
                raise
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error.strerror or error}.') from error


def _write_shard(out: Path, shard: Shard) -> list[dict[str, str]]:
    """The manifest's rows of a shard, whose files are there when this returns."""
    folder = out / 'clips' / shard.name
    finished = folder / 'rows.json'
    if finished.exists():
        return json.loads(finished.read_text())
    folder.mkdir(exist_ok=True)
    rows = []
    for index, example in enumerate(shard.examples()):
        file = folder / f'{index:05d}.mov'
        if not file.exists():
            _write(file, example)
        labels = {f'{name}_' if name in FIXED else name: value for name, value in example.labels.items()}
        rows.append({'path': file.relative_to(out).as_posix(), 'split': shard.split, **labels})
    atomic.write(finished, json.dumps(rows))
    return rows


def _write(file: Path, example: Example) -> None:
    try:
        write_pictures(file, example.pictures, fps=example.fps, waveform=example.waveform, rate=example.rate)
    except MediaError:
        atomic.write(file, b'')


def tfrecords(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file.

    Raises:
      UserError: where it is none, damaged or cut off.
    """
    import tensorflow as tf
    try:
        yield from tf.data.TFRecordDataset([str(file)]).as_numpy_iterator()
    except tf.errors.OpError as error:
        raise UserError(f'{file} is no whole TFRecord file ({error.message}): copy it again.') from error


def folders_to_files(clips: Sequence[Clip], folders: Set[Path], out: Path, fps: float, *, workers: int,
                     progress: bool) -> list[Clip]:
    """The clips with files in place of folders of numbered pictures (`00001.jpg`, `img_00001.jpg` ...).

    Files that are there are whole and kept, so that a killed run goes on.

    Args:
      clips: of which some name a folder.
      folders: those that hold pictures.
      out: the folder for the files, made if need be; each has the name of its clip.
      fps: pictures a second.
      workers: processes.
      progress: whether a progress bar is shown.

    Raises:
      UserError: where `out` holds files of another rate, or cannot be written.
    """
    found = {clip.path: out / f'{clip.name}.mov' for clip in clips if clip.path in folders}
    with _begun(out, {'fps': fps}):
        atomic.remove_leftovers(out)
        work = [pair for pair in found.items() if not pair[1].exists()]
        # Exhausted for its effect: the files.
        list(ordered_map(partial(_write_folder, fps), work, workers=workers, progress=progress,
                         label='writing clips', chunk=8))
    return [dataclasses.replace(clip, path=found[clip.path].absolute(), name=f'{clip.name}.mov')
            if clip.path in found else clip for clip in clips]


def _write_folder(fps: float, item: tuple[Path, Path]) -> None:
    folder, file = item
    numbered: dict[str, dict[int, Path]] = {}
    for path in folder.iterdir():
        match = re.fullmatch(r'(.*?)(\d+)', path.stem)
        if match and path.suffix.lower() in PICTURES:
            numbered.setdefault(match[1], {})[int(match[2])] = path
    # Flow is often kept beside the pictures, as flow_x_00001.jpg: the pictures come first.
    names = sorted(numbered, key=lambda name: ('flow' in name, name))
    pictures = [numbered[names[0]][number].read_bytes() for number in sorted(numbered[names[0]])] if names else []
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, Example(pictures, fps, {}))
