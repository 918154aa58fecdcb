"""How long FFmpeg may work on a file, where that is bounded: beyond it the kernel ends the process.

Python cannot interrupt FFmpeg: a handler of a signal waits until it returns. So the signal keeps its own
action, which is to end the process, and only `media.limits` begins a budget, in a process that may be lost.
What is counted is time of the processor and inside FFmpeg: a busy or suspended machine, a slow disk, or a slow
algorithm of a column makes no file a damaged one. Time on the clock is bounded, too, but only so that FFmpeg does not
wait for ever, and as this process counts it: one that is stopped may go on.
"""

import os
import signal
import time

# Sent when the budget is used up, and when FFmpeg waits for too long; their own action ends the process.
SIGNAL, WAITING = signal.SIGPROF, signal.SIGALRM
# Seconds that opening a file, a seek or a packet may take: a picture takes a fraction of one.
CALL_SECONDS = 60.0
# Seconds on the clock that it may take.
WAIT_SECONDS = 600.0
# Bytes a second that are decoded at least: AV1 in high definition, at a low rate, on a slow core, takes 60 kB/s.
_BYTES_A_SECOND = 20_000

_left: float | None = None  # Seconds; None where nothing is bounded.
_turns = 0  # Calls of FFmpeg that began and that ended: odd within one.


def begin(size: int) -> None:
    """Begins a budget in this process, in the place of any earlier one.

    Args:
      size: bytes of the file.
    """
    global _left
    _left = CALL_SECONDS + size / _BYTES_A_SECOND


def end() -> None:
    """Lets FFmpeg work for as long as it wants again."""
    global _left
    _left = None


class _Spent:
    """See `spent`; calls of FFmpeg are not nested, so that one object serves all."""

    _began: float | None = None

    def __enter__(self) -> None:
        global _turns
        if _left is None:
            self._began = None
            return
        if _left <= 0:  # In calls too short for the timer.
            signal.raise_signal(SIGNAL)
        self._began = time.process_time()  # What the timer has left is rounded up.
        signal.setitimer(signal.ITIMER_PROF, max(1e-3, min(_left, CALL_SECONDS)))
        _turns += 1

    def __exit__(self, *_: object) -> None:
        global _left, _turns
        if self._began is None:
            return
        _turns += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _left is not None:
            _left -= time.process_time() - self._began


_SPENT = _Spent()


def spent() -> _Spent:
    """Around every call of FFmpeg that reads or decodes: counts it, where a budget has begun."""
    return _SPENT


def watch() -> None:
    """For a thread: ends the process when a call of FFmpeg takes too long on the clock. Does not return."""
    seen = waited = 0
    while True:
        time.sleep(1)
        waited = waited + 1 if _turns == seen else 0
        seen = _turns
        if seen % 2 and waited > WAIT_SECONDS:
            os.kill(os.getpid(), WAITING)
