"""What a media file holds, and a check that it is whole."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vmmjax.media.container import (
    MediaError,
    clock_zero,
    decode,
    open_media,
    orientation,
    packets,
    picture_stream,
    seconds,
    shown_size,
    sound_stream,
)

# Seconds of packets that may be missing at the end: containers round their lengths.
_TOLERANCE = 0.25
# Seconds without a picture or a sound between others, beyond which a time stamp is taken to be damaged.
_GAP = 120.0
# Of the sides of a picture.
_MAX_ASPECT = 64
# Samples a second.
_MAX_RATE = 1_000_000
# The others guess their length from the bit rate.
_DECLARE_LENGTH = {'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'avi', 'wav', 'flv'}


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
        zero, track = clock_zero(container), tracks[0]
        ends = {stream.index: 0.0 for stream in tracks}  # seconds, on the container's clock
        stamps = [zero]  # likewise
        pictures, transposed = 0, False
        decoded: set[int] = set()
        for packet in packets(container, tracks):
            stream = packet.stream
            if packet.size == 0 and packet.dts is None and stream.index in decoded:
                continue  # The end of the file; nothing held back is needed.
            if packet.is_corrupt:
                raise MediaError(path, 'it is cut off in the middle')
            pictures += stream is video
            stamp = packet.dts if packet.pts is None or container.format.name == 'avi' else packet.pts
            if stamp is not None:
                stamps.append(seconds(stamp, stream))
                ends[stream.index] = max(ends[stream.index], stamps[-1] + _lasts(packet))
            if stream.index not in decoded:
                frames = decode(packet)
                if frames:
                    decoded.add(stream.index)
                    if stream is video:
                        transposed = orientation(frames[0]).transposed
        for stream in tracks:
            if stream.index not in decoded:
                raise MediaError(path, f'its {stream.type} track cannot be decoded')
        if container.format.name in _DECLARE_LENGTH:
            _check_length(path, container, tracks, ends)
        duration = ends[track.index] - zero
        if duration <= 0:
            raise MediaError(path, 'it lasts no time')
        _check_gaps(path, np.array(stamps) - zero, duration)
        if audio is not None and audio.rate > _MAX_RATE:
            raise MediaError(path, f'its sound claims {audio.rate} samples a second')
        if video is None:
            return Probe(duration, None, None, None, audio.rate if audio is not None else None)
        width, height = (round(side) for side in shown_size(video))
        if max(width, height) > _MAX_ASPECT * min(width, height):
            raise MediaError(path, f'its pictures claim to be {width} pixels wide and {height} high')
        if transposed:
            width, height = height, width
        rate = video.average_rate or video.guessed_rate or pictures / duration
        return Probe(duration, float(rate), width, height, audio.rate if audio is not None else None)


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
    if container.format.name == 'matroska,webm' and container.duration is not None:  # It declares one end for all.
        pairs = [(container.duration / av.time_base, max(ends.values()))]
    for declared, there in pairs:
        if declared - there > _TOLERANCE:
            raise MediaError(path, f'it is cut off: {there:.2f} s of {declared:.2f} s are there')


def _check_gaps(path: Path, stamps: np.ndarray, duration: float) -> None:
    """Finds a damaged time stamp, which makes hours of seconds, by the time in which there is nothing."""
    times = np.sort(np.append(stamps[(stamps >= 0) & (stamps <= duration)], duration))
    gaps = np.diff(times)
    if gaps.max() > _GAP:
        raise MediaError(path, f'it claims to last {duration:.0f} s, but nothing is shown or heard for '
                               f'{gaps.max():.0f} s of it')
