"""The real training step, compiled for devices that are not here, and what the compiler says of it."""

import dataclasses
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from vmmjax.models.convolution import on_platform
from vmmjax.planning.chips import Topology
from vmmjax.planning.collectives import Collective, collectives
from vmmjax.planning.program import operations, traffic
from vmmjax.training import sharding
from vmmjax.training.build import Built
from vmmjax.training.state import parameters

_UNITS = {'': 1, 'K': 2 ** 10, 'M': 2 ** 20, 'G': 2 ** 30, 'T': 2 ** 40}
# What a step would need, as the compiler for TPUs refuses it: all of it, or what it needs beside its state.
_USED = re.compile(r'Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm')
_BESIDE = re.compile(r'HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM')
_NEAR = 8  # A largest batch is found to one part in so many.


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A step on a topology; bytes, FLOPs and seconds are of one device.

    Attributes:
      topology: it was compiled for.
      batch: clips of a step, over all devices.
      parameters: how many the model has.
      state: bytes of `parameters`, `optimizer` and `rest` (running statistics, a moving average).
      needs: bytes that the step needs at once, its state included.
      flops: of a step; NaN where it does not fit.
      accessed: bytes between memory and chip in a step, see `program.traffic`; NaN where it does not fit.
      exchanges: what the devices send each other.
      fits: whether the compiler found room for it; always of a CPU, whose memory it does not know.
      compiling: seconds it took.
    """

    topology: Topology
    batch: int
    parameters: int
    state: Mapping[str, int]
    needs: float
    flops: float
    accessed: float
    exchanges: tuple[Collective, ...]
    fits: bool
    compiling: float

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a step."""
        return sum(each.sent for each in self.exchanges)

    @property
    def bounds(self) -> dict[str, float]:
        """Seconds of a step at the chip's published rates, were there nothing else: `compute`, `memory`, `links`.

        A link sends while it receives, so half of the published rate is each way. Empty of a CPU.
        """
        chip = self.topology.chip
        if chip is None:
            return {}
        return {'compute': self.flops / chip.flops, 'memory': self.accessed / chip.bandwidth,
                'links': self.sent / (chip.links / 2)}

    @property
    def seconds(self) -> float:
        """The roofline (Williams et al. 2009): no step can be faster than the longest of `bounds`; NaN of a CPU."""
        return max(self.bounds.values(), default=math.nan)


def compile_step(built: Built, mesh: jax.sharding.Mesh, topology: Topology,
                 batch: Mapping[str, tuple[tuple[int, ...], Any]], microbatches: int = 1) -> Compiled:
    """Compiles a step and reads what the compiler says of it.

    Args:
      built: from `training.build`, over the mesh.
      mesh: of the topology's devices.
      topology: the same.
      batch: name -> shape and dtype of the arrays of a batch.
      microbatches: parts of a step, whose FLOPs the compiler counts once, as whatever stands in a loop.
    """
    rows = sharding.batch_sharding(mesh)
    clips = {name: jax.ShapeDtypeStruct(shape, dtype, sharding=rows) for name, (shape, dtype) in batch.items()}
    began, spec = time.monotonic(), built.spec
    step: Any = built.step
    of = {'parameters': spec.params, 'optimizer': spec.opt_state, 'rest': (spec.model_state, spec.ema)}
    found: dict[str, Any] = dict(
        topology=topology, batch=next(iter(batch.values()))[0][0],
        parameters=parameters(spec.params),
        state={name: _bytes(tree) for name, tree in of.items()})
    with on_platform('cpu' if topology.kind == 'cpu' else 'tpu'):
        lowered = step.lower(spec, clips)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        needs = refused(str(error), sum(found['state'].values()))
        if needs is None:
            raise
        return Compiled(**found, needs=needs, flops=math.nan, accessed=math.nan, exchanges=(), fits=False,
                        compiling=time.monotonic() - began)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    needs = (memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
             + memory.temp_size_in_bytes)
    program = operations(compiled.as_text())
    return Compiled(**found, needs=needs, flops=cost['flops'] * microbatches, accessed=traffic(program),
                    exchanges=tuple(collectives(program, topology.chips)), fits=True,
                    compiling=time.monotonic() - began)


def refused(message: str, state: int) -> float | None:
    """Bytes that a step would need which does not fit; None for what is refused for another reason.

    Args:
      message: of the compiler.
      state: bytes of what the step updates.
    """
    for pattern, more in ((_USED, 0), (_BESIDE, state)):
        if found := pattern.search(message):
            return float(found[1]) * _UNITS[found[2]] + more
    return None


def largest_batch(compile_at: Callable[[int], Compiled], first: int) -> Compiled:
    """The largest batch a device that fits, to one part in eight: needs grow evenly with the batch, but for rounding.

    Args:
      compile_at: compiles for so many clips a device.
      first: clips a device to begin with.

    Returns:
      The largest that was compiled and fits; the smallest that was, where none fits.
    """
    tried: dict[int, Compiled] = {}
    size = first
    while True:
        tried[size] = compile_at(size)
        most = max((each for each, found in tried.items() if found.fits), default=0)
        least = min((each for each, found in tried.items() if not found.fits), default=0)
        if least and least - most <= max(1, most // _NEAR):
            return tried[most or least]
        size = (most + least) // 2 if least else 2 * most
        if size in tried or not size:
            return tried[most or min(tried)]


def _bytes(tree: Any) -> int:
    """Of a tree's arrays on one device."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
