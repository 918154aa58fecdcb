"""One page to look at a store before training: a few clips, all their columns on one time axis."""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.pipeline import stored_frames
from vmmjax.reports import timeline
from vmmjax.reports.templates import templates
from vmmjax.store import catalog
from vmmjax.store.column import Column, shards_of
from vmmjax.store.store import Store

_CLIPS = 6
SECONDS = 8.0
"""Of a clip that are shown at most."""
_PICTURES = 10  # Along the axis.
_MOST_REJECTED = 50


def write(folder: Path) -> Path:
    """Writes `<store>/preview.html`.

    The page is one file, needs no network and runs no script; the same store gives the same bytes.

    Args:
      folder: the store.

    Returns:
      The page's path.

    Raises:
      UserError: where there is no store, none of its columns is complete, or a record is damaged.
    """
    environment = templates()
    store = Store(folder)
    if not store.columns:
        raise UserError(f'The store {folder} has no complete column to be looked at; make one with `vmmjax prepare '
                        f'--source=... --store={folder}`.')
    rejected = _rejected(folder / 'rejected.csv')
    meta = json.loads((folder / 'store.json').read_text())
    page = environment.get_template('store_page.html').render(
        title=folder.resolve().name, count=len(store), source=meta['source']['origin'],
        splits={name: len(rows) for name, rows in store.splits.items()},
        clips=[clip(store, row, list(store.columns.values())) for row in choose(store)],
        wheel=timeline.wheel() if 'flow' in {column.kind for column in store.columns.values()} else '',
        columns=[_column(store, column) for column in store.columns.values()], rejected=rejected[:_MOST_REJECTED],
        all_rejected=len(rejected), reasons=Counter(reason for _, reason in rejected).most_common(10))
    path = folder / 'preview.html'
    atomic.write(path, page)
    return path


def choose(store: Store, count: int = _CLIPS) -> list[int]:
    """Rows that show what there is: each combination of columns that clips have in turn, from all over the catalog.

    Args:
      store: the store.
      count: at most so many.
    """
    groups: dict[tuple[bool, ...], list[int]] = defaultdict(list)
    for row in range(len(store)):
        groups[tuple(bool(column.lengths[row]) for column in store.columns.values())].append(row)
    ranked = sorted(groups.values(), key=len, reverse=True)
    # The same number of each, the rest to the most frequent.
    shares = [0] * len(ranked)
    while sum(shares) < min(count, len(store)):
        for i, rows in enumerate(ranked):
            if shares[i] < len(rows) and sum(shares) < count:
                shares[i] += 1
    return sorted(rows[int((place + 0.5) * len(rows) / share)]
                  for rows, share in zip(ranked, shares, strict=True) for place in range(share))


def _column(store: Store, column: Column) -> dict[str, Any]:
    """What the table of columns says."""
    made = json.loads((store.path / column.name / 'column.json').read_text())
    return {'name': column.name, 'clips': int((column.lengths > 0).sum()),
            'size': sum(shard['bytes'] for shard in shards_of(made)), 'rate': column.rate, 'kind': column.kind,
            'options': made['options'], 'versions': made['versions']}


def _rejected(file: Path) -> list[list[str]]:
    """Path and reason of each."""
    with file.open(newline='', encoding='utf-8') as lines:
        return list(csv.reader(lines))[1:]


def clip(store: Store, row: int, columns: Sequence[Column]) -> dict[str, Any]:
    """What a page shows of a clip, see `timeline.html`.

    Args:
      store: the store.
      row: of the catalog.
      columns: that are shown.

    Raises:
      UserError: where a record is damaged.
    """
    values = {name: texts[row] for name, texts in store.catalog.columns.items()}
    duration = float(store.durations[row])
    seconds = min(duration, SECONDS)
    words = _words(values, float(values['start']), seconds)
    labels = {name: value for name, value in values.items()
              if name not in catalog.FIXED and value and not name.endswith(('_start_s', '_end_s'))}
    rows = []
    for column in columns:
        with stored_frames.damage(store, column, row):
            rows.append(_lane(column, row, seconds))
    if words:
        rows.append({'kind': 'words', 'name': 'words', 'note': 'whose times the catalog has', 'words': words})
    order = ('pictures', 'motion', 'words', 'curve', 'image', 'absent')
    rows.sort(key=lambda lane: order.index(lane['kind']))
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2) if seconds / step <= 10)
    return {'id': values['id'], 'split': values['split'], 'labels': labels, 'duration': duration, 'seconds': seconds,
            'lanes': rows, 'source': _source(values),
            'ticks': [{'left': 100 * i * step / seconds, 'text': f'{i * step:g}'}
                      for i in range(math.floor(seconds / step + 1e-9) + 1)]}


def _lane(column: Column, row: int, seconds: float) -> dict[str, Any]:
    lane: dict[str, Any] = {'name': column.name, 'note': f'{column.rate:g} a second'}
    if not column.lengths[row]:
        return lane | {'kind': 'absent', 'note': 'this clip has none'}
    # A clip's last frame may begin before its end and end after it.
    shown = min(int(column.lengths[row]), math.ceil(seconds * column.rate - 1e-6))
    width = 100 * shown / column.rate / seconds
    if column.kind in ('picture', 'flow'):
        times = (np.arange(_PICTURES) + 0.5) / _PICTURES * seconds
        frames = stored_frames.pictures(column, row, np.floor(times * column.rate + 1e-6).astype(int).tolist())
        height, across = column.sizes[row].tolist()
        lane |= {'ratio': across / height, 'note': f'{column.rate:g} a second, {height} x {across}'}
        if column.kind == 'picture':
            return lane | {'kind': 'pictures',
                           'cells': [None if frame is None else timeline.thumbnail(frame) for frame in frames]}
        cells, full = timeline.motions(frames)
        return lane | {'kind': 'motion', 'cells': cells,
                       'note': f'{lane["note"]}; full colour at {full:.1f} pixels a frame'}
    values = stored_frames.array(column, row, shown)
    if not column.shape:
        path, points, peak = timeline.waveform(values)
        return lane | {'kind': 'curve', 'path': path, 'points': points, 'width': width,
                       'note': f'{column.rate:g} samples a second; the loudest is {peak:.3f}'}
    src, scale = timeline.spectrogram(values.reshape(len(values), -1))
    return lane | {'kind': 'image', 'src': src, 'width': width,
                   'note': f'{column.rate:g} a second, {values[0].size} values {scale}'}


def _words(values: dict[str, str], start: float, seconds: float) -> list[dict[str, Any]]:
    """Labels whose times are in the catalog as `<label>_start_s` and `<label>_end_s`, seconds in the file."""
    words = []
    for name, value in values.items():
        begin, end = (values.get(f'{name}_{which}_s') for which in ('start', 'end'))
        try:
            first = float(begin) - start if begin else None
            last = float(end) - start if end else None
        except ValueError:
            continue
        at = first if first is not None else last
        if value and at is not None and 0 <= at < seconds:
            until = last if first is not None and last is not None else at
            words.append({'text': value, 'name': name, 'left': 100 * at / seconds, 'at': at,
                          'width': 100 * (min(until, seconds) - at) / seconds, 'ends': first is None})
    return sorted(words, key=lambda word: word['at'])


def _source(values: dict[str, str]) -> str:
    """What the file is, in a few words."""
    parts = [f'{values["width"]} x {values["height"]} at {float(values["fps"]):g} a second' if values['fps'] else
             'no pictures', f'sound at {values["audio_rate"]} Hz' if values['audio_rate'] else 'no sound']
    return ', '.join(parts)
