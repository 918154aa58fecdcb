"""What devices send each other in a compiled step."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from vmmjax.planning.program import Operation

# What is sent a device for a result of a byte, on a ring of n devices (Patarasuk and Yuan 2009).
_SHARE = {'all-reduce': lambda n: 2 * (n - 1) / n, 'all-gather': lambda n: (n - 1) / n,
          'reduce-scatter': lambda n: float(n - 1), 'all-to-all': lambda n: (n - 1) / n,
          'collective-permute': lambda n: 1.0}
# Groups as axes of a mesh, an axis of it with its size, and an axis of the groups with the size of its part, if any.
_MESH = re.compile(r'replica_groups=mesh\[(.*?)\](?:, device_ids=\(.*?\))? \{(.*?)\}')
_AXIS = re.compile(r"'([^']+)'=(\d+)")
_MEMBER = re.compile(r"'([^']+)'(?::\(\d+\)(\d+))?")


class Collective(NamedTuple):
    """One kind of exchange among groups of one size.

    Attributes:
      kind: `all-reduce`, `all-gather`, `reduce-scatter`, `all-to-all` or `collective-permute`.
      group: devices that exchange with each other.
      number: how many there are in a step.
      result: bytes of what a device has afterwards, in all.
      sent: bytes that a device sends, in all, as on a ring.
    """

    kind: str
    group: int
    number: int
    result: int
    sent: float


def collectives(program: Mapping[str, Operation], devices: int) -> list[Collective]:
    """The exchanges of a program.

    Args:
      program: by `operations`.
      devices: it is for; those of a group where the program does not say.
    """
    counts: Counter[tuple[str, int]] = Counter()
    results: Counter[tuple[str, int]] = Counter()
    for operation in program.values():
        kind = operation.kind.removesuffix('-start')
        if kind not in _SHARE:
            continue
        sizes = [array.bytes for array in operation.results]
        if operation.kind in ('all-gather-start', 'collective-permute-start'):
            # Operands and results, and the flags of a permutation.
            sizes = [size for size in sizes if size > 4]
            sizes = sizes[len(sizes) // 2:]
        group = _group(operation.line, devices)
        if kind == 'all-reduce' and 'reduce-scatter' in operation.computation:
            # On a TPU a scattered sum is a computation of its own: a sum, of which a part is kept.
            kind, sizes = 'reduce-scatter', [size // group for size in sizes]
        counts[kind, group] += operation.times
        results[kind, group] += operation.times * sum(sizes)
    return [Collective(kind, group, counts[kind, group], results[kind, group],
                       results[kind, group] * _SHARE[kind](group)) for kind, group in sorted(counts)]


def _group(line: str, devices: int) -> int:
    """Devices of a group: listed one by one, as an array of groups by members, or as axes of a mesh.

    An axis stands by its name, or in part: `'data':(2)4` are 4 devices of it, of which each is 2 groups apart (the
    sub-axes of Shardy). The order of the mesh's devices (`device_ids`) changes who is in a group, not how many are.
    """
    if found := _MESH.search(line):
        sizes = dict(_AXIS.findall(found[1]))
        return math.prod(int(size or sizes[axis]) for axis, size in _MEMBER.findall(found[2]))
    if found := re.search(r'replica_groups=\[(\d+),(\d+)\]', line):
        return int(found[2])
    if found := re.search(r'replica_groups=\{\{([\d,]+)\}', line):
        return len(found[1].split(','))
    return devices
