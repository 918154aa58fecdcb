"""Parts of a video behind each other, as a video of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media import audio, probe, video
from vmmjax.media.container import MediaError
from vmmjax.media.writer import check_output, write_clip

_QUANTISER, _GROUP = 23, 50


def write(path: Path, source: Path, parts: Sequence[tuple[float, float]], *, short_side: int | None = None) -> None:
    """Writes an MP4 file; memory does not grow with its length.

    Args:
      path: of the summary, an MP4 file; its folder must be there, and it is whole or not there.
      source: a video; a file of sound alone has nothing to be shown.
      parts: starts and ends in seconds of the video, in order; one in which it has no whole picture is left out.
      short_side: pixels; None for the video's own, made even.

    Raises:
      MediaError: where the video cannot be read, or has no pictures.
      UserError: where the summary cannot be written or would replace the video, and where no part has a picture.
    """
    check_output(path, source)
    found = probe.probe(source)
    if found.picture_end is None or not found.fps or not found.width or not found.height:
        raise MediaError(source, 'it holds no pictures, so that there is no summary to be seen')
    end = found.picture_end
    fps, side = found.fps, short_side or min(found.width, found.height)
    shown = [(start, min(stop, end)) for start, stop in parts if round((min(stop, end) - start) * fps) > 0]
    if not shown:
        raise UserError(f'{source} has no pictures in the parts of its summary: they end at {end:.2f} s.')
    rate = found.audio_rate if found.audio_rate in (16000, 44100, 48000) else 48000
    sound = None if found.audio_rate is None else (
        piece for start, stop in shown
        # As long as the pictures, so that the next part begins with its own sound.
        for piece in audio.each_waveform(source, start=start, end=start + round((stop - start) * fps) / fps, rate=rate))
    write_clip(path, _pictures(source, shown, fps, side), fps=fps, waveform=sound, rate=rate, quantiser=_QUANTISER,
               group=_GROUP)


def _pictures(source: Path, parts: Sequence[tuple[float, float]], fps: float, side: int) -> Iterator[np.ndarray]:
    """With an even height and width, as H.264 needs them."""
    for start, end in parts:
        for picture in video.each_frame(source, start=start, end=end, fps=fps, short_side=side):
            height, width = picture.shape[:2]
            yield picture[:height - height % 2, :width - width % 2]
