"""Prepares mutants of media files and odd trees of folders: each is read, or rejected in one line.

  .venv/bin/python scripts/fuzz_media.py --entries=800 --seed=0

Small clips are written and altered where their containers keep sizes, counts, rates and times: the boxes of MP4, the
elements of Matroska, the chunks of RIFF, the packets of transport streams, the blocks of GIF; others are joined, or
have the header of another. They get names of all kinds and lie among links, pipes and folders. `vmmjax prepare` makes
rgb and audio of them, some at a time. Of every entry there must be a row in the catalog or a line in rejected.csv;
nothing may print a traceback, hang by the clock, or have a process with more than 1.5 GB. The same seed gives the same
entries.
"""

import argparse
import csv
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from vmmjax.media.writer import write_clip
from vmmjax.prepare.sources.clip import printable

ROOT = Path(__file__).resolve().parents[1]
TOGETHER = 40  # Entries a command.
MOST_MEMORY = 1500  # MB, of a process.
SECONDS = 90, 6  # That a command may take, and more an entry.
NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
# Boxes that hold boxes, and how many bytes come before those.
PARENTS = {b'moov': 0, b'trak': 0, b'mdia': 0, b'minf': 0, b'stbl': 0, b'edts': 0, b'dinf': 0, b'udta': 0, b'stsd': 8,
           b'avc1': 78, b'mp4a': 28}
MASTERS = (0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1549A966, 0x1F43B675, 0x1C53BB6B, 0x114D9B74, 0xA0)

ODD = (b'caf\xe9', b'a\rb', b'\n', b' ', b'"', b"'", b',;', b'%s', b'\x1b[31m', '日本'.encode(), b'-', b'x' * 200)

Random = np.random.Generator


def pick(rng: Random, values: Sequence[Any]) -> Any:
    """One of them; NumPy's own choice makes arrays of them."""
    return values[int(rng.integers(len(values)))]


def number(rng: Random, width: int, order: str = 'big') -> bytes:
    """One that a header may not expect."""
    value = pick(rng, NUMBERS) if rng.random() < 0.7 else int.from_bytes(rng.bytes(width), 'big')
    return (value & ((1 << 8 * width) - 1)).to_bytes(width, order)  # type: ignore[arg-type]


