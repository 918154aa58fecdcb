"""Opening media files: their tracks, their clock, their packets, and what those decode to.

The clock every time refers to: 0 is when the first picture is shown (when the sound begins, where there
are no pictures). Of several picture tracks the one flagged as the default is read, else the largest; of several sound
tracks the first. Cover art is no picture track.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.container import Container, InputContainer
from av.format import Flags
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vmmjax.errors import UserError
from vmmjax.media import budget
from vmmjax.media.formats import FORMATS
from vmmjax.media.timeline import Timeline, ticks_in_seconds

# Titles and comments need not be UTF-8: PyAV keeps such bytes since version 19, and before it must be told to go on.
ANY_TEXT: dict[str, Any] = {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}
# Of a picture (8192 x 8192): a damaged header asks for gigabytes.
_MAX_PIXELS = 1 << 26
# No pictures of the film: a cover, or small ones to find a scene by.
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
NO_MEMORY = 'there is not enough memory to read it'
# Their clock may be set anew at any packet; in Ogg only where the next file of a chain begins.
_BROADCASTS = ('mpegts', 'mpeg')


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
      MediaError: for a file that is missing, empty or in no known format, or whose format names other files.
    """
    path = Path(path)
    if fault := fault_of(path) or ('' if path.stat().st_size else 'the file is empty'):
        raise MediaError(path, fault)
    try:
        with budget.spent():
            container = av.open(str(path.absolute()), options={
                'protocol_whitelist': 'file', 'format_whitelist': ','.join(FORMATS)}, **ANY_TEXT)
        with container:
            yield container
    except av.error.ArgumentError as error:  # Also what FFmpeg says of a format that is not on the list.
        raise MediaError(path, _no_media(path)) from error
    except av.error.MemoryError as error:
        raise MediaError(path, NO_MEMORY) from error
    except av.error.FFmpegError as error:
        raise MediaError(path, f'it is damaged, cut off or no media file ({error.strerror})') from error


def fault_of(path: Path) -> str:
    """Why there is no file to be opened, or ''; opening anything but a regular file may wait for ever."""
    # Those of `Path` raise for a name that is too long.
    if os.path.isfile(path):
        return ''
    if os.path.isdir(path):
        return 'it is a folder, not a file'
    if os.path.exists(path):
        return 'it is a pipe, a socket or a device, not a file'
    return 'it is a link to a file that is not there' if os.path.islink(path) else 'there is no such file'


def _no_media(path: Path) -> str:
    with path.open('rb') as file:
        head = file.read(12)
    if head[:4] == b'RIFF' and head[8:] == b'WEBP':
        return 'it is a WebP picture, which this FFmpeg does not open as a film: make a GIF or a video of it'
    return ('it is a text, a playlist or a script that names other files, a single picture, or damaged: not a video or '
            'a sound')


def films(container: InputContainer) -> list[VideoStream]:
    """The picture tracks, be there a decoder or not; covers and thumbnails are none."""
    return [stream for stream in container.streams.video if not stream.disposition & _NO_FILM]


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The picture track, of those that a decoder is known for, set to one thread; None if there is none.

    It is one flagged default where there are such, of these the largest, and of equally large ones that with the most
    pictures: an animated AVIF has a track of its first picture beside that of all.
    """
    found = [stream for stream in films(container) if stream.codec_context is not None]
    if not found:
        return None
    stream = max(found, key=lambda stream: (bool(stream.disposition & Disposition.default),
                                            stream.codec_context.width * stream.codec_context.height, stream.frames))
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = 1  # Clips are decoded side by side by processes.
        stream.codec_context.options = {'max_pixels': str(_MAX_PIXELS)}
    return stream


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first sound track that a decoder is known for; None if there is none."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.rate:
            return stream
    return None


def clock_zero(container: InputContainer) -> float:
    """The container's time, in seconds, at which our clock shows 0 (see the module's docstring)."""
    starts = (seconds(stream.start_time, stream) for stream in read_streams(container) if stream.start_time is not None)
    return next(starts, 0.0)


def seconds(stamp: int, stream: Stream) -> float:
    """A time stamp of a track in seconds, on the container's clock."""
    assert stream.time_base is not None  # What is read has one.
    return ticks_in_seconds(stamp, stream.time_base)


