"""What is in a store, in the folder of a run or in a bundle, as a page of text."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.convert.bundle import Bundle, is_bundle, is_run
from vmmjax.errors import UserError
from vmmjax.evaluation.training_log import read_log
from vmmjax.store import catalog
from vmmjax.store.column import Column, shards_of
from vmmjax.store.store import Store
from vmmjax.text_table import aligned
from vmmjax.training.checkpoint import Checkpoints

_CLASSES = 12  # As many values of a label are listed.
_BAR = 20


def describe(path: str) -> str:
    """Describes a store (its path may be remote), a workdir or a bundle.

    Raises:
      UserError: for a path that is neither.
    """
    folder = Path(path)
    if is_bundle(folder):
        return '\n'.join(_bundle(Bundle(folder)))
    if is_run(folder):
        return '\n'.join(_run(folder))
    if folder.is_dir() and not (folder / 'store.json').is_file():
        raise UserError(f'{path} is neither a store (it has no store.json) nor the folder of a run (it has no '
                        f'checkpoints); name a folder that `vmmjax prepare` or `vmmjax train` made.')
    return '\n'.join(_store(Store(path)))


def _store(store: Store) -> Iterator[str]:
    meta = json.loads((store.path / 'store.json').read_text())
    length = _time(store.durations.sum())
    yield f'{store.name}: a store of {len(store)} clips, {length}, from {meta["source"]["origin"]}'
    yield f'fingerprint {store.fingerprint[:16]}, format {meta["format"]}'
    yield from _table(
        ['split', 'clips', 'length', 'shortest', 'median', 'longest'],
        [[name, str(len(rows)), _time(store.durations[np.asarray(rows)].sum()),
          *(f'{np.quantile(store.durations[np.asarray(rows)], at):.2f} s' for at in (0, 0.5, 1))]
         for name, rows in store.splits.items() if len(rows)])
    yield from _table(
        ['column', 'present in', 'frames/s', 'of a frame', 'size', 'bytes a clip'],
        [_column(store, column) for column in store.columns.values()])
    yield ''
    for name in store.columns:
        made = json.loads((store.path / name / 'column.json').read_text())
        yield f'{name} was made with {", ".join(f"{key}={value}" for key, value in made["options"].items())}'
        yield f'  by {", ".join(f"{package} {version}" for package, version in made["versions"].items())}'
    yield ''
    labels = catalog.read(store.path).columns
    for name in [name for name in labels if name not in catalog.FIXED]:
        yield from _label(name, labels[name])
    rejected = store.path / 'rejected.csv'
    count = max(0, len(rejected.read_text().splitlines()) - 1) if rejected.is_file() else 0
    yield f'rejected: {f"{count} lines, see {rejected}" if count else "nothing"}'


def _column(store: Store, column: Column) -> list[str]:
    meta = json.loads((store.path / column.name / 'column.json').read_text())
    total = sum(shard['bytes'] for shard in shards_of(meta))
    there = column.lengths > 0
    if not there.any():
        frame = '-'
    elif column.kind == 'array':
        frame = f'float32 {column.shape}'
    else:
        sizes = Counter(map(tuple, column.sizes[there].tolist()))
        (height, width), _ = sizes.most_common(1)[0]
        frame = f'{column.kind} {height} x {width}' + (f', {len(sizes) - 1} more sizes' if len(sizes) > 1 else '')
    return [column.name, f'{there.sum()} of {len(store)}', f'{column.rate:g}', frame, _size(total),
            _size(total / max(1, int(there.sum())))]


def _label(name: str, values: list[str]) -> Iterator[str]:
    counts = Counter(value for value in values if value)
    empty = len(values) - counts.total()
    missing = f', {empty} clips without' if empty else ''
    if not counts:
        yield f'{name}: empty'
        return
    numbers = _numbers(counts)
    if len(counts) > _CLASSES and numbers is not None:
        low, middle, high = np.quantile(numbers, (0, 0.5, 1))
        yield f'{name}: numbers from {low:g} to {high:g}, median {middle:g}{missing}'
        return
    if len(counts) > max(_CLASSES, len(values) // 2):
        yield f'{name}: {len(counts)} different values such as {next(iter(counts))!r}{missing}'
        return
    yield f'{name}: {len(counts)} values{missing}'
    most = max(counts.values())
    yield from aligned([[f'  {value}', str(count), f'{100 * count / len(values):.1f} %',
                         '█' * round(_BAR * count / most)] for value, count in counts.most_common(_CLASSES)],
                       '<>><', minimum=(2 + max(map(len, counts)), 6, 7))
    if len(counts) > _CLASSES:
        fewest, least = counts.most_common()[-1]
        yield f'  and {len(counts) - _CLASSES} more, the rarest {fewest!r} with {least}'


def _numbers(counts: Counter[str]) -> list[float] | None:
    """All values as numbers, or None where one is a word."""
    try:
        return [float(value) for value in counts.elements()]
    except ValueError:
        return None


def _run(folder: Path) -> Iterator[str]:
    checkpoints = Checkpoints(folder)
    newest = checkpoints.newest()
    steps = sorted(int(path.name) for path in (folder / 'checkpoints').iterdir() if path.name.isdigit())
    if newest is None:
        yield f'{folder}: a run without a whole checkpoint'
        return
    meta = checkpoints.meta(newest)
    config = json.loads(meta['config'])
    shapes = checkpoints.shapes(newest)
    yield f'{folder}: a run at step {newest} of {config["steps"]}; checkpoints {", ".join(map(str, steps))}'
    weights = sum(int(np.prod(shape)) for key, shape in shapes.items() if key.startswith('params/'))
    yield f'{weights / 1e6:.3g} M parameters; {_size(_bytes(folder / "checkpoints" / str(newest)))} a checkpoint'
    yield from _made_of(meta, config)
    log = folder / 'log.jsonl'
    series, _ = read_log(log) if log.is_file() else ({}, 0)
    last = {key: max(points.items()) for key, points in series.items()}
    yield from _table(['last measured', 'value', 'step'],
                      [[key, f'{value:.4g}', str(step)] for key, (step, value) in sorted(last.items())])
    yield ''
    for file in sorted(folder.glob('eval/*.json')):
        yield f'evaluated: {file}'


def _bundle(found: Bundle) -> Iterator[str]:
    step, meta = found.newest_meta()
    config, versions = json.loads(meta['config']), found.contents['versions']
    yield f'{found.path}: a bundle of a run at step {step} of {config["steps"]}, written by vmmjax ' \
          f'{versions["vmmjax"]} with jax {versions["jax"]}'
    weights = sum(array.size for name, array in found.weights.items() if name.startswith('params/'))
    yield f'{weights / 1e6:.3g} M parameters; {_size(found.path.stat().st_size)}'
    yield from _made_of(meta, config)
    yield from _table(['program for', 'was'], [list(each) for each in found.contents['program']['platforms'].items()])


def _made_of(meta: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Classes, streams, networks and training of a run."""
    classes = meta['classes']
    for target, names in classes.items() if isinstance(classes, dict) else [(config['data']['target'], classes)]:
        yield f'{target}: {len(names)} classes, {_some(names)}'
    yield f'store {config["data"]["store"]}, fingerprint {meta["fingerprint"][:16]}'
    model = config['model']
    yield from _table(['stream', 'reads', 'encoder', 'options'], [
        [name, config['data']['streams'][name]['modality'] if name in config['data']['streams'] else '-',
         encoder['name'], ', '.join(f'{key}={value}' for key, value in encoder.items() if key != 'name') or '-']
        for name, encoder in model['encoders'].items()])
    yield ''
    head = f'head {model["head"]["name"]}' if model['head'] else 'no head'
    yield f'fusion {model["fusion"]["name"]}, {head}, optimizer {config["optimizer"]["name"]}, ' \
          f'batches of {config["batch_size"]}, seed {config["seed"]}'


def _some(names: list[str]) -> str:
    return ', '.join(names[:_CLASSES]) + (', ...' if len(names) > _CLASSES else '')


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """An empty line and those of a table; nothing without rows."""
    if not rows:
        return
    rule = ['-' * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    yield from ['', *aligned([header, rule, *rows])]


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())


def _size(count: float) -> str:
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'


def _time(seconds: float) -> str:
    if seconds < 120:
        return f'{seconds:.1f} s'
    return f'{seconds / 60:.1f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'
