"""Damaged copies of media files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Before these stands a big-endian size (MP4), after them a little-endian one (AVI, WAV).
_BOXES = [b'ftyp', b'moov', b'mvhd', b'trak', b'tkhd', b'edts', b'mdhd', b'stbl', b'stsd', b'stts', b'ctts', b'stsc',
          b'stsz', b'stco', b'mdat', b'avcC', b'hvcC', b'esds']
_CHUNKS = [b'RIFF', b'LIST', b'avih', b'strh', b'strf', b'movi', b'idx1', b'fmt ', b'data']
_SUFFIXES = ['.mp4', '.avi', '.mkv', '.wav', '.mp3', '.ts', '.gif', '.jpg', '.txt', '.webm', '.flv', '.mpg', '.ogg',
             '.m3u8', '.h264', '']
KINDS = ('bits', 'header bits', 'truncated', 'swapped header', 'lengths', 'fields', 'hole', 'shuffled', 'renamed')


def damaged(originals: Sequence[Path], folder: Path, number: int) -> Path:
    """Writes damaged file `number`: always the same for the same originals. Its name says what was done."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    original = originals[number // len(KINDS) % len(originals)]
    content = bytearray(original.read_bytes())
    suffix = original.suffix
    if kind == 'bits':
        _flip(content, rng, 0, len(content), int(10 ** rng.uniform(0, 3)))
    elif kind == 'header bits':
        for first, last in ((0, 600), (len(content) - 8000, len(content)), (content.find(b'moov'), 3000)):
            _flip(content, rng, max(first, 0), min(max(last, first + 3000), len(content)), int(rng.integers(1, 12)))
    elif kind == 'truncated':
        del content[int(rng.integers(len(content))):]
    elif kind == 'swapped header':
        other = originals[int(rng.integers(len(originals)))].read_bytes()
        size = int(10 ** rng.uniform(1, 4.5))
        content[:size] = other[:size]
    elif kind == 'lengths':
        places = [*_found(content, _BOXES, -4), *_found(content, _CHUNKS, 4)] or [4]
        for place in rng.choice(places, min(2, len(places)), replace=False):
            value = [bytes(4), b'\xff' * 4, rng.bytes(4), b'\0\0\0\1', b'\x7f\xff\xff\xff'][int(rng.integers(5))]
            content[place:place + 4] = value
    elif kind == 'fields':
        places = [*_found(content, _BOXES, 8), *_found(content, _CHUNKS, 8)] or [40]
        for place in rng.choice(places, min(2, len(places)), replace=False):
            place += 4 * int(rng.integers(0, 8))
            content[place:place + 4] = [bytes(4), b'\xff' * 4, rng.bytes(4), b'\x7f\0\0\0'][int(rng.integers(4))]
    elif kind == 'hole':
        first = int(rng.integers(len(content)))
        size = int(rng.integers(1, max(2, len(content) // 4)))
        content[first:first + size] = [b'', bytes(size), rng.bytes(size)][int(rng.integers(3))]
    elif kind == 'shuffled':
        size = int(rng.choice([188, 1024, 4096]))
        parts = [content[i:i + size] for i in range(0, len(content), size)]
        for i, j in rng.integers(0, len(parts), (6, 2)):
            parts[i], parts[j] = parts[j], parts[i]
        content = bytearray(b''.join(parts))
    else:
        suffix = str(rng.choice([other for other in _SUFFIXES if other != suffix]))
    path = folder / f'{number:04d}_{kind.replace(" ", "_")}_{original.stem}{suffix}'
    path.write_bytes(content)
    return path


def _flip(content: bytearray, rng: np.random.Generator, first: int, last: int, count: int) -> None:
    for place in rng.integers(first, last, count):
        content[place] ^= 1 << int(rng.integers(8))


def _found(content: bytes, names: Sequence[bytes], offset: int) -> list[int]:
    return [place + offset for name in names if 4 <= (place := content.find(name)) < len(content) - 64]
