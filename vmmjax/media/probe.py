"""What a media file holds, and a check that it is whole."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vmmjax.media import lengths
from vmmjax.media.container import (
    MediaError,
    clock_zero,
    films,
    is_joinable,
    new_timeline,
    open_media,
    packets,
    picture_stream,
    read_streams,
    seconds,
    sound_stream,
)
from vmmjax.media.tracks import Pictures, Sound, Track

# Seconds of packets that may be missing at the end: containers round their lengths.
_TOLERANCE = 0.25
# A time stamp is taken to be damaged where nothing else is shown or heard for so long (seconds), and the file's own
# length disagrees.
_GAP = 120.0
# Where nothing disagrees: for longer than this, and so many times longer than anywhere else.
_LONE_GAP, _TIMES = 3600.0, 100


@dataclass(frozen=True)
class Probe:
    """What a file holds.

    Attributes:
      duration: seconds from the clock's zero to the end of what ends last.
      fps: pictures a second, on average; None without pictures.
      width: of the picture as shown, turned and in square pixels; None without pictures.
      height: likewise.
      audio_rate: samples a second; None without sound.
      picture_end: seconds from the clock's zero at which the last picture ends; None without pictures.
      sound_end: likewise, of the sound.
      damage: what is not as it should be, though the rest can be read, such as a track that holds nothing; may be ''.
    """

    duration: float
    fps: float | None
    width: int | None
    height: int | None
    audio_rate: int | None
    picture_end: float | None = None
    sound_end: float | None = None
    damage: str = ''


def probe(path: Path) -> Probe:
    """Reads every packet of a file and decodes its first picture and sound.

    A track that holds nothing, or nothing that can be decoded, is absent.

    Args:
      path: a local file.

    Raises:
      MediaError: for a file that is missing, empty, cut off, of no known format, or holds neither pictures
        nor sound; `reason` says which.
    """
    with open_media(path) as container:
        tracks = _tracks(container)
        if not tracks:
            raise MediaError(path, 'it holds neither pictures nor sound that can be decoded')
        zero = clock_zero(container)
        declared, damage = _read(container, path, tracks)
        faults = {index: track.fault for index, track in tracks.items()}
        if all(faults.values()):
            raise MediaError(path, next(iter(faults.values())))
        damage = [*_unread(container), *filter(None, faults.values()), *damage]
        left = [track for index, track in tracks.items() if not faults[index]]
        pictures = next((track for track in left if isinstance(track, Pictures)), None)
        sound = next((track for track in left if isinstance(track, Sound)), None)
        picture_end = None if pictures is None else pictures.end_from(zero) - zero
        sound_end = None if sound is None else sound.end - zero
        duration = max(end for end in (picture_end, sound_end) if end is not None)
        if duration <= 0:
            raise MediaError(path, 'it lasts no time')
        stamps = np.concatenate([[zero], *(track.stamps for track in left)]) - zero
        _check_times(path, stamps, duration, duration if declared is None else declared - zero)
        rate = None if sound is None else sound.rate
        if pictures is None or picture_end is None:
            return Probe(duration, None, None, None, rate, None, sound_end, ', '.join(damage))
        return Probe(duration, pictures.fps(picture_end), *pictures.size, rate, picture_end, sound_end,
                     ', '.join(damage))


def _tracks(container: InputContainer) -> dict[int, Track]:
    """The tracks that are read, by their index; pictures first."""
    return {stream.index: Pictures(stream) if isinstance(stream, VideoStream) else Sound(stream)
            for stream in read_streams(container)}


def _unread(container: InputContainer) -> list[str]:
    """Tracks of which no decoder makes anything, or not even their kind is known."""
    return [f'its {kind} track cannot be decoded' for kind, streams, read in (
        ('video', films(container), picture_stream(container)),
        ('audio', container.streams.audio, sound_stream(container))) if streams and read is None]


def _read(container: InputContainer, path: Path, tracks: dict[int, Track]) -> tuple[float | None, list[str]]:
    """Reads all packets; returns the end that the file declares, and what is damaged."""
    timeline, lost = new_timeline(container), 0
    ends = {stream.index: 0.0 for stream in container.streams}  # Others may declare the file's length.
    for packet in packets(container, list(container.streams), timeline):
        if packet.stream_index in tracks:
            tracks[packet.stream_index].take(packet)
            lost += packet.is_corrupt
        elif packet.pts is not None:
            end = seconds(packet.pts + (packet.duration or 0), packet.stream)
            ends[packet.stream_index] = max(ends.get(packet.stream_index, 0.0), end)  # Tracks may appear late.
    ends |= {index: track.end for index, track in tracks.items()}
    by_track, by_file = lengths.of_tracks(container, ends), lengths.of_file(container, path, ends)
    for declared, there in (*((end, ends[index]) for index, end in by_track.items()), *filter(None, [by_file])):
        if declared - there > _TOLERANCE:
            raise MediaError(path, f'it is cut off: {there:.2f} s of {declared:.2f} s are there')
    for index, end in by_track.items():
        track = tracks[index]
        # A picture's packet lasts until the next is decoded, which need not be the next shown; that of a sound may be
        # filled up.
        least = _TOLERANCE if isinstance(track, Pictures) else 0.0
        if track.end - end > least and max(track.stamps) < end:
            track.end = end
    if lost and lengths.is_streamed(container, path):
        lost = 0  # FFmpeg asked for more than there ever was.
    if lost and lengths.ends_with_a_whole_packet(container):
        raise MediaError(path, 'it is cut off in the middle')
    if timeline.leaps and not is_joinable(container):
        before, after = timeline.leaps[0]
        raise MediaError(path, f'its time goes back from {before:.2f} to {after:.2f} s: it was joined of several '
                               f'files, or is damaged')
    damage = [*[f'{lost} of its packets are damaged'] * bool(lost),
              *['its time begins anew within it'] * bool(timeline.leaps)]
    return max([*by_track.values(), *([by_file[0]] if by_file else [])], default=None), damage


def _check_times(path: Path, stamps: np.ndarray, duration: float, declared: float) -> None:
    """Finds a damaged time stamp, which makes hours of seconds, by the time in which there is nothing.

    A picture may stand for as long as it wants (slides, a screen that is recorded when it changes), if the file's own
    length says so, too, or it is not the only one.
    """
    times = np.sort(np.append(stamps[(stamps >= 0) & (stamps <= duration)], duration))
    *others, longest = np.sort(np.diff(times))
    lone = longest > _LONE_GAP and longest > _TIMES * max(others, default=0.0)
    if lone or (longest > _GAP and duration - declared > _TOLERANCE):
        raise MediaError(path, f'it claims to last {duration:.0f} s, but nothing is shown or heard for '
                               f'{longest:.0f} s of it')
