"""Processes that take turns on one machine: whoever's turn it is not stands still and costs nothing."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

_TICKS = os.sysconf('SC_CLK_TCK')


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a turn took.

    Attributes:
      seconds: of wall clock.
      cpu: seconds of all its processes.
      read: bytes that they asked the system for.
    """

    seconds: float
    cpu: float
    read: int


class Side:
    """One process, with those that it starts; they end with the `with` block."""

    def __init__(self, name: str, arguments: list[str]):
        """Starts it and lets it take its first turn of one batch, which is not counted."""
        self.name = name
        # A group, not a session: one that stands still is ended by the system when whoever started it is killed.
        self._process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, process_group=0)
        try:
            self._ask(1)
            self._signal(signal.SIGSTOP)
        except BaseException:
            self._signal(signal.SIGKILL)
            raise

    def turn(self, warm_up: int, batches: int) -> Turn:
        """Gives it the machine: first for what it had at hand before, then for what is measured."""
        self._signal(signal.SIGCONT)
        self._ask(warm_up)
        cpu, read = self._usage()
        seconds = self._ask(batches)
        after, more = self._usage()
        self._signal(signal.SIGSTOP)
        return Turn(seconds, after - cpu, more - read)

    def memory(self) -> float:
        """MB of its processes; what they share is counted once."""
        found = 0
        for process in self._processes():
            with contextlib.suppress(OSError):
                lines = (process / 'smaps_rollup').read_text().splitlines()
                found += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
        return found / 1024

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends all its processes."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _ask(self, batches: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f'{batches}\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # What it said is on the terminal.
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f'{self.name} ended before its turn did')
        return float(json.loads(answer))

    def _processes(self) -> list[Path]:
        mine = []
        for folder in Path('/proc').iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.getpgid(int(folder.name)) == self._process.pid:
                    mine.append(folder)
        return mine

    def _usage(self) -> tuple[float, int]:
        cpu = read = 0
        for process in self._processes():
            with contextlib.suppress(OSError):
                fields = (process / 'stat').read_text().rpartition(')')[2].split()
                cpu += int(fields[11]) + int(fields[12])
                read += int((process / 'io').read_text().split('rchar:')[1].split()[0])
        return cpu / _TICKS, read
