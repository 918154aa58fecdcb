"""An index: the embeddings of the windows of many clips on the disk, and exact search among them.

A folder with `index.json` (how it was made), `clips.csv` (id and path of each clip; a path that is not UTF-8 as a file
URI, RFC 8089), `windows.npy` (a structured array of `clip` int32, `start` and `end` float64 in seconds of the file, a
row a window) and for each stream `<stream>.npy`, float32 (W, D), rows of length 1, or 0 where a window lacks the
stream.
"""

import contextlib
import csv
import dataclasses
import json
import os
import shutil
import urllib.parse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError, did_you_mean
from vmmjax.serving.embeddings import Embedded

FORMAT = 1
SETTINGS, CLIPS, WINDOWS = 'index.json', 'clips.csv', 'windows.npy'
BLOCK = 65536
"""Windows that are compared at a time."""
_WINDOW = np.dtype([('clip', np.int32), ('start', np.float64), ('end', np.float64)])
# Of the settings, what is read of them.
_KINDS = {'weights': str, 'step': int, 'run': str, 'streams': list, 'dimensions': int, 'store': str, 'windows': int}
_FILE = 'file://'


@dataclasses.dataclass(frozen=True)
class Hit:
    """A clip that was found.

    Attributes:
      clip: its id.
      path: of its file; as the catalog has it, of a store's clip.
      number: of the clip in the index.
      start: seconds in the file, where its most similar window begins.
      end: where it ends.
      score: cosine of the window's vector with the question's; of several streams the mean.
    """

    clip: str
    path: str
    number: int
    start: float
    end: float
    score: float


class IndexWriter(contextlib.AbstractContextManager['IndexWriter']):
    """Writes an index under a hidden name, which becomes the index when the block ends well; else it is removed."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        """Takes how it is made.

        Args:
          folder: that becomes the index.
          settings: plain JSON values: `weights`, `step`, `run`, `streams`, `dimensions` and `store` among them.

        Raises:
          UserError: where something stands there, or nothing can be written.
        """
        if folder.exists():
            raise UserError(f'{folder} is there already; name another --output, or delete it.')
        self._folder, self._settings = folder, settings
        self._partial = folder.with_name(f'.{folder.name}.{os.getpid()}{atomic.SUFFIX}')
        self._clips: list[tuple[str, str]] = []
        try:
            with self._errors():
                folder.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(self._partial, ignore_errors=True)
                self._partial.mkdir()
                width = (int(settings['dimensions']),)
                self._vectors = {name: _Rows(self._partial / f'{name}.npy', np.dtype(np.float32), width)
                                 for name in settings['streams']}
                self._windows = _Rows(self._partial / WINDOWS, _WINDOW, ())
        except BaseException:  # No block begins, so that none ends.
            shutil.rmtree(self._partial, ignore_errors=True)
            raise

    def clip(self, name: str, path: str) -> int:
        """The number of a clip, of which windows will be added; clips are in the order of their windows.

        Args:
          name: its id, printable.
          path: of its file, absolute where it is not UTF-8.
        """
        self._clips.append((name, _written(path)))
        return len(self._clips) - 1

    def add(self, clips: np.ndarray | int, found: Embedded) -> None:
        """Adds windows, of clips of those numbers (W,).

        Raises:
          UserError: where they cannot be written.
        """
        windows = np.zeros(len(found.starts), _WINDOW)
        windows['clip'], windows['start'], windows['end'] = clips, found.starts, found.ends
        with self._errors():
            self._windows.add(windows)
            for name, rows in self._vectors.items():
                rows.add(found.vectors[name])

    @property
    def windows(self) -> int:
        """How many there are."""
        return self._windows.count

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Finishes it, or removes it.

        Raises:
          UserError: where it cannot be written.
        """
        try:
            with contextlib.suppress(OSError) if kind else self._errors():
                with contextlib.ExitStack() as files:  # On a full disk, closing a file may fail, too.
                    for rows in (*self._vectors.values(), self._windows):
                        files.callback(rows.close)
                if kind is None and self.windows:
                    self._finish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _finish(self) -> None:
        atomic.write_csv(self._partial / CLIPS, [('id', 'path'), *self._clips])
        counts = {'clips': len(self._clips), 'windows': self.windows}
        atomic.write(self._partial / SETTINGS,
                     json.dumps({'format': FORMAT, **self._settings, **counts}, indent=2) + '\n')
        os.rename(self._partial, self._folder)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f'{self._folder} cannot be written ({error.strerror}); name another --output, or make '
                            f'room.') from error


