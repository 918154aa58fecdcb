import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.files import counting_frames, write_media
from vmmjax.errors import UserError
from vmmjax.media import budget, limits
from vmmjax.media.container import MediaError, packets
from vmmjax.media.limits import isolated
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames


def counted(first: int, last: int) -> Iterator[tuple[int, int]]:
    for number in range(first, last):
        yield number, os.getpid()


def probed(path: Path) -> Iterator[object]:
    yield probe(path)


def ended_by(number: int) -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), number)
    time.sleep(60)
    yield 2


def hanging(where: str) -> Iterator[int]:
    budget.CALL_SECONDS = 0.5
    budget.begin(0)
    if where == 'one call':
        with budget.spent():
            re.match('(a*)*b', 'a' * 60)  # In C, and it never lets a handler of a signal run.
    while True:  # Many short calls.
        with budget.spent():
            sum(range(10000))


def slow_algorithm() -> Iterator[int]:
    before, budget.CALL_SECONDS = budget.CALL_SECONDS, 0.2
    budget.begin(0)
    for number in range(3):
        with budget.spent():
            pass
        end = time.process_time() + 0.3
        while time.process_time() < end:  # Outside of FFmpeg.
            pass
        yield number
    budget.CALL_SECONDS = before


def waiting() -> Iterator[int]:
    budget.WAIT_SECONDS = 1
    budget.begin(0)
    with budget.spent():
        time.sleep(60)
    yield 1


def allocated(size: int) -> Iterator[int]:
    yield len(np.ones(size, np.uint8))


def enlarged(side: int) -> Iterator[int]:
    yield len(cv2.resize(np.ones((2, 2), np.uint8), (side, side)))


def killed_for_memory() -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield 1


def greedy() -> Iterator[np.ndarray]:
    yield np.ones(1 << 60, np.uint8)


def wrong() -> Iterator[int]:
    yield 1
    raise ValueError('a mistake')


def warned() -> Iterator[int]:
    yield 1
    raise UserError('The option is wrong.')


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_items_come_in_order_from_one_other_process(tmp_path: Path) -> None:
    items = [*isolated(tmp_path, counted, 0, 3), *isolated(tmp_path, counted, 7, 9)]
    assert [number for number, _ in items] == [0, 1, 2, 7, 8]
    assert len({process for _, process in items}) == 1
    assert items[0][1] != os.getpid()


def test_every_thread_has_its_own_process(tmp_path: Path) -> None:
    found: list[int] = []

    def work() -> None:
        found.extend(process for _, process in isolated(tmp_path, counted, 0, 2))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 2
    deadline = time.monotonic() + 10
    while any(map(_alive, found)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, found)), 'processes outlive their threads'


@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE])
def test_a_crash_costs_one_file(tmp_path: Path, number: int) -> None:
    items = isolated(tmp_path / 'a.mp4', ended_by, number)
    assert next(items) == 1
    with pytest.raises(MediaError, match=rf'a\.mp4: reading it crashes FFmpeg \({signal.Signals(number).name}\)'):
        next(items)
    assert [count for count, _ in isolated(tmp_path, counted, 0, 2)] == [0, 1]


def test_a_process_killed_from_outside_is_not_the_file_s_fault(tmp_path: Path) -> None:
    with pytest.raises(BrokenProcessPool, match='killed by signal 9'):
        list(isolated(tmp_path, ended_by, signal.SIGKILL))
    assert list(isolated(tmp_path, counted, 0, 1))


@pytest.mark.parametrize('where', ['one call', 'many calls'])
def test_a_hang_in_ffmpeg_is_ended(tmp_path: Path, where: str) -> None:
    began = time.monotonic()
    with pytest.raises(MediaError, match='does not come to an end'):
        list(isolated(tmp_path, hanging, where))
    assert time.monotonic() - began < 30
    assert list(isolated(tmp_path, counted, 0, 1))


def test_a_wait_in_ffmpeg_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(MediaError, match='FFmpeg waits for it'):
        list(isolated(tmp_path, waiting))
    assert time.monotonic() - began < 30
    assert list(isolated(tmp_path, counted, 0, 1))


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems do not bound what a process writes')
def test_a_reader_may_not_take_all_memory(tmp_path: Path) -> None:
    assert list(isolated(tmp_path, allocated, 1 << 30)) == [1 << 30]
    with pytest.raises(MediaError, match='not enough memory'):
        list(isolated(tmp_path, allocated, 5 << 30))
    with pytest.raises(MediaError, match='not enough memory'):
        list(isolated(tmp_path, enlarged, 70_000))
    assert list(isolated(tmp_path, counted, 0, 1))


def test_a_reader_that_the_kernel_kills_for_memory_costs_its_file(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(limits, '_kills_for_memory', lambda: next(counts))
    with pytest.raises(MediaError, match=r'a\.mp4: there is not enough memory to read it'):
        list(isolated(tmp_path / 'a.mp4', killed_for_memory))


def test_a_slow_algorithm_is_no_hang(tmp_path: Path) -> None:
    assert list(isolated(tmp_path, slow_algorithm)) == [0, 1, 2]


def test_what_the_function_raises_comes_through(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match='not enough memory'):
        list(isolated(tmp_path, greedy))
    with pytest.raises(UserError, match='The option is wrong'):
        list(isolated(tmp_path, warned))
    with pytest.raises(ValueError, match='a mistake') as raised:
        list(isolated(tmp_path, wrong))
    assert 'in wrong' in raised.value.__notes__[0]
    with pytest.raises(MediaError, match='no such file'):
        list(isolated(tmp_path / 'a.mp4', probed, tmp_path / 'a.mp4'))


def test_who_wants_no_more_ends_the_process(tmp_path: Path) -> None:
    items = isolated(tmp_path, counted, 0, 1000)
    _, process = next(items)
    items.close()
    assert not _alive(process)
    assert [number for number, _ in isolated(tmp_path, counted, 0, 2)] == [0, 1]


_PARENT = '''
import sys, time
from pathlib import Path
from tests.media.test_limits import counted
from vmmjax.media.limits import isolated
print(*(process for _, process in isolated(Path('.'), counted, 0, 1)), flush=True)
time.sleep(60)
'''


def test_the_process_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, '-c', _PARENT], stdout=subprocess.PIPE, text=True,
                          cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert _alive(process)
        parent.kill()
    deadline = time.monotonic() + 10
    while _alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(process)


def test_all_that_ffmpeg_does_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path / 'a.mp4', counting_frames(20))
    calls: list[str] = []
    real = signal.setitimer

    def recorded(which: int, seconds: float) -> tuple[float, float]:
        calls.append('begin' if seconds else 'end')
        return real(which, seconds)

    monkeypatch.setattr(signal, 'setitimer', recorded)
    probe(tmp_path / 'a.mp4')
    assert not calls  # Nothing is bounded but in a process that may be lost.
    try:
        budget.begin(1000)
        probe(tmp_path / 'a.mp4')
        read_frames(tmp_path / 'a.mp4', start=0.6, end=0.8, fps=25, short_side=32)
    finally:
        budget.end()
    assert calls == ['begin', 'end'] * (len(calls) // 2)
    assert len(calls) > 2 * 30


def test_packets_are_all_of_a_track(tmp_path: Path) -> None:
    write_media(tmp_path / 'a.mp4', counting_frames(20))
    with av.open(str(tmp_path / 'a.mp4')) as container:
        sizes = [packet.size for packet in packets(container, container.streams.video[0])]
    assert len(sizes) == 21
    assert min(sizes[:20]) > 0
    assert sizes[20] == 0
