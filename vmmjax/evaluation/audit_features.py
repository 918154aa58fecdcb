"""The parts of the clips of a store that an audit looks at: metadata, presence, one frame, loudness, hashes."""

from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from vmmjax.pipeline import stored_frames
from vmmjax.store.column import Column
from vmmjax.store.store import Store

_FRAMES = 8  # Of a clip, evenly spaced.
_SIDE = 8  # Pixels of a frame that a classifier sees.
_BINS = 32  # Of the loudness over time.
_FLAT = 4.0  # Standard deviation of the grey values, of 255, below which all frames have equal hashes.
_QUIET = 1e-4  # Of full scale: what is less loud counts as that loud.


class Control(NamedTuple):
    """A part of every clip that should not tell the target.

    Attributes:
      name: of the part.
      text: what it is, in a sentence.
      features: float32 (N, D); NaN where a clip lacks it.
    """

    name: str
    text: str
    features: np.ndarray


class Seen(NamedTuple):
    """Perceptual hashes of frames.

    Attributes:
      hashes: uint64 (F,), by `cv2.img_hash.pHash`, one a second of a clip; frames of nearly one colour are left out.
      rows: int64 (F,), the catalog row of each.
    """

    hashes: np.ndarray
    rows: np.ndarray


def controls(store: Store, *, progress: bool = True) -> tuple[list[Control], Seen]:
    """Reads all clips of a store once.

    Args:
      store: the store.
      progress: whether there is a progress bar.

    Returns:
      The controls that the store's columns allow: `metadata` and `presence` always, `one frame` and `shuffled frames`
      with a column of frames, `envelope` with a column of sound. And hashes of the frames, none without such a column.

    Raises:
      UserError: where a record is damaged.
    """
    found = [Control('metadata', 'Duration, frame rate, width, height and sample rate of the file, and stored bytes.',
                     np.concatenate([_metadata(store), _bytes(store)], 1)),
             Control('presence', 'Which of the tracks a clip has.',
                     np.stack([column.lengths > 0 for column in store.columns.values()], 1).astype(np.float32))]
    pictures = next((column for column in store.columns.values() if column.kind == 'picture'), None)
    sound = next((column for name in ('waveform', 'audio') if (column := store.columns.get(name))), None)
    thumbs = np.full((len(store), _FRAMES, 3 * _SIDE ** 2), np.nan, np.float32)
    loudness = np.full((len(store), _BINS), np.nan, np.float32)
    hashes: list[int] = []
    rows: list[int] = []
    for row in tqdm(range(len(store)), desc='reading clips', disable=not progress or not (pictures or sound)):
        if pictures is not None and pictures.lengths[row]:
            with stored_frames.damage(store, pictures, row):
                spaced, seconds = _spaced(pictures, row, _FRAMES, max(1, round(float(store.durations[row]))))
            for place, frame in enumerate(spaced):
                thumbs[row, place] = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(-1)
            for frame in seconds:
                if cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).std() >= _FLAT:
                    hashes.append(int(cv2.img_hash.pHash(frame).view('<u8')[0, 0]))
                    rows.append(row)
        if sound is not None and sound.lengths[row]:
            with stored_frames.damage(store, sound, row):
                loudness[row] = envelope(stored_frames.array(sound, row, int(sound.lengths[row])))
    if pictures is not None:
        found += [Control('one frame', f'The frame in the middle, {_SIDE} x {_SIDE} pixels.', thumbs[:, _FRAMES // 2]),
                  Control('shuffled frames', f'Mean and standard deviation over {_FRAMES} frames of {_SIDE} x {_SIDE} '
                          f'pixels, which no order changes.', np.concatenate([thumbs.mean(1), thumbs.std(1)], 1))]
    if sound is not None:
        found.append(Control('envelope', f'The loudness of the sound over time, {_BINS} values a clip.', loudness))
    return found, Seen(np.array(hashes, np.uint64), np.array(rows, np.int64))


def envelope(sound: np.ndarray) -> np.ndarray:
    """The loudness over time, float32 (32,).

    Args:
      sound: float32 (S,), samples, of which it is the root mean square in decibels; or (F, M), a log-mel spectrogram,
        of which it is the mean over the bands.
    """
    parts = np.array_split(sound, min(_BINS, len(sound)))
    if sound.ndim == 1:
        levels = [20 * np.log10(max(float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))), _QUIET))
                  for part in parts]
    else:
        levels = [float(part.mean()) for part in parts]
    return np.interp(np.linspace(0, len(levels) - 1, _BINS), np.arange(len(levels)), levels).astype(np.float32)


def _metadata(store: Store) -> np.ndarray:
    names = ('duration', 'fps', 'width', 'height', 'audio_rate')
    return np.array([[float(value) if value else np.nan for value in store.values(name).tolist()] for name in names],
                    np.float32).T


def _bytes(store: Store) -> np.ndarray:
    """Bytes of each clip in the columns of frames, (N, columns): what JPEG or PNG makes of them."""
    found = [np.array([sum(map(len, column.records(np.arange(*column.offsets[row:row + 2])))) if column.lengths[row]
                       else np.nan for row in range(len(store))], np.float32)
             for column in store.columns.values() if column.kind != 'array']
    return np.stack(found, 1) if found else np.zeros((len(store), 0), np.float32)


def _spaced(column: Column, row: int, *counts: int) -> list[list[np.ndarray]]:
    """For each count the frames in the middle of so many equal parts of a clip, uint8 (H, W, 3), read together.

    A clip of fewer frames repeats them.
    """
    length = int(column.lengths[row])
    wanted = [((np.arange(count) + 0.5) / count * length).astype(int).tolist() for count in counts]
    numbers = sorted(set().union(*wanted))
    found = dict(zip(numbers, stored_frames.pictures(column, row, numbers), strict=True))
    return [[frame for number in each if (frame := found[number]) is not None] for each in wanted]
