"""A tiny source of real files, and columns whose frames say where they come from."""

import csv
import dataclasses
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media.writer import write_clip
from vmmjax.store.catalog import ClipInfo

LABELS = ('left', 'right', 'up')
FPS, RATE = 10, 8000


def write_source(folder: Path, splits: dict[str, int]) -> Path:
    """Clips of 0.8 to 2.6 s, 32 x 24; every seventh without sound; the row with number 5 has no label."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = []
    for split, count in splits.items():
        for _ in range(count):
            number = len(lines)
            frames = 8 + number % 19
            pictures = np.repeat(np.repeat(rng.integers(0, 256, (frames, 3, 4, 3), np.uint8), 8, 1), 8, 2)
            sound = 0.1 * rng.standard_normal(frames * RATE // FPS).astype(np.float32)
            write_clip(folder / f'{number:03d}.mp4', pictures, fps=FPS, waveform=None if number % 7 == 6 else sound,
                       rate=RATE)
            lines.append([f'{number:03d}.mp4', split, '' if number == 5 else LABELS[number % 3], f'n{number}'])
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['path', 'split', 'label', 'name'], *lines])
    return folder / 'manifest.csv'


@dataclasses.dataclass(frozen=True)
class Ramp:
    """Frame i of clip n is (n, i)."""

    rate_: float = 10.0
    delay: float = 0.0  # Seconds a clip, to be killed in.
    broken: tuple[str, ...] = ()  # Files that this column cannot read.

    name: ClassVar[str] = 'ramp'
    kind: ClassVar[str] = 'array'
    shape: ClassVar[tuple[int, ...]] = (2,)

    @property
    def rate(self) -> float:
        return self.rate_

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        time.sleep(self.delay)
        if clip.path in self.broken:
            raise UserError(f'{path} is no ramp.')
        frames = np.arange(round(clip.duration * self.rate), dtype=np.float32)
        yield np.stack([np.full_like(frames, int(path.stem)), frames], axis=1)


@dataclasses.dataclass(frozen=True)
class Full(Ramp):
    """The disk is full."""

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Unpicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f'{first} of {second}')
        self.lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Wrong(Ramp):
    """Is wrong in another way for each of the first clips, at its second piece."""

    name: ClassVar[str] = 'wrong'

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        frames = np.ones((10, 2))
        yield frames
        match clip.path:
            case '000.mp4':
                raise KeyError('nothing')
            case '001.mp4':
                raise _Unpicklable(1, 2)
            case '002.mp4':
                frames[7, 1] = np.nan
            case '003.mp4':
                frames[0] = 1e300
            case '004.mp4':
                frames = np.ones((10, 3))
            case '005.mp4':
                frames = None
            case '006.mp4':
                os.stat('/nothing')
            case '007.mp4':
                assert not frames.size
        yield frames


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Red is the column, green the row, blue the frame, each times 5; smooth, so that JPEG keeps it."""

    name: ClassVar[str] = 'gradient'
    kind: ClassVar[str] = 'picture'
    rate: ClassVar[float] = 10.0
    shape: ClassVar[tuple[int, ...]] = ()

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        count = round(clip.duration * self.rate)
        frames = np.zeros((count, 40, 48, 3), np.uint8)
        frames[..., 0] = 5 * np.arange(48)
        frames[..., 1] = 5 * np.arange(40)[:, None]
        frames[..., 2] = 5 * np.arange(count)[:, None, None]
        yield frames


@dataclasses.dataclass(frozen=True)
class Drift:
    """Flow codes: horizontally 3 times the column, vertically 3 times the row."""

    name: ClassVar[str] = 'drift'
    kind: ClassVar[str] = 'flow'
    rate: ClassVar[float] = 10.0
    shape: ClassVar[tuple[int, ...]] = ()

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        count = round(clip.duration * self.rate)
        frames = np.zeros((count, 40, 48, 2), np.uint8)
        frames[..., 0] = 3 * np.arange(48)
        frames[..., 1] = 3 * np.arange(40)[:, None]
        yield frames
