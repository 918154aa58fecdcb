"""Opening media files: their tracks, their clock, their packets, and what those decode to.

The clock every time refers to: 0 is when the first picture is shown (when the sound begins, where there
are no pictures). Of several picture or sound tracks the first is read; cover art is no picture track.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vmmjax.errors import UserError
from vmmjax.media import budget

# FFmpeg opens these as pictures of text, or as one picture.
_NOT_MEDIA = {'tty', 'image2', 'png_pipe', 'jpeg_pipe', 'webp_pipe', 'bmp_pipe', 'tiff_pipe', 'svg_pipe'}
# Titles and comments need not be UTF-8: PyAV keeps such bytes since version 19, and before it must be told to go on.
_ANY_TEXT: dict[str, Any] = {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}
# Of a picture (8192 x 8192): a damaged header asks for gigabytes.
_MAX_PIXELS = 1 << 26


class MediaError(UserError):
    """A file that cannot be read; `reason` is the sentence without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # Both arguments, so that it survives pickling between processes.
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}.'


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Opens a local file for reading; whatever FFmpeg says against it becomes a `MediaError`.

    Raises:
      MediaError: for a file that is missing, empty or in no known format.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(path, 'there is no such file')
    if path.stat().st_size == 0:
        raise MediaError(path, 'the file is empty')
    try:
        # A playlist may not reach out: files only.
        with budget.spent():
            container = av.open(str(path.absolute()), options={'protocol_whitelist': 'file'}, **_ANY_TEXT)
        with container:
            if container.format.name in _NOT_MEDIA:
                raise MediaError(path, 'it is a text or a single picture, not a video or a sound')
            yield container
    except av.error.FFmpegError as error:
        raise MediaError(path, f'it is damaged, cut off or no media file ({error.strerror})') from error


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The first picture track that a decoder is known for, set to one thread; None if there is none."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = 1  # Clips are decoded side by side by processes.
            if not stream.codec_context.is_open:
                stream.codec_context.options = {'max_pixels': str(_MAX_PIXELS)}
            return stream
    return None


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first sound track that a decoder is known for; None if there is none."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.rate:
            return stream
    return None


def clock_zero(container: InputContainer) -> float:
    """The container's time, in seconds, at which our clock shows 0 (see the module's docstring)."""
    stream = picture_stream(container) or sound_stream(container)
    return 0.0 if stream is None or stream.start_time is None else seconds(stream.start_time, stream)


def seconds(stamp: int, stream: Stream) -> float:
    """A time stamp of a track in seconds, on the container's clock."""
    assert stream.time_base is not None  # What is read has one.
    return float(stamp * stream.time_base)


def picture_delay(container: InputContainer, stream: VideoStream) -> float:
    """Seconds by which pictures carry too late a time: AVI stores none, and FFmpeg supposes a delay.

    To be called before anything is read.
    """
    if container.format.name != 'avi':
        return 0.0
    packet = next(packets(container, stream))
    seek(container, stream, 0.0)
    return 0.0 if packet.pts is None else seconds(packet.pts - (stream.start_time or 0), stream)


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes an upright one: first rows and columns are exchanged, then it is mirrored.

    Attributes:
      transposed: whether rows become columns.
      left_right: whether it is mirrored horizontally.
      top_bottom: whether it is mirrored vertically.
    """

    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False


def orientation(frame: VideoFrame) -> Orientation:
    """What a picture's display matrix says: any quarter turn, mirrored or not, the nearest to it for other angles."""
    data = frame.side_data.get('DISPLAYMATRIX')
    if data is None:
        return Orientation()
    a, b, _, c, d, *_ = np.frombuffer(cast(bytes, data), np.int32).astype(float)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def seek(container: InputContainer, stream: Stream, time: float) -> bool:
    """Sets a container to the track's last key frame at or before `time`, seconds on its own clock.

    Returns:
      False for a format without positions: then reading goes on where it was.
    """
    assert stream.time_base is not None
    try:
        with budget.spent():
            container.seek(int(time / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def shown_size(stream: VideoStream) -> tuple[float, float]:
    """Width and height in square pixels, before the picture is turned."""
    shape = stream.sample_aspect_ratio or Fraction(1)
    return stream.codec_context.width * float(shape), float(stream.codec_context.height)


def packets(container: InputContainer, streams: Stream | Sequence[Stream]) -> Iterator[av.Packet]:
    """The packets of the tracks, from where the container stands, then an empty one a track."""
    found = container.demux(streams)
    while True:
        with budget.spent():
            packet = next(found, None)
        if packet is None:
            return
        yield packet


def decode(packet: av.Packet) -> list:
    """The packet's frames; none where it is damaged, as a player would go on with the next."""
    try:
        with budget.spent():
            return packet.decode()
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        # Decoders call damage by many names; for PyAV 19 one that could not be opened is, from then on, unknown.
        return []
