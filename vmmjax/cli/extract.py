r"""Writes features: what a network makes of every window of videos, or of the clips of a store.

  vmmjax extract holiday.mp4 --output=features
  vmmjax extract clips/*.mp4 --output=features --endpoints=features,rgb/Mixed_5c --window=1 --stride=0.5 --tail=drop
  vmmjax extract stores/grid --weights=runs/grid_command --output=features/grid
  vmmjax extract clip.mp4 --list_endpoints
  vmmjax extract sounds/*.wav --weights=Cnn14_mAP=0.431.pth --front_end=panns_32k --output=features/sounds

The network is the I3D of Kinetics-400 unless --weights names another: what `vmmjax predict` takes, networks of sound,
and runs of several streams. Each video becomes one file of --output, named after it (several of one name are told apart
by their contents); a store becomes a file for every 256 clips, with the catalog's labels, so that `vmmjax probe` can
read them. A file holds an array of one row a window for each endpoint, `t_start` and `t_end` in seconds; the folder's
features.json says the rest: window, stride, tail, and how many pictures or sounds a second. A run that was stopped goes
on with the same command.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from tqdm import tqdm

from vmmjax.checksum import sha256
from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS
from vmmjax.pipeline.windows import TAILS, WindowSpec
from vmmjax.store import catalog, feature_files
from vmmjax.store.store import Store, is_remote
from vmmjax.text_table import aligned

if TYPE_CHECKING:
    from vmmjax.serving import extract, network_inputs

POSITIONAL = 'VIDEO...|STORE'
WEIGHTS = flags.DEFINE_string(
    'weights', 'i3d_rgb_kinetics400', 'A published file, a run, or the name of weights in docs/networks.md.')
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the features; made where it is not there.')
ENDPOINTS = flags.DEFINE_list('endpoints', ['features'], 'What to write; --list_endpoints names all.')
LIST = flags.DEFINE_boolean('list_endpoints', False, "Print the endpoints' names and shapes, and write nothing.")
WINDOW = flags.DEFINE_float(
    'window', None, 'Seconds of a window; as published unless given, and as trained of a run.', lower_bound=0.01)
STRIDE = flags.DEFINE_float(
    'stride', None, 'Seconds from window to window; those of a window unless given.', lower_bound=0.001)
TAIL = flags.DEFINE_enum(
    'tail', 'pad', TAILS, 'Of a last window that is not full: left out, masked, or filled with what came before.')
FORMAT = flags.DEFINE_enum('format', 'npz', feature_files.FORMATS, 'Of the files.')
BATCH_SIZE = flags.DEFINE_integer('batch_size', 8, 'Windows that the network sees at a time.', lower_bound=1)
FRONT_END = flags.DEFINE_enum(
    'front_end', None, list(FRONT_ENDS), "Log-mels of a published network of sound; a run's are known.")

_CLIPS_A_FILE = 256
_READERS = 4  # Threads that compute checksums.
_Arrays = dict[str, np.ndarray]


def main(paths: list[str]) -> None:
    """The command."""
    if not (OUTPUT.value or LIST.value):
        raise UserError('--output is missing: name a folder for the features.')
    from vmmjax import convert
    from vmmjax.convert.bundle import is_run
    from vmmjax.serving import extract, network_inputs
    from vmmjax.training.runtime import keep_compiled

    store = _store(paths)
    keep_compiled()
    folder = Path(WEIGHTS.value)
    if is_run(folder):
        if WINDOW.value or FRONT_END.value:
            raise UserError(f'--{"window" if WINDOW.value else "front_end"} is for published networks; {folder} reads '
                            f'clips as it was trained.')
        trained, run = network_inputs.of_run(folder)
        reading: network_inputs.Reading = trained
        model, variables, network = run.model, run.variables, f'step {trained.step}'
    else:
        model, variables, report, *_ = convert.load(WEIGHTS.value)
        reading, network = network_inputs.published(model, WINDOW.value, FRONT_END.value), report.model
    if STRIDE.value and not reading.window:
        raise UserError(f'{WEIGHTS.value} sees a whole clip at once, so there is no --stride; name a --window.')
    store = None if store is None else reading.of_store(store)
    cut = WindowSpec(reading.window, STRIDE.value or 0.0, TAIL.value)
    extractor = extract.Extractor(model, variables, ENDPOINTS.value)
    if LIST.value:
        print(_listing(extractor, _any_batch(paths, store, reading, cut)))
        return
    settings = {'weights': WEIGHTS.value, 'network': network, 'endpoints': list(ENDPOINTS.value),
                'window': cut.window, 'stride': cut.stride, 'tail': cut.tail, 'fps': reading.rates(store),
                'format': FORMAT.value, 'store': '' if store is None else store.fingerprint}
    if store is None:
        _of_files(paths, reading, cut, extractor, settings)
    else:
        _of_store(store, reading, cut, extractor, settings | {'columns': reading.columns(store)})


def _of_files(paths: list[str], reading: 'network_inputs.Reading', cut: WindowSpec, extractor: 'extract.Extractor',
              settings: dict[str, Any]) -> None:
    from vmmjax.media.probe import MediaError
    from vmmjax.parallel import read_all

    files = [Path(path) for path in paths]
    contents = read_all(_content, files, threads=_READERS, label='reading files', progress=True)
    targets = feature_files.begin(Path(str(OUTPUT.value)), settings, [
        (path.name, content) for path, content in zip(files, contents, strict=True)])
    failed = 0
    for path, target in zip(files, targets, strict=True):
        if target.exists():
            print(f'{path}: extracted before.')
            continue
        try:
            windows = reading.of_file(path, cut, BATCH_SIZE.value)
            made = extractor(windows.batches)
            with _progress(len(windows.starts), path.name) as bar:
                times = {'t_start': windows.starts, 't_end': windows.ends}
                count = feature_files.write(target, _counted(_with(made, times), bar), settings)
        except MediaError as error:
            failed += 1
            if len(paths) == 1:
                raise
            print(error, flush=True)
            continue
        print(f'{target}: {count} windows.' if count else f'{target}: no window; {path} is shorter than one.',
              flush=True)
    if failed:
        raise UserError(f'{failed} of {len(paths)} files could not be read.')


def _of_store(store: Store, reading: 'network_inputs.Reading', cut: WindowSpec, extractor: 'extract.Extractor',
              settings: dict[str, Any]) -> None:
    from vmmjax.pipeline.windows import SlidingWindows

    out = Path(str(OUTPUT.value))
    feature_files.begin(out, settings)
    labels = catalog.read(store.path).columns
    names = [name for name in labels if name not in catalog.FIXED]
    total = sum(len(cut.starts(duration)) for duration in store.durations.tolist())
    with _progress(total, store.path.name) as bar:
        for split, rows in store.splits.items():
            parts = [np.asarray(rows)[first:first + _CLIPS_A_FILE] for first in range(0, len(rows), _CLIPS_A_FILE)]
            for i, part in enumerate(parts):
                target = out / f'{split}-{i:05d}-of-{len(parts):05d}.{FORMAT.value}'
                windows = SlidingWindows(store, reading.data, part, cut=cut, batch_size=BATCH_SIZE.value)
                if target.exists():
                    bar.update(len(windows.clips))
                    continue
                told = {'t_start': windows.starts, 't_end': windows.ends, 'row': windows.clips.astype(np.int32),
                        'id': store.values('id')[windows.clips], 'split': np.full(len(windows.clips), split)}
                told |= {f'{feature_files.CATALOG}{name}': np.array(labels[name], np.str_)[windows.clips]
                         for name in names}
                feature_files.write(target, _counted(_with(extractor(windows.batches()), told), bar), settings)
    print(f'{out}: {total} windows of {len(store)} clips.')


def _with(made: Iterable[_Arrays], told: _Arrays) -> Iterator[_Arrays]:
    """Adds to the endpoints of some windows what is known of these windows."""
    done = 0
    for batch in made:
        count = len(next(iter(batch.values())))
        yield batch | {key: values[done:done + count] for key, values in told.items()}
        done += count


def _counted(batches: Iterable[_Arrays], bar: Any) -> Iterator[_Arrays]:
    for batch in batches:
        yield batch
        bar.update(len(batch['t_start']))


def _progress(total: int, name: str) -> contextlib.AbstractContextManager[Any]:
    return tqdm(total=total, desc=name, unit='window', delay=2.0, leave=False, disable=None)


def _store(paths: list[str]) -> Store | None:
    """The store that is named; None for files."""
    if len(paths) > 1 or not (is_remote(paths[0]) or os.path.isdir(paths[0])):
        return None
    return Store(paths[0])


def _listing(extractor: 'extract.Extractor', batch: _Arrays) -> str:
    return '\n'.join(aligned([[name, ' x '.join(map(str, shape)) or '1']
                              for name, shape in extractor.shapes(batch).items()]))


def _any_batch(paths: list[str], store: Store | None, reading: 'network_inputs.Reading', cut: WindowSpec) -> _Arrays:
    if store is not None:
        from vmmjax.pipeline.windows import SlidingWindows

        split = next(rows for rows in store.splits.values() if len(rows))
        return next(SlidingWindows(store, reading.data, np.asarray(split)[:1], cut=cut, batch_size=1).batches())
    return dict(next(reading.of_file(Path(paths[0]), cut, 1).batches))


def _content(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return ''  # Reading it will say what is wrong.