class Index:
    """An index that was opened; vectors stay on the disk until they are compared.

    Attributes:
      folder: its own.
      settings: see `IndexWriter`.
      streams: that it holds vectors of.
    """

    def __init__(self, folder: str | Path):
        """Opens it.

        Raises:
          UserError: where there is none, it is damaged or of another format.
        """
        self.folder = Path(folder)
        path = self.folder / SETTINGS
        if not os.path.isfile(path):
            raise UserError(f'{folder} is no index (it has no {SETTINGS}); make one with `vmmjax index STORE '
                            f'--weights=RUN --output={folder}`.')
        try:
            self.settings: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
            if self.settings['format'] != FORMAT:
                raise UserError(f'The index {folder} has format {self.settings["format"]}, and this vmmjax reads '
                                f'format {FORMAT}; make it again.')
            for key, kind in _KINDS.items():
                if not isinstance(self.settings.get(key), kind):
                    raise ValueError(f'{SETTINGS} has {key} = {self.settings.get(key)!r}')
            self.streams: list[str] = self.settings['streams']
            self._windows = np.load(self.folder / WINDOWS, mmap_mode='r')
            self._vectors = {name: np.load(self.folder / f'{name}.npy', mmap_mode='r') for name in self.streams}
            shape = self.settings['windows'], self.settings['dimensions']
            if self._windows.shape != shape[:1] or any(rows.shape != shape for rows in self._vectors.values()):
                raise ValueError('its files are of different lengths')
            if self._windows.dtype != _WINDOW or any(rows.dtype != np.float32 for rows in self._vectors.values()):
                raise ValueError('its files are of other types')
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'The index {folder} is damaged ({error}); delete it and make it again.') from error

    def __len__(self) -> int:
        """Windows."""
        return len(self._windows)

    def check(self, identity: str, run: str) -> None:
        """Refuses vectors of another run.

        Raises:
          UserError: for parameters that are not those that the index was made with.
        """
        if identity != self.settings['run']:
            raise UserError(f'The index {self.folder} was made by {self.settings["weights"]} at step '
                            f'{self.settings["step"]}, and {run} has other parameters, with which its vectors do not '
                            f'compare; name that run as --weights, or make the index again.')

    def find(self, question: np.ndarray, most: int, streams: Sequence[str] = (), block: int = BLOCK) -> list[Hit]:
        """The clips that are most like a question, each by its best window, the best first.

        Every window is compared, `block` of them at a time: memory is that of a block of one stream, whatever the size
        of the index. Of equally similar clips the first of the index is first.

        Args:
          question: float32 (D,), of length 1.
          most: clips at most.
          streams: whose vectors are compared; all of the index unless given. A window that has none of them is not
            found.
          block: windows that are compared at a time.

        Raises:
          UserError: for a stream that the index lacks, or a question of another length.
        """
        for name in streams:
            if name not in self.streams:
                raise UserError(f'The index {self.folder} has no vectors of {name!r}: '
                                f'{did_you_mean(name, self.streams)}.')
        if question.shape != (self.settings['dimensions'],):
            raise UserError(f'The question has the shape {question.shape}, and the vectors of the index '
                            f'{self.folder} have {self.settings["dimensions"]} dimensions.')
        best: dict[int, tuple[float, int]] = {}
        for first, scores in self._scores(question, streams or self.streams, block):
            clips = self._windows['clip'][first:first + len(scores)]
            begins = np.flatnonzero(np.diff(clips, prepend=-1))
            tops = np.maximum.reduceat(scores, begins)
            for place in np.argsort(-tops, kind='stable')[:most].tolist():
                score, clip = float(tops[place]), int(clips[begins[place]])
                if score > best.get(clip, (-np.inf, 0))[0]:
                    end = begins[place + 1] if place + 1 < len(begins) else len(scores)
                    best[clip] = score, first + int(begins[place] + scores[begins[place]:end].argmax())
            kept = sorted(best.items(), key=lambda found: (-found[1][0], found[0]))[:most]
            best = dict(kept)
        names = self._names(best)
        starts, ends = self._windows['start'], self._windows['end']
        return [Hit(*names[clip], clip, float(starts[window]), float(ends[window]), score)
                for clip, (score, window) in best.items()]

    def _scores(self, question: np.ndarray, streams: Sequence[str], block: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields where a block begins, and the scores float32 (n,) of its windows; -inf where none can be said."""
        for first in range(0, len(self), block):
            total = count = np.zeros(1, np.float32)
            for name in streams:
                rows = np.asarray(self._vectors[name][first:first + block])
                total = total + rows @ question
                count = count + np.any(rows, axis=1)
            yield first, np.where(count > 0, total / np.maximum(count, 1), -np.inf)

    def _names(self, clips: Collection[int]) -> dict[int, tuple[str, str]]:
        """Id and path of clips by their numbers; of a million clips all of them would take 300 MB."""
        try:
            with (self.folder / CLIPS).open(newline='', encoding='utf-8') as lines:
                found = {place: (row[0], _read(row[1])) for place, row in enumerate(csv.reader(lines), -1)
                         if place in clips}
            return {clip: found[clip] for clip in clips}
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise UserError(f'{self.folder / CLIPS} is damaged ({error}); delete the index and make it again.'
                            ) from error


class _Rows:
    """A .npy file that grows; its head, which NumPy pads for that, is written again at the end."""

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self._file, self._dtype, self._shape, self.count = path.open('wb'), dtype, shape, 0
        self._head()

    def add(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self.count += len(rows)

    def close(self) -> None:
        with self._file:
            self._file.seek(0)
            self._head()

    def _head(self) -> None:
        np.lib.format.write_array_header_1_0(self._file, {
            'descr': np.lib.format.dtype_to_descr(self._dtype), 'fortran_order': False,
            'shape': (self.count, *self._shape)})


def _written(path: str) -> str:
    """A path as text that is UTF-8; one that is not has bytes that Python keeps as surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _FILE + urllib.parse.quote(os.fsencode(path))
    return path


def _read(text: str) -> str:
    """The path that `_written` wrote."""
    return os.fsdecode(urllib.parse.unquote_to_bytes(text[len(_FILE):])) if text.startswith(_FILE) else text
