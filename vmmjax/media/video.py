"""Pictures out of a media file, by the time at which they are shown."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from vmmjax.media.container import (
    MediaError,
    clock_zero,
    decode,
    has_times,
    nominal_rate,
    open_media,
    packets,
    picture_delay,
    picture_stream,
    seconds,
    seek,
    shown_size,
)
from vmmjax.media.orientation import Orientation, orientation

# Seconds: Matroska rounds times to a millisecond. Between half of one and one, so that no sum of milliseconds ties.
JITTER = 0.75e-3
# Seconds before a window at which a key frame is looked for, one after another.
_EARLIER = (0.0, 1.0, 5.0, 20.0)
# swscale converts and shrinks in one pass: 1.5 to 9 times as fast as converting and then cv2.INTER_AREA, and
# equal to it to half a level. Without the flags colours come out up to two levels too dark.
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def read_frames(path: Path, *, start: float, end: float, fps: float, short_side: int) -> np.ndarray:
    """Reads what is on the screen in the middle of each of T equal parts of a window.

    Picture i is the one shown at `start + (i + 0.5) / fps`: a picture is shown from its time until the next
    one's. Before the first the first is given, after the last the last; a picture that is too damaged to be
    decoded is replaced by the one before it, as in a player. A window too short for a picture at this rate gives
    that in its middle. Only what the window needs is decoded, from the key frame before.

    Args:
      path: a file with pictures.
      start: seconds from the first picture.
      end: likewise.
      fps: pictures a second that come out, at whatever rate (constant or not) they went in.
      short_side: pixels; the aspect of the picture as shown is kept (square pixels, turned upright).

    Returns:
      uint8 (T, H, W, 3), RGB, T = round((end - start) * fps), at least one of a window that lasts.

    Raises:
      MediaError: where no picture can be decoded.
    """
    pictures = list(each_frame(path, start=start, end=end, fps=fps, short_side=short_side))
    return np.stack(pictures) if end > start else np.stack(pictures)[:0]


def each_frame(path: Path, *, start: float = 0.0, end: float, fps: float, short_side: int) -> Iterator[np.ndarray]:
    """Yields the pictures that `read_frames` reads, one after another: a window of any length is decoded once.

    Args:
      path: a file with pictures.
      start: seconds from the first picture.
      end: likewise.
      fps: pictures a second that come out.
      short_side: pixels.

    Yields:
      uint8 (H, W, 3), RGB; round((end - start) * fps) of them, at least one.

    Raises:
      MediaError: where no picture can be decoded.
    """
    count = round((end - start) * fps)
    times = start + (np.arange(count) + 0.5) / fps if count else np.array([(start + end) / 2])
    if start > 0.5:
        try:
            yield from _shown_at(path, times, short_side, seeking=True)
            return
        except _LedPast:
            pass  # Before anything was yielded.
    yield from _shown_at(path, times, short_side, seeking=False)


def stored_pictures(path: Path, *, start: int = 0, every: int = 1) -> Iterator[np.ndarray]:
    """Yields the pictures of a file by their number, whatever their times, in the size that they are stored in.

    Args:
      path: a file with pictures.
      start: number of the first one; those before it are decoded, too.
      every: of how many pictures one is yielded.

    Yields:
      uint8 (H, W, 3), RGB, upright; pixels that are not square stay so.

    Raises:
      MediaError: where no picture can be decoded.
    """
    size: tuple[int, int] | None = None
    turn: Orientation | None = None
    for frame in itertools.islice(_stored(path), start, None, every):
        size, turn = size or (frame.width, frame.height), turn or orientation(frame)
        yield picture(frame, size, turn)


def count_pictures(path: Path) -> int:
    """How many pictures `stored_pictures` yields; all are decoded, since some containers do not know.

    Raises:
      MediaError: where no picture can be decoded.
    """
    return sum(1 for _ in _stored(path))


def _stored(path: Path) -> Iterator[VideoFrame]:
    found = False
    with open_media(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise MediaError(path, 'it holds no pictures')
        for packet in packets(container, stream):
            for frame in decode(packet):
                found = True
                yield frame
    if not found:
        raise MediaError(path, 'none of its pictures can be decoded')


class _LedPast(Exception):
    """The container's index led past the window."""


def _shown_at(path: Path, times: np.ndarray, short_side: int, seeking: bool) -> Iterator[np.ndarray]:
    """The pictures at increasing times."""
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
        seeking = seeking and container.format.name != 'avi'
        found = _from_key_frame(container, stream, zero + times[0]) if seeking else packets(container, stream)
        shown: VideoFrame | None = None
        turn = Orientation()
        for time, frame in _timed(found, stream, zero, has_times(container)):
            if shown is None and seeking and time > times[0] + JITTER:
                raise _LedPast
            if shown is None:
                turn = orientation(frame)
            else:
                count = int(np.searchsorted(times, time - JITTER)) - given
                if count > 0:
                    yield from [picture(shown, size, turn)] * count
                    given += count
            shown = frame
            if given == len(times):
                break
        if shown is None:
            if seeking:
                raise _LedPast
            raise MediaError(path, 'none of its pictures can be decoded')
        if given < len(times):
            yield from [picture(shown, size, turn)] * (len(times) - given)


def _from_key_frame(container: InputContainer, stream: VideoStream, time: float) -> Iterator[av.Packet]:
    """The packets from a key frame on that is shown at or before `time`, seconds on the container's clock.

    A container seeks by the times of decoding, or about: it may lead to a key frame that is shown later, where
    pictures before it cannot be decoded, or to no key frame at all. A packet without a position was cut out of
    a larger one (MPEG program streams put several pictures into one): after a seek its time is a guess.
    """
    for earlier in _EARLIER:
        if not seek(container, stream, time - earlier):
            break
        found = packets(container, stream)
        first = next((packet for packet in found if packet.is_keyframe), None)
        if first is None or first.pts is None or first.pos is None:
            continue
        if seconds(first.pts, stream) <= time + JITTER:
            return itertools.chain([first], found)
    raise _LedPast


def _timed(found: Iterator[av.Packet], stream: VideoStream, zero: float,
           stored: bool) -> Iterator[tuple[float, VideoFrame]]:
    """Pictures and when they are shown; `stored` says whether the file has times."""
    step = 1 / nominal_rate(stream)
    time = -step
    for packet in found:
        for frame in decode(packet):
            time = frame.time - zero if stored and frame.time is not None else time + step
            yield time, frame


def picture(frame: VideoFrame, size: tuple[int, int], turn: Orientation) -> np.ndarray:
    """A frame as uint8 (H, W, 3), RGB, upright, of a width and height before it is turned."""
    width, height = size
    return turn.apply(frame.reformat(width, height, 'rgb24', interpolation=_SCALING, threads=1).to_ndarray())
