"""Pictures out of a media file, by the time at which they are shown."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from vmmjax.media.probe import (
    MediaError,
    clock_zero,
    decode,
    open_media,
    picture_delay,
    picture_stream,
    seek,
    shown_size,
)

# Seconds: Matroska rounds times to a millisecond.
_JITTER = 1e-3
# swscale converts and shrinks in one pass: 1.5 to 9 times as fast as converting and then cv2.INTER_AREA, and
# equal to it to half a level. Without the flags colours come out up to two levels too dark.
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def read_frames(path: Path, *, start: float, end: float, fps: float, short_side: int) -> np.ndarray:
    """Reads what is on the screen in the middle of each of T equal parts of a window.

    Picture i is the one shown at `start + (i + 0.5) / fps`: a picture is shown from its time until the next
    one's. Before the first the first is given, after the last the last; a picture that is too damaged to be
    decoded is replaced by the one before it, as in a player. Only what the window needs is decoded, from the
    key frame before.

    Args:
      path: a file with pictures.
      start: seconds from the first picture.
      end: likewise.
      fps: pictures a second that come out, at whatever rate (constant or not) they went in.
      short_side: pixels; the aspect of the picture as shown is kept (square pixels, turned upright).

    Returns:
      uint8 (T, H, W, 3), RGB, T = round((end - start) * fps).

    Raises:
      MediaError: where no picture can be decoded.
    """
    times = _middles(start, end, fps)
    try:
        pictures = list(_shown_at(path, times, short_side, seeking=len(times) > 0 and start > 0.5))
    except _LedPast:
        pictures = list(_shown_at(path, times, short_side, seeking=False))
    return np.stack(pictures)[:len(times)]


def each_frame(path: Path, *, end: float, fps: float, short_side: int) -> Iterator[np.ndarray]:
    """Yields the pictures that `read_frames` reads from 0 on, one after another: a file of any length is decoded once.

    Args:
      path: a file with pictures.
      end: seconds from the first picture.
      fps: pictures a second that come out.
      short_side: pixels.

    Yields:
      uint8 (H, W, 3), RGB; round(end * fps) of them, at least one.

    Raises:
      MediaError: where no picture can be decoded.
    """
    return _shown_at(path, _middles(0.0, end, fps), short_side, seeking=False)


class _LedPast(Exception):
    """The container's index led past the window."""


def _middles(start: float, end: float, fps: float) -> np.ndarray:
    return start + (np.arange(round((end - start) * fps)) + 0.5) / fps


def _shown_at(path: Path, times: np.ndarray, short_side: int, seeking: bool) -> Iterator[np.ndarray]:
    """The pictures at increasing times; one where there are no times."""
    given = 0
    with open_media(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise MediaError(path, 'it holds no pictures')
        width, height = shown_size(stream)
        scale = short_side / min(width, height)
        size = round(width * scale), round(height * scale)
        zero = clock_zero(container) + picture_delay(container, stream)
        # The times in an AVI are right only when it is read from its beginning.
        seeking = seeking and container.format.name != 'avi' and seek(container, stream, zero + times[0])
        shown: VideoFrame | None = None
        for time, frame in _timed(container, stream, zero):
            if shown is None and seeking and time > times[0] + _JITTER:
                raise _LedPast
            if shown is not None:
                count = int(np.searchsorted(times, time - _JITTER)) - given
                if count > 0:
                    yield from [_picture(shown, size)] * count
                    given += count
            shown = frame
            if given == len(times):
                break
        if shown is None:
            if seeking:
                raise _LedPast
            raise MediaError(path, 'none of its pictures can be decoded')
        missing = max(len(times) - given, 0 if given else 1)
        if missing:
            yield from [_picture(shown, size)] * missing


def _timed(container: InputContainer, stream: VideoStream, zero: float) -> Iterator[tuple[float, VideoFrame]]:
    step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    time = -step
    for packet in container.demux(stream):
        for frame in decode(packet):
            # A raw stream has no times: its rate gives them.
            time = time + step if frame.time is None else frame.time - zero
            yield time, frame


def _picture(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3), turned upright."""
    width, height = size
    picture = frame.reformat(width, height, 'rgb24', interpolation=_SCALING, threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
