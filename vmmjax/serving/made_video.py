"""What a run makes of a video file: its pictures without noise, or with others between them."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.media import probe, video
from vmmjax.tasks.video_to_video import VideoToVideo
from vmmjax.training.objective import Context

_STEP = 8  # Pictures that are made at a time.


@dataclasses.dataclass(frozen=True)
class Made:
    """Pictures that were made of a file.

    Attributes:
      pictures: uint8 (H, W, 3), one after another; they are made as they are needed.
      fps: of them a second.
    """

    pictures: Iterable[np.ndarray]
    fps: float


def of_file(run: Experiment, path: Path, *, short_side: int | None = None) -> Made:
    """What a run of the task `video_to_video` makes of all pictures of a file, in bounded memory.

    The network is applied to whole pictures, at the rate of the file. A picture is made of what lies as far around it
    as the network sees, so it is what the network would make of the whole file at once.

    Args:
      run: with parameters.
      path: of a file that FFmpeg decodes.
      short_side: of the pictures, in pixels; None for that of the file.

    Raises:
      UserError: for a run of another task or with an encoder that does not say how far it sees, and a file without
        pictures.
    """
    task = run.task
    if not isinstance(task, VideoToVideo):
        raise UserError(f'The run is of the task {task.name}, which makes no video of a video; take one of '
                        f"'video_to_video', or leave the file out of a run that draws clips ('adversarial').")
    encoder = run.model.encoders[task.stream]
    if not isinstance(reach := getattr(encoder, 'reach', None), int):
        raise UserError(f'The encoder {type(encoder).__name__} does not say how many frames around one it sees; give '
                        f'it a whole number `reach`.')
    found = probe.probe(path)
    if found.fps is None or found.picture_end is None:
        raise probe.MediaError(path, 'it holds no pictures')
    side = short_side or min(found.width or 0, found.height or 0)
    pictures = video.each_frame(path, end=found.picture_end, fps=found.fps, short_side=side)
    between = task.kind == 'interpolation'
    return Made(_made(run, pictures, reach, between), found.fps * (2 if between else 1))


def _made(run: Experiment, pictures: Iterator[np.ndarray], reach: int, between: bool) -> Iterator[np.ndarray]:
    """Yields them; of interpolation those of the file with one between each two."""
    task: Any = run.task

    @jax.jit
    def compute(variables: Any, clip: jax.Array) -> jax.Array:
        batch = {task.stream: clip, 'mask': jnp.ones(1)}
        params, rest = variables['params'], {key: each for key, each in variables.items() if key != 'params'}
        made: jax.Array = task.made(Context(run.apply, params, rest, batch))
        return made[0]

    variables = jax.device_put(run.variables)
    extra = 1 if between else 0  # A picture between two is made of both.
    for recent, first, last in spans(pictures, reach, reach + extra, _STEP):
        clip = np.stack(recent)
        if between and len(recent) < 2:
            yield from recent
            return
        made = np.asarray(compute(variables, clip[None]))
        for place in range(first, last):
            if between:
                yield clip[place]
                if place < len(made):
                    yield made[place]
            else:
                yield made[place]


def spans(pictures: Iterable[np.ndarray], before: int, after: int, step: int
          ) -> Iterator[tuple[list[np.ndarray], int, int]]:
    """Cuts a video into spans of `step` pictures, each with what lies around it.

    Args:
      pictures: read as they are needed.
      before: pictures in front of a span, where there are so many.
      after: behind it, likewise.
      step: pictures of a span; the last one has fewer.

    Yields:
      The pictures, and from which on and up to which of them the span lasts. Every picture is in one span.
    """
    coming, start, ended = iter(pictures), 0, False
    recent: list[np.ndarray] = []
    while True:
        while not ended and len(recent) < start + step + after:
            picture = next(coming, None)
            ended = picture is None
            if picture is not None:
                recent.append(picture)
        stop = min(start + step, len(recent))
        if stop == start:
            return
        yield recent, start, stop
        gone = max(0, stop - before)
        recent, start = recent[gone:], stop - gone
