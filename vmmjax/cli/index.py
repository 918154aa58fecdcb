r"""Makes an index of clips, in which `vmmjax search` finds them by a sentence, a clip or a sound.

  vmmjax index stores/grid --weights=runs/contrast --output=indexes/grid
  vmmjax index stores/grid --weights=runs/contrast --output=indexes/test --split=test
  vmmjax index 'films/*.mp4' --weights=runs/films --stride=0.5 --output=indexes/films
  vmmjax search indexes/grid 'place red at a four now'

The run is one of the task `contrastive` or `retrieval`. Every window of every clip is embedded by the towers of all of
its streams but texts; windows are those that the run was trained on, each --stride seconds after the one before. A file
that cannot be read costs only itself. The index takes 4 bytes a dimension, window and stream: a million windows of 128
dimensions and two streams are 1.0 GB. It is whole or not there.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from tqdm import tqdm

from vmmjax.errors import UserError
from vmmjax.store.store import Store, is_remote

if TYPE_CHECKING:
    from vmmjax.pipeline.windows import WindowSpec
    from vmmjax.prepare.sources.clip import Clip
    from vmmjax.serving.embeddings import Towers
    from vmmjax.serving.index import IndexWriter

POSITIONAL = 'STORE|FILE...'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run that learned to match streams.', required=True)
OUTPUT = flags.DEFINE_string('output', None, 'Folder of the index; it must not be there.', required=True)
SPLIT = flags.DEFINE_string('split', '', 'Split of a store; all clips unless given.')
STRIDE = flags.DEFINE_float(
    'stride', None, 'Seconds from window to window; those of a window unless given.', lower_bound=0.001)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 8, 'Windows that the network sees at a time.', lower_bound=1)


def main(arguments: list[str]) -> None:
    """The command."""
    path = arguments[0]
    is_store = len(arguments) == 1 and (is_remote(path) or os.path.isfile(os.path.join(path, 'store.json')))
    if SPLIT.value and not is_store:
        raise UserError('--split is for a store, and files are named; leave it out.')
    from vmmjax.pipeline.windows import WindowSpec
    from vmmjax.prepare.sources import listing
    from vmmjax.serving.embeddings import Towers
    from vmmjax.serving.index import IndexWriter
    from vmmjax.training.runtime import keep_compiled

    store = Store(path) if is_store else None
    clips = [] if is_store else listing.read(arguments, sys.stdin)
    keep_compiled()
    towers = Towers(WEIGHTS.value)
    if STRIDE.value and not towers.window:
        raise UserError(f'{WEIGHTS.value} sees a whole clip at once, so there is no --stride; leave it out.')
    cut = WindowSpec(towers.window, STRIDE.value or 0.0)
    settings = {'weights': _absolute(WEIGHTS.value), 'step': towers.reading.step, 'run': towers.identity,
                'streams': towers.streams, 'dimensions': towers.dimensions, 'window': cut.window, 'stride': cut.stride,
                'store': _absolute(path) if is_store else ''}
    failed = 0
    with IndexWriter(Path(str(OUTPUT.value)), settings) as writer:
        if store is not None:
            _of_store(towers.reading.of_store(store), towers, cut, writer)
        else:
            failed = _of_files(clips, towers, cut, writer)
        windows = writer.windows
    if not windows:
        raise UserError(f'None of the clips can be read, so {OUTPUT.value} was not made.')
    print(f'{OUTPUT.value}: {windows} windows.')
    if failed:
        raise UserError(f'{failed} of {len(clips)} files could not be read; they are not in {OUTPUT.value}.')


def _of_store(store: Store, towers: 'Towers', cut: 'WindowSpec', writer: 'IndexWriter') -> None:
    rows = np.asarray(store.rows(SPLIT.value)) if SPLIT.value else np.arange(len(store))
    names, paths = store.values('id').tolist(), store.values('path').tolist()
    for row in rows.tolist():
        writer.clip(names[row], paths[row])
    with _progress(sum(len(cut.starts(duration)) for duration in store.durations[rows].tolist()), 'window') as bar:
        for found in towers.of_store(store, rows, cut, BATCH_SIZE.value):
            writer.add(np.searchsorted(rows, found.clips), found)
            bar.update(len(found.clips))


def _of_files(clips: list['Clip'], towers: 'Towers', cut: 'WindowSpec', writer: 'IndexWriter') -> int:
    """How many could not be read."""
    from vmmjax.prepare.sources.clip import printable

    failed, last, number = 0, -1, -1
    with _progress(len(clips), 'file') as bar:
        for place, found in towers.of_files(clips, cut, BATCH_SIZE.value):
            if isinstance(found, UserError):
                failed += 1
                if len(clips) == 1:
                    raise found
                with tqdm.external_write_mode(sys.stderr):
                    print(found, file=sys.stderr)
                continue
            if place != last:
                last, number = place, writer.clip(printable(clips[place].id), str(clips[place].path))
                bar.update(place - bar.n)
            writer.add(number, found)
    return failed


def _absolute(path: str) -> str:
    """A search may be made in another folder."""
    return path if is_remote(path) else os.path.abspath(path)


def _progress(total: int, unit: str) -> contextlib.AbstractContextManager[Any]:
    return tqdm(total=total, unit=unit, delay=2.0, leave=False, disable=None)