def boxes(content: bytes, begin: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """The boxes of an MP4, (place, size, type), with those inside them."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from('>I4s', content, begin)
        if size < 8 or begin + size > end:
            return
        yield begin, size, kind
        if kind in PARENTS:
            yield from boxes(content, begin + 8 + PARENTS[kind], begin + size)
        begin += size


def mutate_mp4(content: bytearray, rng: Random) -> None:
    """Sizes, types, counts, time scales and other fields of boxes; boxes that are missing or come twice."""
    found = list(boxes(content, 0, len(content)))
    if not found:
        return
    place, size, _ = pick(rng, found)
    action = rng.integers(6)
    if action == 0:
        content[place:place + 4] = number(rng, 4)
    elif action == 1:
        content[place + 4:place + 8] = pick(rng, [b'free', b'moov', b'trak', b'stsz', bytes(4)])
    elif action == 2 and size < len(content) // 2:
        del content[place:place + size]
    elif action == 3 and size < 1 << 16:
        content[place:place] = content[place:place + size]
    else:  # A count, a time scale, a length.
        at = place + 8 + 4 * int(rng.integers(0, max(1, min(12, size // 4 - 2))))
        content[at:at + 4] = number(rng, 4)


def elements(content: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The elements of a Matroska file, (place, that of its size, that of its content, size), with those inside."""
    while begin + 2 <= end:
        name_width = 9 - content[begin].bit_length()
        if name_width > 4 or begin + name_width >= end:
            return
        at = begin + name_width
        width = 9 - content[at].bit_length()
        if width > 8 or at + width > end:
            return
        size = int.from_bytes(content[at:at + width], 'big') & ((1 << 7 * width) - 1)
        inner = at + width
        if size == (1 << 7 * width) - 1 or inner + size > end:
            size = end - inner
        yield begin, at, inner, size
        if int.from_bytes(content[begin:at], 'big') in MASTERS:
            yield from elements(content, inner, inner + size)
        begin = inner + size


def mutate_matroska(content: bytearray, rng: Random) -> None:
    """Sizes and numbers of elements; elements that are missing or come twice."""
    found = list(elements(content, 0, len(content)))
    if not found:
        return
    place, at, inner, size = pick(rng, found)
    action = rng.integers(5)
    if action == 0:
        width = inner - at
        content[at:inner] = ((1 << 7 * width) | int.from_bytes(number(rng, 8), 'big') % (1 << 7 * width)).to_bytes(
            width, 'big')
    elif action == 1 and size < len(content) // 2:
        del content[place:inner + size]
    elif action == 2 and size < 1 << 16:
        content[place:place] = content[place:inner + size]
    elif size:
        width = min(size, 8)
        content[inner:inner + width] = number(rng, width)


def mutate_riff(content: bytearray, rng: Random) -> None:
    """Sizes of chunks, and the fields of their headers."""
    names = [name for name in (b'RIFF', b'fmt ', b'data', b'LIST', b'avih', b'strh', b'strf', b'movi', b'idx1')
             if content.find(name) >= 0]
    place = content.find(pick(rng, names)) if names else 0
    if rng.random() < 0.4:
        content[place + 4:place + 8] = number(rng, 4, 'little')
    else:
        at, width = place + 8 + 2 * int(rng.integers(0, 16)), pick(rng, [2, 4])
        content[at:at + width] = number(rng, width, 'little')


def mutate_ts(content: bytearray, rng: Random) -> None:
    """Packets lost, twice, out of order, of another track; clocks that are set."""
    parts = [content[i:i + 188] for i in range(0, len(content), 188)]
    for _ in range(int(rng.integers(1, 20))):
        i, j = (int(index) for index in rng.integers(0, len(parts), 2))
        action = rng.integers(5)
        if action == 0:
            del parts[i]
        elif action == 1:
            parts.insert(i, parts[j])
        elif action == 2:
            parts[i], parts[j] = parts[j], parts[i]
        elif action == 3:
            parts[i][1:3] = rng.bytes(2)
        else:  # Headers of tables and of elementary streams, with their times.
            at = int(rng.integers(4, 40))
            parts[i][at:at + 1] = rng.bytes(1)
    content[:] = b''.join(parts)


def mutate_gif(content: bytearray, rng: Random) -> None:
    """Sizes of the screen and of pictures, delays, lengths of blocks."""
    if rng.random() < 0.3:
        content[6:10] = number(rng, 2, 'little') + number(rng, 2, 'little')
        return
    places = [place for place in range(len(content) - 12) if content[place:place + 3] == b'\x21\xf9\x04']
    at = (pick(rng, places) if places else 0) + int(rng.integers(0, 24))
    content[at:at + 2] = number(rng, 2, 'little')


def gif(frames: int, side: int) -> bytes:
    """An animation of one colour whose pictures are one pixel large."""
    head = b'GIF89a' + 2 * side.to_bytes(2, 'little') + b'\xf0\0\0' + b'\0\0\0\xff\xff\xff'
    picture = b'\x21\xf9\x04\x04\x04\0\0\0' + b'\x2c\0\0\0\0\1\0\1\0\0' + b'\x02\x02\x44\x01\0'
    return head + frames * picture + b'\x3b'


def wave(seconds: float, rate: int) -> bytes:
    """A tone of 440 Hz, 16 bits."""
    samples = (16000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype('<i2').tobytes()
    head = struct.pack('<4sIHHIIHH', b'fmt ', 16, 1, 1, rate, 2 * rate, 2, 16)
    return b'RIFF' + struct.pack('<I', 36 + len(samples)) + b'WAVE' + head + b'data' + struct.pack(
        '<I', len(samples)) + samples


MUTATIONS: dict[str, Callable[[bytearray, Random], None]] = {
    '.mp4': mutate_mp4, '.mkv': mutate_matroska, '.wav': mutate_riff, '.ts': mutate_ts, '.gif': mutate_gif}


def originals(folder: Path) -> dict[str, bytes]:
    """A clip in each container."""
    rng = np.random.default_rng(0)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (30, 6, 8, 3), np.uint8), 8, 1), 8, 2)
    sound = (0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * 16000) / 16000)).astype(np.float32)
    write_clip(folder / 'clip.mp4', frames, fps=10, waveform=sound, group=10)
    for suffix in ('mkv', 'ts'):
        with av.open(str(folder / 'clip.mp4')) as source, av.open(str(folder / f'clip.{suffix}'), 'w') as copy:
            streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
    return {'.wav': wave(2, 16000), '.gif': gif(20, 64),
            **{f'.{suffix}': (folder / f'clip.{suffix}').read_bytes() for suffix in ('mp4', 'mkv', 'ts')}}


def mutant(clips: dict[str, bytes], rng: Random) -> tuple[bytes, str]:
    """Content and ending of a file."""
    suffix = pick(rng, list(clips))
    content = bytearray(clips[suffix])
    for _ in range(pick(rng, [1, 1, 2, 4, 8])):
        MUTATIONS[suffix](content, rng)
    action = rng.random()
    if action < 0.05:
        content += clips[pick(rng, list(clips))]
    elif action < 0.10:
        other, size = clips[pick(rng, list(clips))], int(10 ** rng.uniform(1, 4))
        content[:size] = other[:size]
    elif action < 0.15:
        del content[int(rng.integers(len(content) + 1)):]
    elif action < 0.18:
        content = bytearray(gif(300, 8192))
        suffix = '.gif'
    elif action < 0.21:
        names = '\n'.join(f'#EXTINF:4,\n{place}' for place in ('../clip.ts', '/dev/zero', 'http://localhost:1/x'))
        content = bytearray(pick(rng, [f'#EXTM3U\n{names}\n', 'ffconcat version 1.0\nfile clip.ts\n', '']).encode())
    return bytes(content), pick(rng, ['.mp4', '.mkv', '.txt', '']) if rng.random() < 0.1 else suffix


