"""What a file itself says of its length, to tell one that was cut off from one that never knew it."""

import struct
from pathlib import Path

import av
from av.container import InputContainer

from vmmjax.media.container import read_streams, seconds

# Sizes from here on stand for one that was not known, as by what writes into a pipe (0x7fff0000 to 0xffffffff).
_PLACEHOLDER = 0x7F00_0000
# These declare how long each track is; others guess it from the bit rate.
_BY_TRACK = {'mov,mp4,m4a,3gp,3g2,mj2', 'avi', 'flv', 'aiff', 'au', 'flac'}
# FFmpeg takes the length of these from the size of the file, and marks what is missing at the end.
_BY_BYTES = {'wav', 'w64', 'caf'}
_HEAD = 1 << 16  # Bytes in which the header of a sound ends.


def of_tracks(container: InputContainer, ends: dict[int, float]) -> dict[int, float]:
    """Where tracks end by what the container declares, seconds on its clock, by index; not those it says nothing of.

    Args:
      container: the file.
      ends: where each track ends by its packets, likewise; 0 for one without a packet.
    """
    found: dict[int, float] = {}
    if container.format.name not in _BY_TRACK:
        return found
    for stream in read_streams(container):
        # FFmpeg corrects an AVI's duration to what is there, but not its count.
        length = stream.frames if container.format.name == 'avi' else stream.duration
        is_empty = not ends[stream.index] and not stream.frames
        if length and not is_empty and stream.frames < _PLACEHOLDER:
            found[stream.index] = seconds((stream.start_time or 0) + length, stream)
    return found


def of_file(container: InputContainer, path: Path, ends: dict[int, float]) -> tuple[float, float] | None:
    """Where a Matroska file ends, which declares one end for all tracks, be they read here or not.

    Args:
      container: the file.
      path: of it.
      ends: where each track of the container ends by its packets, seconds on its clock.

    Returns:
      Seconds on the container's clock, as declared and as found; None where nothing is declared.
    """
    if container.format.name != 'matroska,webm' or container.duration is None:
        return None
    read = [stream.index for stream in read_streams(container)] if _segment_is_cut(path) else list(ends)
    return container.duration / av.time_base, max(ends[index] for index in read)


def is_streamed(container: InputContainer, path: Path) -> bool:
    """Whether a sound was written without knowing its length, as into a pipe: it lasts as long as its bytes."""
    if container.format.name == 'caf':
        return not container.streams[0].frames
    return container.format.name == 'wav' and not 0 < _wave_bytes(path) < _PLACEHOLDER


def ends_with_a_whole_packet(container: InputContainer) -> bool:
    """Whether an incomplete packet means that the end is missing: not where some are lost on their way."""
    return container.format.name in _BY_TRACK | _BY_BYTES | {'matroska,webm'}


def _wave_bytes(path: Path) -> int:
    """The bytes of samples that a WAV declares; of more than 4 GiB, the format RF64."""
    with path.open('rb') as file:
        head = file.read(_HEAD)
    if head[:4] == b'RF64':
        return struct.unpack_from('<Q', head, 28)[0] if head[12:16] == b'ds64' and len(head) >= 36 else 0
    place = 12
    while place + 8 <= len(head):
        name, size = struct.unpack_from('<4sI', head, place)
        if name == b'data':
            return size
        place += 8 + size + size % 2
    return 0


def _segment_is_cut(path: Path) -> bool:
    """Whether a Matroska file is shorter than its first segment says; one that was streamed does not say."""
    with path.open('rb') as file:
        head = file.read(_HEAD)
    place = 0
    for wanted in (b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'):  # The EBML header, the segment.
        if head[place:place + 4] != wanted or place + 12 > len(head):
            return False
        width = 9 - head[place + 4].bit_length()
        size = int.from_bytes(head[place + 4:place + 4 + width], 'big') & ((1 << 7 * width) - 1)
        unknown = size == (1 << 7 * width) - 1
        place += 4 + width + (size if wanted == b'\x1a\x45\xdf\xa3' else 0)
    return not unknown and place + size > path.stat().st_size
