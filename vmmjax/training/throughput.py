"""Where the time of a run goes: throughput, waiting for input, utilisation, goodput."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

# Published peaks of a device as JAX counts them, dense bfloat16 FLOP/s, by how its `device_kind` begins; the first that
# fits counts.
PEAK_FLOPS = {
    'TPU v4': 275e12, 'TPU v5 lite': 197e12, 'TPU v5': 459e12, 'TPU v6 lite': 918e12,
    'NVIDIA A100': 312e12, 'NVIDIA H100 PCIe': 756e12, 'NVIDIA H100': 989e12, 'NVIDIA H200': 989e12,
    'NVIDIA GH200': 989e12, 'NVIDIA B200': 2250e12,
}


def peak_flops(kind: str) -> float | None:
    """The published peak of a device of that kind; None where it is not known."""
    return next((peak for name, peak in PEAK_FLOPS.items() if kind.startswith(name)), None)


class Meter:
    """Measures a run by the clock that never jumps.

    Attributes:
      elapsed: seconds that the run took, with those of earlier processes that it went on from.
    """

    def __init__(self, clips: int, step: jax.stages.Compiled | None, began: float, elapsed: float = 0.0,
                 goodput: float = 0.0, microbatches: int = 1) -> None:
        """Begins an interval.

        Args:
          clips: a step.
          step: the compiled step; None where none will be taken.
          began: when this process began, of `time.monotonic()`.
          elapsed: seconds that the run took before.
          goodput: over those.
          microbatches: parts of a step, which the compiler counts once, as whatever stands in a loop; the update after
            the last part, some operations a parameter, is counted as often as they are.
        """
        self._clips = clips
        flops = (step.cost_analysis() or {}).get('flops') if step else None  # Of one device.
        self._flops = flops and flops * microbatches
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self._origin, self._useful = began - elapsed, elapsed * goodput
        self._begin()

    def _begin(self) -> None:
        self._began, self._waited, self._steps = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self, last: Any = ()) -> Iterator[None]:
        """For the input of a step, in the block.

        The host runs ahead of the device: while that still works on an earlier step, nobody waits.

        Args:
          last: results of the step before, a tree of arrays; nothing is fetched.
        """
        began = time.monotonic()
        yield
        if all(leaf.is_ready() for leaf in jax.tree.leaves(last)):
            self._waited += time.monotonic() - began
        self._steps += 1

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What the block takes is no time of the steps."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def interval(self) -> dict[str, float]:
        """Figures of the steps since the last call, which have ended.

        Returns:
          `clips_per_second`; `input_wait`, the share of the time in which there was nothing to do for want of input, at
          most: of a wait in which a step ended all is counted; `mfu`, model FLOPs utilisation: those of the compiled
          step against the published bfloat16 peak, where that is known; `goodput`, the share of `elapsed` in which
          steps were taken that count; `elapsed`, seconds since the run began, without the pauses between its processes.
        """
        now = time.monotonic()
        seconds = now - self._began
        self._useful += seconds - self._waited
        elapsed = now - self._origin
        values = {'clips_per_second': self._steps * self._clips / seconds, 'input_wait': self._waited / seconds}
        if self._flops and self._peak:
            values['mfu'] = self._flops * self._steps / seconds / self._peak
        self._begin()
        return {**values, 'goodput': self._useful / elapsed, 'elapsed': elapsed}
