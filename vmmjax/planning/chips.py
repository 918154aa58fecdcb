"""Chips as their makers describe them, and topologies of them."""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from vmmjax.errors import UserError, did_you_mean
from vmmjax.training.throughput import PEAK_FLOPS


class Chip(NamedTuple):
    """Published figures of a chip.

    Attributes:
      flops: bfloat16, a second.
      memory: bytes.
      bandwidth: of the memory, bytes a second.
      links: bytes a second to all neighbours together, both directions.
      a_host: chips that one host feeds, in slices of several hosts.
    """

    flops: float
    memory: float
    bandwidth: float
    links: float
    a_host: int


CHIPS = {
    'v5e': Chip(PEAK_FLOPS['TPU v5 lite'], 16e9, 819e9, 400e9, 4),
    'v5p': Chip(PEAK_FLOPS['TPU v5'], 95e9, 2765e9, 1200e9, 4),
    'v6e': Chip(PEAK_FLOPS['TPU v6 lite'], 32e9, 1600e9, 800e9, 4),
}
"""From Google's pages "TPU v5e", "TPU v5p" and "TPU v6e" (docs.cloud.google.com/tpu/docs, read in 2026)."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips that are connected, such as `v5e:16x16`, or the CPU taken for so many devices, `cpu:8`.

    Attributes:
      name: as given.
      kind: a key of `CHIPS`, or `cpu`.
      shape: chips in each direction.
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, name: str) -> 'Topology':
        """Reads a name.

        Raises:
          UserError: for a name of no such form or of an unknown chip.
        """
        found = re.fullmatch(r'(\w+):(\d+(?:x\d+)*)', name)
        if not found or min(shape := tuple(map(int, found[2].split('x')))) < 1:
            raise UserError(f'{name!r} is no topology; write a chip and its numbers in each direction, such as '
                            f'v5e:16x16 or v5p:4x4x4, or cpu:8.')
        if found[1] != 'cpu' and found[1] not in CHIPS:
            raise UserError(f'There are no figures of a chip {found[1]!r}: {did_you_mean(found[1], [*CHIPS, "cpu"])}.')
        return cls(name, found[1], shape)

    @property
    def chips(self) -> int:
        """How many."""
        return math.prod(self.shape)

    @property
    def hosts(self) -> int:
        """How many feed them; a CPU feeds itself."""
        return 1 if self.kind == 'cpu' else -(-self.chips // CHIPS[self.kind].a_host)

    @property
    def chip(self) -> Chip | None:
        """Its figures; None of a CPU, which has none."""
        return CHIPS.get(self.kind)

    def devices(self) -> Sequence[Any]:
        """Devices that can be compiled for, though not run on.

        Raises:
          UserError: where the compiler for TPUs is not installed or does not know the topology, or there are not as
            many CPU devices, see `simulate`.
        """
        if self.kind == 'cpu':
            if len(jax.devices()) < self.chips:
                raise UserError(f'{self.name} needs {self.chips} devices, and JAX has begun with '
                                f'{len(jax.devices())}; plan for it in a process of its own.')
            return jax.devices()[:self.chips]
        spec = importlib.util.find_spec('libtpu')
        if spec is None or spec.origin is None:
            raise UserError(f"Compiling for {self.name} needs the compiler for TPUs: pip install 'vmmjax[plan]', or "
                            f'plan for cpu:{self.chips}.')
        # It looks for a TPU of its own, and asks the network for one, unless it is told not to.
        os.environ.setdefault('TPU_LIBRARY_PATH', str(Path(spec.origin).parent / 'libtpu.so'))
        os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
        try:
            return topologies.get_topology_desc(self.name, 'tpu').devices
        except (RuntimeError, ValueError, NotImplementedError) as error:
            reason = ' '.join(str(error).split())[:200]
            raise UserError(f'The compiler knows no topology {self.name}: {reason}') from error


def simulate(devices: int) -> None:
    """Has JAX take the CPU for that many devices; it must not have begun."""
    jax.config.update('jax_num_cpu_devices', devices)
