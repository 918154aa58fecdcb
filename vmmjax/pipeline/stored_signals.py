"""What moves, what changes and what is loud in clips of a store: baselines that know no training."""

import itertools
import math

import cv2
import numpy as np

from vmmjax.pipeline import stored_frames
from vmmjax.store.column import Column
from vmmjax.store.store import Store

_RATE = 5.0  # Pictures a second that are compared.
_SIZE = (32, 24)
_QUIET = 1e-4  # Of full scale.


def of_segments(store: Store, row: int, cut: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the segments of a clip, by the name of what they measure.

    `motion energy` is the mean absolute difference of pictures a fifth of a second apart (grey, 32 x 24 pixels), `cuts`
    the greatest of these, `loudness` the level of the sound in decibels, of a waveform or else the mean of a column of
    log-mels.

    Args:
      store: of the clip.
      row: of the catalog.
      cut: float64 (S + 1,), seconds in the clip where segments begin and end.

    Returns:
      Float64 (S,) each, NaN where a segment has no such thing; of what the store has columns for.

    Raises:
      UserError: for a damaged record.
    """
    columns = store.columns.values()
    found = {}
    pictures = next((column for column in columns if column.kind == 'picture'), None)
    if pictures is not None:
        with stored_frames.damage(store, pictures, row):
            found['motion energy'], found['cuts'] = _changes(pictures, row, cut)
    arrays = [column for column in columns if column.kind == 'array']
    sound = next((column for column in arrays if not column.shape), None)
    if sound is None:
        sound = next((column for column in arrays if 'front_end' in (column.options or {})), None)
    if sound is not None:
        with stored_frames.damage(store, sound, row):
            found['loudness'] = _loudness(sound, row, cut)
    return found


def _changes(column: Column, row: int, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rate = min(_RATE, column.rate)
    mean, most = np.full((2, len(cut) - 1), np.nan)
    before = None
    for place, (start, end) in enumerate(itertools.pairwise(cut.tolist())):
        times = np.arange(math.ceil(start * rate - 1e-6), math.ceil(end * rate - 1e-6)) / rate
        changes = []
        for frame in stored_frames.pictures(column, row, np.floor(times * column.rate + 1e-6).astype(int).tolist()):
            if frame is None:
                continue
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            small = cv2.resize(grey, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float64)
            if before is not None:
                changes.append(float(np.abs(small - before).mean()))
            before = small
        if changes:
            mean[place], most[place] = np.mean(changes), np.max(changes)
    return mean, most


def _loudness(column: Column, row: int, cut: np.ndarray) -> np.ndarray:
    values = stored_frames.array(column, row, math.ceil(cut[-1] * column.rate))
    found = np.full(len(cut) - 1, np.nan)
    for place, (first, last) in enumerate(np.rint(np.stack([cut[:-1], cut[1:]], 1) * column.rate).astype(int).tolist()):
        part = values[first:last].astype(np.float64)
        if part.size:
            found[place] = part.mean() if column.shape else 20 * math.log10(max(float(np.sqrt((part ** 2).mean())),
                                                                               _QUIET))
    return found
