"""Which row stands at a position, and which frames of it are seen: index arithmetic only.

Every draw is a function of (seed, position), so that batches do not depend on processes, threads or restarts.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

_SMALL = 64  # `index_shuffle` mixes fewer rows than this poorly.
_NUDGE = 1e-6  # Of a frame; a sample that falls on a frame's first instant up to rounding belongs to it.

# Places in the window, as fractions, of the samples: (draws (B, frames) in [0, 1), train, within (B,)) -> (B, frames).
# `within` says for evaluation where in its part of the window each sample lies: 0.5, the centre, but for test views
# that differ in nothing else, see `views`.
Sampling = Callable[[np.ndarray, bool, np.ndarray], np.ndarray]


def uniform(seed: int, positions: np.ndarray, name: str, count: int) -> np.ndarray:
    """Random numbers in [0, 1) keyed by (seed, position, name), whatever else is drawn.

    NumPy's Philox4x64 is counter based (Salmon et al. 2011): the key is (seed, position), the name is
    hashed into the counter.

    Args:
      seed: the run's seed.
      positions: int64 (B,).
      name: what the numbers are for.
      count: numbers a position.

    Returns:
      float64 (B, count).
    """
    key = np.array([seed, 0], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, zlib.crc32(name.encode())], np.uint64))
    # One generator that is set back, with nothing drawn, for every position: a new one takes four times as long.
    draw, state = np.random.Generator(bits).random, bits.state
    out = np.empty((len(positions), count))
    for i, position in enumerate(positions.tolist()):
        state['state']['key'][1] = position
        bits.state = state
        draw(out=out[i])
    return out


def shuffled_rows(positions: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """The row at each position of an endless training run: every epoch is a permutation of its own.

    Args:
      positions: int64 (B,), from 0 on; position // rows is the epoch.
      rows: rows of the split.
      seed: the run's seed.

    Returns:
      int64 (B,) in [0, rows).
    """
    epochs, places = positions // rows, positions % rows
    out = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        if rows < _SMALL:
            key = np.array([seed, epoch], np.uint64)
            out[here] = np.random.Generator(np.random.Philox(key=key)).permutation(rows)[places[here]]
        else:
            import tensorflow as tf  # Slow to load, see `Pipeline.batches`, which has loaded it by now.

            out[here] = tf.random.experimental.index_shuffle(
                places[here], seed=tf.constant([seed, epoch], tf.int64), max_index=np.int64(rows - 1)).numpy()
    return out


def dealt_rows(positions: np.ndarray, shares: Sequence[tuple[np.ndarray, float]], seed: int) -> np.ndarray:
    """The row at each position of an endless training run on several lists of rows, each with its share.

    Of any number of positions in a row each list has its share, to within one clip a list; within a list the rows are
    shuffled as `shuffled_rows` does.

    Args:
      positions: int64 (B,), from 0 on.
      shares: rows, int64, and their share; all shares are 1.
      seed: the run's seed.

    Returns:
      int64 (B,), of the lists' rows.
    """
    out = np.empty_like(positions)
    # Of the positions that lists before have left, each takes those at which its part of them passes a whole number.
    left, nth = np.arange(len(positions)), positions
    rest = sum(share for _, share in shares)
    for place, (rows, share) in enumerate(shares):
        part = 1.0 if place == len(shares) - 1 else share / rest
        before = np.floor(nth * part).astype(np.int64)
        takes = np.floor((nth + 1) * part).astype(np.int64) > before
        out[left[takes]] = rows[shuffled_rows(before[takes], len(rows), seed)]
        left, nth, rest = left[~takes], (nth - before)[~takes], rest - share
    return out


def window_starts(draws: np.ndarray, durations: np.ndarray, seconds: np.ndarray | float,
                  start: tuple[float, float] | None) -> np.ndarray:
    """Where the windows begin.

    Args:
      draws: float64 (B,) in [0, 1]; 0.5 is the middle, for evaluation.
      durations: float64 (B,), seconds of each clip.
      seconds: float64 (B,) or a number, length of the window.
      start: earliest and latest start in seconds, or None for wherever the window lies inside the clip;
        a clip shorter than the window starts at 0.

    Returns:
      float64 (B,), seconds from the clip's start.
    """
    if start is None:
        return draws * np.maximum(durations - seconds, 0.0)
    return start[0] + draws * (start[1] - start[0])


def dense(draws: np.ndarray, train: bool, within: np.ndarray) -> np.ndarray:
    """The centres of equal parts of the window."""
    return (np.arange(draws.shape[1]) + (0.5 if train else within[:, None])) / draws.shape[1] + np.zeros(draws.shape)


def strided(draws: np.ndarray, train: bool, within: np.ndarray) -> np.ndarray:
    """The beginnings of equal parts of the window: the published dense sampling, every n-th frame from its first."""
    del train, within
    return np.broadcast_to(np.arange(draws.shape[1]) / draws.shape[1], draws.shape)


def segments(draws: np.ndarray, train: bool, within: np.ndarray) -> np.ndarray:
    """A random place inside each of equal parts in training (stratified), the centre otherwise.

    Wang et al. 2016, TSN; Lin et al. 2019, TSM.
    """
    return (np.arange(draws.shape[1]) + draws) / draws.shape[1] if train else dense(draws, train, within)


def independent(draws: np.ndarray, train: bool, within: np.ndarray) -> np.ndarray:
    """Random places anywhere in the window, in order of time, in training; as `dense` otherwise."""
    return np.sort(draws, axis=1) if train else dense(draws, train, within)


def shuffled(draws: np.ndarray, train: bool, within: np.ndarray) -> np.ndarray:
    """As `dense`, but in a random order: an ablation that takes the order of time away."""
    return np.take_along_axis(dense(draws, train, within), np.argsort(draws, axis=1), axis=1)


SAMPLINGS: Mapping[str, Sampling] = {
    'dense': dense, 'strided': strided, 'segments': segments, 'random': independent, 'shuffled': shuffled}


def sampled_frames(starts: np.ndarray, seconds: np.ndarray | float, places: np.ndarray, rate: float) -> np.ndarray:
    """Frames of a column that are on at given places of the window.

    Args:
      starts: float64 (B,), seconds.
      seconds: float64 (B,) or a number, length of the window.
      places: float64 (B, T), fractions of the window.
      rate: the column's frames a second.

    Returns:
      int64 (B, T); frame i lasts from i / rate to (i + 1) / rate.
    """
    lengths = np.broadcast_to(seconds, starts.shape)[:, None]
    return np.floor((starts[:, None] + places * lengths) * rate + _NUDGE).astype(np.int64)


def all_frames(starts: np.ndarray, seconds: float, rate: float) -> np.ndarray:
    """Every frame of a column in the window.

    Args:
      starts: float64 (B,), seconds.
      seconds: length of the window.
      rate: the column's frames a second.

    Returns:
      int64 (B, F), F = round(seconds * rate), from the frame nearest to the window's start on.
    """
    first = np.round(starts * rate).astype(np.int64)
    return first[:, None] + np.arange(max(1, round(seconds * rate)))
