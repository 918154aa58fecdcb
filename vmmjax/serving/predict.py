"""Probabilities of the classes for video files of any length."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import special
from tqdm import tqdm

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models import MultimodalModel
from vmmjax.models.frame_network import FrameNetwork
from vmmjax.models.i3d import I3D
from vmmjax.pipeline.views import AVERAGES

# Seconds that a video must take before a progress bar appears.
_PATIENCE = 2.0


@dataclasses.dataclass(frozen=True)
class View:
    """How a network looks at a video.

    Attributes:
      frames: pictures in a window.
      fps: pictures a second, and windows follow one another; None spreads one window over the whole video.
      short_side: of the pictures, in pixels.
      size: side of the square in the middle of a picture that the network sees.
    """

    frames: int
    fps: float | None
    short_side: int = 256
    size: int = 224

    def __post_init__(self) -> None:
        """Checks that the square fits."""
        if not 0 < self.size <= self.short_side:
            raise UserError(f'A square of {self.size} pixels does not fit into pictures with a short side of '
                            f'{self.short_side}; choose a smaller size.')


# I3D as it was trained (Carreira and Zisserman 2017); TSN and TSM as tested with one clip of 8 segments.
VIEWS: dict[type, View] = {I3D: View(64, 25.0), FrameNetwork: View(8, None)}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network says of a video.

    Attributes:
      probabilities: float64 (C,).
      seconds: length of the video.
      windows: how many the network saw.
    """

    probabilities: np.ndarray
    seconds: float
    windows: int

    def top(self, count: int) -> list[int]:
        """The most probable classes, the first one first."""
        return np.argsort(-self.probabilities, kind='stable')[:count].tolist()


class Predictor:
    """A network for video files: decodes them, looks at them window after window, and averages.

    Windows have `View.frames` pictures and do not overlap, but for the last one: it ends with the video and reaches
    back as far as it must to be full, because a network judges best at the length it was trained on, and is compiled
    for one length only. It counts for the pictures that it adds, so that every second of a video counts the same. A
    video shorter than a window is one window, as long as it is; so its length needs a compilation of its own.

    Memory does not grow with the length of a video, and a video is decoded once, while the network computes.

    Attributes:
      classes: how many the network tells apart.
      view: how it looks at a video.
    """

    def __init__(self, model: MultimodalModel, variables: Any, *, view: View | None = None,
                 average: str = 'logits') -> None:
        """Checks that the network can be used on files.

        Args:
          model: of one stream, `rgb`, with a head, such as `vmmjax.load_pretrained` returns.
          variables: its variables.
          view: how it looks at a video; None is the way that it was published with.
          average: what is averaged over windows: 'logits', as the authors of I3D average over time, or
            'probabilities', as mmaction2 averages over clips.

        Raises:
          UserError: for a network that reads something else or classifies nothing, for one of which no published way
            is known, or an unknown average.
        """
        if average not in AVERAGES:
            raise UserError(f'There is no average {average!r}: {did_you_mean(average, AVERAGES)}.')
        if set(model.encoders) != {'rgb'}:
            raise UserError(f'The network reads {", ".join(model.encoders)}, and prediction on files gives pictures '
                            f'alone (rgb); use model.apply on what it reads.')
        if model.head is None:
            raise UserError('The network has no head, so it names no class; load it with its last layer.')
        self.classes: int = model.head.num_classes
        view = view or published_view(model.encoders['rgb'])
        if view is None:
            raise UserError(f"How a {type(model.encoders['rgb']).__name__} looks at a video file is not known; give "
                            f'Predictor a view, or use model.apply on clips of your own.')
        self.view = view
        self._average = average
        self._variables = jax.device_put(variables)

        def logits(variables: Any, clip: jax.Array) -> jax.Array:
            outputs: Any = model.apply(variables, model.preprocess({'rgb': clip}), train=False)
            return outputs.logits[0]

        self._logits = jax.jit(logits)

    def __call__(self, path: str | Path, *, progress: bool = False) -> Prediction:
        """Predicts one file.

        Args:
          path: of a video in any format that FFmpeg decodes, animated GIFs included.
          progress: whether a bar shows the way, on a terminal (stderr) and where it takes longer than 2 s.

        Raises:
          UserError: where the file holds no pictures or cannot be decoded to its end.
        """
        try:
            from vmmjax.media import probe, video
        except ImportError as error:
            raise UserError(f'Videos cannot be decoded ({error}); pip install "vmmjax[data]".') from error
        path = Path(path)
        found = probe.probe(path)
        if found.picture_end is None:
            raise probe.MediaError(path, 'it holds no pictures')
        fps = self.view.fps or self.view.frames / found.picture_end
        pictures = (centre(picture, self.view.size) for picture in video.each_frame(
            path, end=found.picture_end, fps=fps, short_side=self.view.short_side))
        total = np.zeros(())
        weights = 0
        # One window late, so that the next one is decoded while the network computes.
        running: list[tuple[jax.Array, int]] = []
        count = -(-max(1, round(found.picture_end * fps)) // self.view.frames)
        with tqdm(total=count, desc=path.name, unit='window', delay=_PATIENCE, leave=False,
                  disable=None if progress else True) as bar:
            for clip, new in windows(pictures, self.view.frames):
                running.append((self._logits(self._variables, clip[None]), new))
                weights += new
                if len(running) == 2:
                    total = total + self._weighted(*running.pop(0))
                bar.update()
            total = (total + self._weighted(*running.pop())) / weights
        scores = total if self._average == 'probabilities' else special.softmax(total)
        return Prediction(scores, found.picture_end, count)

    def _weighted(self, logits: jax.Array, weight: int) -> np.ndarray:
        scores = np.asarray(logits, np.float64)
        return weight * (special.softmax(scores) if self._average == 'probabilities' else scores)


def windows(pictures: Iterable[np.ndarray], frames: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cuts a video into windows, see `Predictor`.

    Args:
      pictures: arrays of one shape, at least one; they are read as they are needed.
      frames: pictures in a window.

    Yields:
      (frames, *shape), of a shorter video all its pictures, and how many of them no window before had.
    """
    recent: collections.deque[np.ndarray] = collections.deque(maxlen=frames)
    new = 0
    for picture in pictures:
        recent.append(picture)
        new += 1
        if new == frames:
            yield np.stack(recent), new
            new = 0
    if new:
        yield np.stack(recent), new


def published_view(encoder: Any) -> View | None:
    """How the network of an encoder was published to look at a video; None where that is not known."""
    return next((view for kind, view in VIEWS.items() if isinstance(encoder, kind)), None)


def centre(picture: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle of a picture (H, W, 3), with sides of `size` pixels."""
    top, left = ((length - size) // 2 for length in picture.shape[:2])
    return picture[top:top + size, left:left + size]
