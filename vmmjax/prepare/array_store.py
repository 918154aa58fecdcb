"""Arrays as a store, for clips that are in memory already."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.prepare.encoding import encode
from vmmjax.prepare.memory_store import ColumnInMemory, MemoryStore
from vmmjax.store import catalog
from vmmjax.store.column import Column


class ArrayStore(MemoryStore):
    """A store of NumPy arrays, which a `Pipeline` reads as one that was prepared from files:

        store = ArrayStore({'train': {'rgb': frames, 'audio': spectrograms, 'label': labels}, 'test': {...}},
                           rates={'rgb': 25, 'audio': 100})

    Every split gives the same columns, each as an array over its clips, or as a list of arrays where clips have
    different lengths; None in a list is a clip that lacks the modality. What has a rate becomes a column of the store:

    - pictures, uint8 (T, H, W, 3), RGB: kept as JPEG files of quality 95 as in every store, so that batches hold what
      JPEG makes of them;
    - motion, uint8 (T, H, W, 2) in the code of `media.flow.encode`: kept without loss;
    - anything else, float32 (T, ...), such as log-mels (T, M) or a waveform (T,): kept as it is.

    What has none becomes a column of the catalog with a value a clip (a label, a number, a text, or `id`, the clip's
    name); None and NaN are empty. A clip lasts as long as the longest of its arrays.
    """

    def __init__(self, splits: Mapping[str, Mapping[str, Sequence[Any] | np.ndarray]], rates: Mapping[str, float], *,
                 vocabularies: Mapping[str, Sequence[str]] | None = None):
        """Encodes the pictures and copies the rest.

        Args:
          splits: the columns of each.
          rates: frames a second of those that hold frames.
          vocabularies: of text streams, see `Store`; of the training split unless given.

        Raises:
          UserError: for splits with other columns or columns with other numbers of clips than the rest, arrays of
            another type or rank, a rate that is missing.
        """
        _check(splits, rates)
        clips = {name: [None if clip is None else np.asarray(clip) for given in splits.values() for clip in given[name]]
                 for name in rates}
        columns = [_column(name, arrays, float(rates[name])) for name, arrays in clips.items()]
        seconds = [max(0.0 if clip is None else len(clip) / rates[name]
                       for name, clip in zip(rates, of_clip, strict=True))
                   for of_clip in zip(*clips.values(), strict=True)]
        labels = [name for name in next(iter(splits.values())) if name not in (*rates, 'id')]
        rows: list[list[str]] = []
        for split, given in splits.items():
            texts = {name: _texts(split, name, given[name]) for name in given if name not in rates}
            for i in range(_count(given)):
                length = str(round(seconds[len(rows)], 6))
                rows.append([str(len(rows)), texts['id'][i] if 'id' in texts else f'{split}/{i}', split, '',
                             '0.0', length, length, '', '', '', '', *(texts[name][i] for name in labels)])
        fixed = [name for name in catalog.FIXED if name not in catalog.TRACK_ENDS]
        super().__init__('in memory', catalog.of_rows([*fixed, *labels], rows), columns,
                         content=_digest(clips, rates), vocabularies=vocabularies)


def _check(splits: Mapping[str, Mapping[str, Any]], rates: Mapping[str, float]) -> None:
    """Compares the splits with each other and with the rates."""
    if not splits or not rates:
        raise UserError("An ArrayStore needs splits and rates: ArrayStore({'train': {'rgb': frames, 'label': labels}}, "
                        "rates={'rgb': 25}).")
    first, names = next((split, set(given)) for split, given in splits.items())
    for name, rate in rates.items():
        if not rate > 0:
            raise UserError(f'The rate of {name!r} is {rate}; give its frames a second, more than 0.')
        if name not in names:
            raise UserError(f'rates names {name!r}, which the split {first!r} does not have: '
                            f'{did_you_mean(name, names)}.')
    for name in names & {*catalog.FIXED} - {'id'}:
        raise UserError(f'The column {name!r} of the split {first!r} has a name of the catalog\'s own; rename it.')
    for split, given in splits.items():
        if set(given) != names:
            raise UserError(f'The split {split!r} has the columns {", ".join(sorted(given))}, and {first!r} has '
                            f'{", ".join(sorted(names))}; give every split the same.')
        counts = {name: len(values) for name, values in given.items()}
        if len(set(counts.values())) > 1 or not _count(given):
            listing = ', '.join(f'{name} {count}' for name, count in counts.items())
            raise UserError(f'The columns of the split {split!r} have different numbers of clips, or none ({listing}); '
                            f'give each an entry a clip.')


def _count(given: Mapping[str, Any]) -> int:
    return len(next(iter(given.values())))


def _column(name: str, clips: Sequence[np.ndarray | None], rate: float) -> Column:
    there = [clip for clip in clips if clip is not None]
    if not there:
        raise UserError(f'No clip has {name!r}; leave it out.')
    kind = _kind(name, there[0])
    shape = there[0].shape[1:] if kind == 'array' else ()
    column = ColumnInMemory(name, kind, rate, shape)
    for number, clip in enumerate(clips):
        if clip is None or not len(clip):
            column.add([], (0, 0))
        elif _kind(name, clip) != kind or (kind == 'array' and clip.shape[1:] != shape):
            raise UserError(f'Clips of {name!r} are {there[0].dtype} {there[0].shape} and {clip.dtype} {clip.shape}; '
                            f'they may differ in their numbers of frames, and pictures in their size.')
        elif kind == 'array' and not np.isfinite(clip).all():
            raise UserError(f'Clip {number} of {name!r} holds numbers that are not finite; give None for a clip that '
                            f'lacks it, or mend the numbers.')
        else:
            column.add(*((clip, (0, 0)) if kind == 'array' else (encode(kind, clip), clip.shape[1:3])))
    return column.finished()


def _kind(name: str, clip: np.ndarray) -> str:
    if clip.dtype == np.float32 and clip.ndim:
        return 'array'
    if clip.dtype == np.uint8 and clip.ndim == 4 and clip.shape[3] in (2, 3):
        return 'picture' if clip.shape[3] == 3 else 'flow'
    raise UserError(f'A clip of {name!r} is {clip.dtype} {clip.shape}; give pictures as uint8 (T, H, W, 3), motion as '
                    f'uint8 (T, H, W, 2), and anything else as float32 (T, ...).')


def _texts(split: str, name: str, values: Sequence[Any] | np.ndarray) -> list[str]:
    """The values of a catalog column."""
    for value in values:
        if np.ndim(value):
            raise UserError(f'The column {name!r} of the split {split!r} has arrays, but no rate; give its frames a '
                            f'second: rates={{{name!r}: ...}}.')
    return ['' if value is None or value != value else str(value) for value in values]  # NaN is not itself.


def _digest(clips: Mapping[str, Sequence[np.ndarray | None]], rates: Mapping[str, float]) -> str:
    digest = hashlib.sha256()
    for name, arrays in clips.items():
        digest.update(f'{name} {float(rates[name])}'.encode())
        for clip in arrays:
            digest.update(str(None if clip is None else clip.shape).encode())
            if clip is not None:
                digest.update(np.ascontiguousarray(clip).data)
    return digest.hexdigest()