def picture_delay(container: InputContainer, stream: VideoStream) -> float:
    """Seconds by which pictures carry too late a time: AVI stores none, and FFmpeg supposes a delay.

    To be called before anything is read.
    """
    if container.format.name != 'avi':
        return 0.0
    packet = next(packets(container, stream))
    seek(container, stream, 0.0)
    return 0.0 if packet.pts is None else seconds(packet.pts - (stream.start_time or 0), stream)


def nominal_rate(stream: VideoStream) -> float:
    """Pictures a second of a track whose pictures have no times."""
    return float(stream.guessed_rate or stream.average_rate or 25)


def has_times(container: Container) -> bool:
    """Whether pictures carry times: those of an elementary stream follow each other at its nominal rate."""
    return not container.format.flags & cast(Any, Flags.no_timestamps).value


def seek(container: InputContainer, stream: Stream, time: float) -> bool:
    """Sets a container to the track's last key frame at or before `time`, seconds on its own clock.

    Returns:
      False for a format without times or positions, or where times come twice: then reading goes on where it was.
    """
    assert stream.time_base is not None
    if not has_times(container):
        return False
    if is_joinable(container) and _is_joined(container.name, os.stat(container.name).st_mtime_ns):
        return False
    try:
        with budget.spent():
            container.seek(int(time / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def is_joinable(container: InputContainer) -> bool:
    """Whether files of this format may be joined byte for byte, so that time begins anew within them."""
    return bool(container.format.flags & cast(Any, Flags.ts_discont).value)


@lru_cache(maxsize=64)
def _is_joined(name: str, _: int) -> bool:
    with open_media(Path(name)) as container:
        timeline = new_timeline(container)
        for _packet in packets(container, read_streams(container), timeline):
            pass
    return bool(timeline.leaps)


def shown_size(stream: VideoStream) -> tuple[float, float]:
    """Width and height in square pixels, before the picture is turned."""
    shape = stream.sample_aspect_ratio or Fraction(1)
    return stream.codec_context.width * float(shape), float(stream.codec_context.height)


def read_streams(container: InputContainer) -> list[VideoStream | AudioStream]:
    """The picture and the sound track, those that there are."""
    return [stream for stream in (picture_stream(container), sound_stream(container)) if stream is not None]


def new_timeline(container: InputContainer) -> Timeline:
    """Of a file that is read from its beginning."""
    main = read_streams(container)
    return Timeline(main[0].index if main else 0, forward=container.format.name in _BROADCASTS)


def packets(container: InputContainer, streams: Stream | Sequence[Stream],
            timeline: Timeline | None = None) -> Iterator[av.Packet]:
    """The packets of the tracks, from where the container stands, then an empty one a track.

    Where a format allows that time begins anew, their stamps are put onto one time.

    Args:
      container: an open file.
      streams: the tracks.
      timeline: that of the file, for who wants to know what it finds.
    """
    wanted = [streams] if isinstance(streams, Stream) else list(streams)
    together = read_streams(container)  # The tracks find their common time together.
    timeline = timeline or new_timeline(container)
    moves = is_joinable(container)
    found = container.demux(list({stream.index: stream for stream in (*wanted, *together)}.values())
                            if moves else wanted)
    indices, timed = {stream.index for stream in wanted}, {stream.index for stream in together}
    while True:
        try:
            with budget.spent():
                packet = next(found, None)
        except IndexError:  # PyAV, at the end, looks for a track that appeared on the way.
            return
        if packet is None:
            return
        if packet.stream_index in timed:
            offset = timeline.offset(packet)
            if moves and offset:
                _move(packet, offset)
        if packet.stream_index in indices:
            yield packet


def _move(packet: av.Packet, offset: float) -> None:
    ticks = round(offset / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def decode(packet: av.Packet) -> list:
    """The packet's frames; none where it is damaged, as a player would go on with the next."""
    if not isinstance(packet.stream, VideoStream | AudioStream):  # A broadcast may make another kind of a track.
        return []
    try:
        with budget.spent():
            return packet.decode()
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        # Decoders call damage by many names; for PyAV 19 one that could not be opened is, from then on, unknown.
        return []