def file_name(rng: Random, index: int, suffix: str) -> bytes:
    """A name; some are hardly one."""
    return b'%04d' % index + (pick(rng, ODD) if rng.random() < 0.3 else b'') + suffix.encode()


def grow(folder: Path, clips: dict[str, bytes], rng: Random, first: int, count: int) -> set[bytes]:
    """Writes a tree of folders; returns what of it must be accounted for, relative to it."""
    wanted = set()
    root = os.fsencode(folder)
    for index in range(first, first + count):
        label = pick(rng, [b'a', b'b', b'c\xe9', b'd.mp4'])
        content, suffix = mutant(clips, rng)
        name, kind = file_name(rng, index, suffix), rng.random()
        inside = label + b'/deep' if kind < 0.04 else label
        place = inside + b'/' + name
        os.makedirs(root + b'/' + inside, exist_ok=True)
        path = root + b'/' + place
        if 0.04 < kind < 0.06:
            os.mkfifo(path)
        elif 0.06 < kind < 0.08:
            os.mkdir(path)
        elif 0.08 < kind < 0.12:
            os.symlink(pick(rng, [b'nothing', b'..', b'/dev/zero', b'.', name]), path)
        else:
            with open(path, 'wb') as file:
                file.write(content)
        wanted.add(place)
    with open(folder / 'a' / '0000 good.mp4', 'wb') as file:  # There is always one that can be read.
        file.write(clips['.mp4'])
    return wanted | {b'a/0000 good.mp4'}


def tree(process: int) -> set[int]:
    """A process and those below it."""
    found, waiting = set(), [process]
    while waiting:
        if (number := waiting.pop()) not in found:
            found.add(number)
            try:
                for task in Path(f'/proc/{number}/task').iterdir():
                    waiting += map(int, (task / 'children').read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def most_memory(processes: set[int]) -> float:
    """MB that the largest of them has ever had."""
    most = 0.0
    for process in processes:
        try:
            lines = Path(f'/proc/{process}/status').read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        most = max([most, *(int(line.split()[1]) / 1000 for line in lines if line.startswith('VmHWM:'))])
    return most


def check(folder: Path, store: Path, wanted: set[bytes]) -> list[str]:
    """Prepares a tree; says what is wrong."""
    began, memory = time.monotonic(), 0.0
    limit = SECONDS[0] + SECONDS[1] * len(wanted)
    with tempfile.TemporaryFile('w+') as said, subprocess.Popen(
            [sys.executable, '-m', 'vmmjax.cli.main', 'prepare', f'--source={folder}', f'--store={store}',
             '--columns=rgb,audio', '--fps=5', '--short_side=32', '--processes=2'],
            stdout=said, stderr=said, cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)}) as process:
        while process.poll() is None:
            memory = max(memory, most_memory(tree(process.pid)))
            if time.monotonic() - began > limit:
                for number in tree(process.pid):
                    os.kill(number, 9)
                return [f'it did not end within {limit} s']
            time.sleep(0.05)
        said.seek(0)
        text = said.read()
    faults = [f'a process had {memory:.0f} MB'] * (memory > MOST_MEMORY)
    if process.returncode or 'Traceback' in text:
        return [*faults, f'status {process.returncode}: {text[-3000:]}']
    listed: dict[str, list[str]] = {'catalog': [], 'rejected': []}
    for name, paths in listed.items():
        with open(store / f'{name}.csv', newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        paths += [row['path'] for row in rows]
        faults += [f'{row["path"]!r} is rejected in {row["reason"]!r}' for row in rows
                   if name == 'rejected' and not (10 < len(row['reason']) < 300 and '\n' not in row['reason'])]
    names = {printable(os.fsdecode(path)) for path in wanted}
    faults += [f'{name!r} is not accounted for' for name in sorted(names - {*listed['catalog'], *listed['rejected']})]
    read = len(set(listed['catalog']) - set(listed['rejected']))
    print(f'{len(wanted)} entries: {read} read, {len(names) - read} rejected; {memory:.0f} MB at most, '
          f'{time.monotonic() - began:.0f} s', flush=True)
    return faults


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--entries', type=int, default=800)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--keep', type=Path, help='folder for the entries of commands that went wrong')
    arguments = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        clips = originals(Path(work))
        for first in range(1, arguments.entries + 1, TOGETHER):
            count = min(TOGETHER, arguments.entries + 1 - first)
            folder, store = Path(work, f'tree{first}'), Path(work, f'store{first}')
            (folder / 'a').mkdir(parents=True)
            wanted = grow(folder, clips, np.random.default_rng((arguments.seed, first)), first, count)
            faults = check(folder, store, wanted)
            for fault in faults:
                print(f'entries {first} to {first + count - 1}: {fault}', flush=True)
            if faults and arguments.keep:
                shutil.copytree(folder, arguments.keep / folder.name, symlinks=True, ignore=lambda parent, names: [
                    name for name in names if not (os.path.isfile(os.path.join(parent, name))
                                                   or os.path.isdir(os.path.join(parent, name)))])
            wrong += len(faults)
            shutil.rmtree(folder)
            shutil.rmtree(store, ignore_errors=True)
    print(f'{arguments.entries} entries with seed {arguments.seed}: {wrong} faults')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
