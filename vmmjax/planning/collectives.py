"""What devices send each other in a compiled step, read from the compiler's own text."""

import math
import re
from collections import Counter
from typing import NamedTuple

# What is sent a device for a result of a byte, on a ring of n devices (Patarasuk and Yuan 2009).
_SHARE = {'all-reduce': lambda n: 2 * (n - 1) / n, 'all-gather': lambda n: (n - 1) / n,
          'reduce-scatter': lambda n: float(n - 1), 'all-to-all': lambda n: (n - 1) / n,
          'collective-permute': lambda n: 1.0}
_BITS = re.compile(r'[a-z]+(\d+)')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\]')
_LINE = re.compile(rf'= (.*?) ({"|".join(_SHARE)})(-start)?\(')


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


def collectives(text: str, devices: int) -> list[Collective]:
    """The exchanges of a program; what stands in a loop is counted once.

    Args:
      text: `compiled.as_text()`, in XLA's form.
      devices: it is for; those of a group where the text does not say.
    """
    counts: Counter[tuple[str, int]] = Counter()
    results: Counter[tuple[str, int]] = Counter()
    scattered = False
    for line in text.splitlines():
        if line.endswith('{') and not line.startswith(' '):
            # On a TPU a scattered sum is a computation of its own: a sum, of which a part is kept.
            scattered = 'reduce-scatter' in line.partition('(')[0]
        found = _LINE.search(line)
        if not found:
            continue
        shapes, kind, start = found.groups()
        sizes = [_bytes(*shape) for shape in _SHAPE.findall(shapes)]
        if start and kind in ('all-gather', 'collective-permute'):
            # Operands and results, and the flags of a permutation.
            sizes = [size for size in sizes if size > 4]
            sizes = sizes[len(sizes) // 2:]
        group = _group(line, devices)
        if scattered and kind == 'all-reduce':
            kind, sizes = 'reduce-scatter', [size // group for size in sizes]
        counts[kind, group] += 1
        results[kind, group] += sum(sizes)
    return [Collective(kind, group, counts[kind, group], results[kind, group],
                       results[kind, group] * _SHARE[kind](group)) for kind, group in sorted(counts)]


def _bytes(kind: str, shape: str) -> int:
    bits = 8 if kind == 'pred' else int(found[1]) if (found := _BITS.match(kind)) else 0
    return math.prod(map(int, filter(None, shape.split(',')))) * bits // 8


def _group(line: str, devices: int) -> int:
    """Devices of a group: listed one by one, as an array of groups by members, or as axes of a mesh."""
    if found := re.search(r'replica_groups=mesh\[(.*?)\] \{(.*?)\}', line):
        sizes = dict(axis.split('=') for axis in found[1].split(','))
        return math.prod(int(sizes[axis]) for axis in found[2].split(','))
    if found := re.search(r'replica_groups=\[(\d+),(\d+)\]', line):
        return int(found[2])
    if found := re.search(r'replica_groups=\{\{([\d,]+)\}', line):
        return len(found[1].split(','))
    return devices
