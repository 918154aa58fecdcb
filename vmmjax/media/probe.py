"""Opening media files, their clock, and a check that a file is whole.

The clock every time refers to: 0 is when the first picture is shown (when the sound begins, where there
are no pictures). Of several picture or sound tracks the first is read; cover art is no picture track.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vmmjax.errors import UserError

# Seconds of packets that may be missing at the end: containers round their lengths.
_TOLERANCE = 0.25
# FFmpeg opens these as pictures of text, or as one picture.
_NOT_MEDIA = {'tty', 'image2', 'png_pipe', 'jpeg_pipe', 'webp_pipe', 'bmp_pipe', 'tiff_pipe', 'svg_pipe'}
# The others guess their length from the bit rate.
_DECLARE_LENGTH = {'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'avi', 'wav', 'flv'}


class MediaError(UserError):
    """A file that cannot be read; `reason` is the sentence without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # Both arguments, so that it survives pickling between processes.
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}.'


@dataclass(frozen=True)
class Probe:
    """What a file holds.

    Attributes:
      duration: seconds from the clock's zero to the end of the pictures (of the sound without pictures).
      fps: pictures a second, on average; None without pictures.
      width: of the picture as shown, turned and in square pixels; None without pictures.
      height: likewise.
      audio_rate: samples a second; None without a sound track.
    """

    duration: float
    fps: float | None
    width: int | None
    height: int | None
    audio_rate: int | None


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
        with av.open(str(path.absolute()), options={'protocol_whitelist': 'file'},
                     metadata_errors='replace') as container:
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
    packet = next(container.demux(stream))
    seek(container, stream, 0.0)
    return 0.0 if packet.pts is None else seconds(packet.pts - (stream.start_time or 0), stream)


def seek(container: InputContainer, stream: Stream, time: float) -> bool:
    """Sets a container to the track's last key frame at or before `time`, seconds on its own clock.

    Returns:
      False for a format without positions: then reading goes on where it was.
    """
    assert stream.time_base is not None
    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def shown_size(stream: VideoStream) -> tuple[float, float]:
    """Width and height in square pixels, before the picture is turned."""
    shape = stream.sample_aspect_ratio or Fraction(1)
    return stream.codec_context.width * float(shape), float(stream.codec_context.height)


def probe(path: Path) -> Probe:
    """Reads every packet of a file and decodes its first picture and sound.

    Args:
      path: a local file.

    Raises:
      MediaError: for a file that is missing, empty, cut off, of no known format, or holds neither pictures
        nor sound; `reason` says which.
    """
    with open_media(path) as container:
        video, audio = picture_stream(container), sound_stream(container)
        tracks = [stream for stream in (video, audio) if stream is not None]
        if not tracks:
            raise MediaError(path, 'it holds neither pictures nor sound that can be decoded')
        zero = clock_zero(container)
        ends = {stream.index: 0.0 for stream in tracks}  # seconds, on the container's clock
        quarter_turn = False
        decoded: set[int] = set()
        for packet in container.demux(tracks):
            stream = packet.stream
            if packet.size == 0 and packet.dts is None and stream.index in decoded:
                continue  # The end of the file; nothing held back is needed.
            if packet.is_corrupt:
                raise MediaError(path, 'it is cut off in the middle')
            stamp = packet.dts if packet.pts is None or container.format.name == 'avi' else packet.pts
            if stamp is not None:
                end = seconds(stamp, stream) + _lasts(packet)
                ends[stream.index] = max(ends[stream.index], end)
            if stream.index not in decoded:
                frames = decode(packet)
                if frames:
                    decoded.add(stream.index)
                    quarter_turn |= stream is video and frames[0].rotation % 180 != 0
        for stream in tracks:
            if stream.index not in decoded:
                raise MediaError(path, f'its {stream.type} track cannot be decoded')
        if container.format.name in _DECLARE_LENGTH:
            _check_length(path, container, tracks, ends)
        duration = ends[tracks[0].index] - zero
        if duration <= 0:
            raise MediaError(path, 'it lasts no time')
        width = height = fps = None
        if video is not None:
            size = [round(side) for side in shown_size(video)]
            width, height = reversed(size) if quarter_turn else size
            rate = video.average_rate or video.guessed_rate
            fps = float(rate) if rate else None
        return Probe(duration, fps, width, height, audio.rate if audio is not None else None)


def decode(packet: av.Packet) -> list:
    """The packet's frames; none where it is damaged, as a player would go on with the next."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


def _lasts(packet: av.Packet) -> float:
    """Seconds; a container that does not say leaves it to the rate."""
    stream = packet.stream
    if packet.duration or not isinstance(stream, VideoStream) or not stream.guessed_rate:
        return seconds(packet.duration or 0, stream)
    return 1 / float(stream.guessed_rate)


def _check_length(path: Path, container: InputContainer, tracks: list, ends: dict[int, float]) -> None:
    """Compares the length that a container declares with the packets that are there."""
    # FFmpeg corrects an AVI's duration to what is there, but not its count.
    lengths = {stream: stream.frames if container.format.name == 'avi' else stream.duration for stream in tracks}
    pairs = [(seconds((stream.start_time or 0) + length, stream), ends[stream.index])
             for stream, length in lengths.items() if length]
    if not pairs and container.duration is not None:  # Matroska declares one end for all tracks.
        pairs = [(container.duration / av.time_base, max(ends.values()))]
    for declared, there in pairs:
        if declared - there > _TOLERANCE:
            raise MediaError(path, f'it is cut off: {there:.2f} s of {declared:.2f} s are there')
