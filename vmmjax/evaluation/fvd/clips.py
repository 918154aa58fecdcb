"""Clips for the Fréchet video distance, out of a folder of videos or an array, as a protocol chooses them."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation.fvd.protocols import SIDE, Protocol, resized

ROLES = ('real', 'fake')
AS_GIVEN = 'none'
"""In place of a way to resize, where nothing is done to the pictures."""

_THREADS = min(8, os.cpu_count() or 1)
_Read = tuple[str, int, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which clips are taken.

    Attributes:
      protocol: whose rules hold.
      role: one of `ROLES`.
      frames: pictures of a clip; 0 for whole videos.
      every: of how many pictures one is taken.
      seed: of what is chosen at random.
    """

    protocol: Protocol
    role: str
    frames: int
    every: int = 1
    seed: int = 0

    @property
    def start(self) -> str:
        """A key of `STARTS`."""
        return self.protocol.start[ROLES.index(self.role)]

    @property
    def most(self) -> int:
        """Videos that are taken; 0 for all."""
        return self.protocol.most[ROLES.index(self.role)]

    def order(self, count: int) -> list[int]:
        """The order in which so many videos are looked at."""
        if self.protocol.shuffled and self.most:
            return self._rng().permutation(count).tolist()
        return list(range(count))

    def first(self, video: int, pictures: int) -> int:
        """The first picture that is taken of the `video`-th of all, which has so many and is long enough."""
        last = pictures - (self.frames - 1) * self.every - 1
        return int(self._rng(video).integers(last + 1)) if self.start == 'random' else 0

    def _rng(self, *video: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, ROLES.index(self.role), *video))


class Clips:
    """The clips of one set, one after another: float32 (T, 224, 224, 3) in [-1, 1], as the network sees them.

    Attributes:
      choice: which are taken.
      resize: what is done to pictures, a key of `RESIZES` or `AS_GIVEN`.
      total: how many there are at most.
      frames: pictures of a clip; of whole videos 0, until the first was read.
      dropped: videos that were too short, so far.
    """

    def __init__(self, choice: Choice, resize: str, videos: int) -> None:
        """Takes what the kinds of sets know of them: how to resize, and the number of videos there are."""
        self.choice, self.resize = choice, resize
        self.total = min(videos, choice.most or videos)
        self.frames, self.dropped = choice.frames, 0
        self._videos = videos

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields them; a UserError for videos that are too short or, of whole ones, not equally long."""
        found = _ahead(self._read, self.choice.order(self._videos))
        clips = (clip for name, pictures, clip in found if self._fits(name, pictures) and clip is not None)
        return itertools.islice(clips, self.choice.most or None)

    def _read(self, video: int) -> _Read:
        """The name of a video, how many pictures it has up to the end of its clip, and the clip where it is enough."""
        raise NotImplementedError

    @property
    def _needed(self) -> int:
        return max(self.choice.frames * self.choice.every, self.choice.protocol.shortest)

    def _fits(self, name: str, pictures: int) -> bool:
        choice = self.choice
        if pictures < self._needed and choice.protocol.drops_short:
            self.dropped += 1
            return False
        if pictures < self._needed:
            remedy = ', or take fewer of each with --frames' if self._needed > choice.protocol.shortest else ''
            raise UserError(f'{name} has {pictures} pictures, and {self._needed} are needed; leave it out{remedy}.')
        self.frames = self.frames or pictures
        if not choice.frames and pictures != self.frames:
            raise UserError(f'{name} has {pictures} pictures, and those before it have {self.frames}; say how many are '
                            f'taken of each with --frames.')
        return True


def _ahead(read: Callable[[int], _Read], videos: Iterable[int]) -> Iterator[_Read]:
    """What is read of videos, in their order, by several threads: decoding holds no lock."""
    pending: collections.deque[futures.Future[_Read]] = collections.deque()
    with futures.ThreadPoolExecutor(_THREADS) as pool:
        for video in videos:
            pending.append(pool.submit(read, video))
            if len(pending) > _THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class Folder(Clips):
    """Clips of the videos in a folder and those below it, in the order of their names."""

    def __init__(self, folder: Path, choice: Choice) -> None:
        """Looks for them; a UserError where there are none."""
        try:
            from vmmjax.media import video
            from vmmjax.prepare.sources.media_index import VIDEOS
        except ImportError as error:
            raise UserError(f'Videos cannot be decoded ({error}); pip install "vmmjax[data]".') from error
        self._video = video
        self._files = sorted(path for path in folder.rglob('*')
                             if path.suffix.lower() in VIDEOS and not path.name.startswith('.'))
        if not self._files:
            raise UserError(f'The folder {folder} holds no videos ({", ".join(VIDEOS)}).')
        super().__init__(choice, choice.protocol.resize_files, len(self._files))

    def _read(self, video: int) -> _Read:
        path, choice = self._files[video], self.choice
        clip: list[np.ndarray] = []
        if choice.start == 'random':
            count = self._video.count_pictures(path)
            if count >= self._needed:
                pictures = self._video.stored_pictures(path, start=choice.first(video, count), every=choice.every)
                clip = list(itertools.islice(pictures, choice.frames))
        else:
            found = list(itertools.islice(self._video.stored_pictures(path), choice.frames * choice.every or None))
            count = len(found)
            if count >= self._needed:
                clip = found[::choice.every]
        return str(path), count, resized(np.stack(clip), self.resize) if clip else None


class Array(Clips):
    """Clips of an array: uint8 (N, T, H, W, 3), or what the network is to see as it is, float (N, T, 224, 224, 3)."""

    def __init__(self, videos: np.ndarray, choice: Choice, name: str) -> None:
        """Checks its shape; the name is for messages."""
        if videos.ndim != 5 or videos.shape[-1] != 3 or not videos.size:
            raise UserError(f'{name} is of shape {videos.shape}; videos are (N, T, H, W, 3), features (N, D).')
        if videos.dtype != np.uint8 and (videos.dtype.kind != 'f' or videos.shape[2:4] != (SIDE, SIDE)):
            raise UserError(f'{name} holds {videos.dtype} of {videos.shape[2]} x {videos.shape[3]}; give uint8 0..255 '
                            f'of any size, or floats in [-1, 1] of {SIDE} x {SIDE}, to which nothing is done.')
        super().__init__(choice, choice.protocol.resize if videos.dtype == np.uint8 else AS_GIVEN, len(videos))
        self._array, self._name = videos, name

    def _read(self, video: int) -> _Read:
        pictures, choice = self._array[video], self.choice
        count = len(pictures)
        if count < self._needed:
            return self._name, count, None
        clip = np.asarray(pictures[choice.first(video, count)::choice.every][:choice.frames or None])
        if self.resize != AS_GIVEN:
            return self._name, count, resized(clip, self.resize)
        # The tolerance of the official implementation.
        if not np.abs(clip).max() <= 1.001:
            raise UserError(f'Video {video} of {self._name} has floats outside of [-1, 1]; give uint8 0..255, or '
                            f'normalise them.')
        return self._name, count, clip.astype(np.float32)
