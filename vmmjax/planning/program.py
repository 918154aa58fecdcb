"""A compiled program, read from the compiler's own text: its operations, how often each runs, and what it moves."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_BITS = re.compile(r'[a-z]+(\d+)')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?')
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) .*\{$')
_OPERATION = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|branch_computations)=\{?((?:%[\w.\-]+(?:, )?)+)')
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What takes a part, or all, of one array.
_PARTS = {'copy-start', 'slice', 'slice-start', 'dynamic-slice', 'dynamic-slice-start'}
_SLICES = {'slice', 'dynamic-slice'}
_UPDATE = 'dynamic-update-slice'  # Writes a part of an array where it lies.
# What only names arrays, or runs what is counted where it stands.
_NAMES = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all', 'partition-id', 'replica-id',
          'while', 'conditional', 'call'}


class Array(NamedTuple):
    """An array of the program.

    Attributes:
      bytes: of its elements.
      room: bytes that it takes up where it lies, with what its tiles leave empty.
      in_memory: whether it lies in the device's memory, and not in what is on the chip or the host.
    """

    bytes: int
    room: int
    in_memory: bool


class Operation(NamedTuple):
    """A line of the program.

    Attributes:
      kind: such as `fusion` or `all-gather-start`.
      results: its arrays; of what is begun here and done elsewhere the operands, too.
      operands: names of the operations whose results it takes.
      line: as the compiler wrote it.
      times: how often it runs; what stands in a loop of unknown length counts once.
      computation: that it is in.
      fused: whether it is a part of another, with no arrays of its own.
    """

    kind: str
    results: Sequence[Array]
    operands: Sequence[str]
    line: str
    times: int
    computation: str
    fused: bool


def operations(text: str) -> dict[str, Operation]:
    """Name -> operation of all that a program runs.

    Args:
      text: `compiled.as_text()`, in XLA's form.
    """
    computations: dict[str, dict[str, re.Match[str]]] = {}
    entry, own = '', {}
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            own = computations[found[2]] = {}
            entry = found[2] if found[1] else entry
        elif found := _OPERATION.match(line):
            own[found[1]] = found
    times, fused = _times(computations, entry)
    return {name: Operation(found[3], arrays(found[2]), re.findall(r'%([\w.\-]+)', _arguments(found[4])), found[0],
                            times[computation], computation, computation in fused)
            for computation, lines in computations.items() if times[computation] for name, found in lines.items()}


def arrays(text: str) -> list[Array]:
    """The arrays of a shape, such as `(bf16[8,64]{1,0:T(8,128)(2,1)S(1)}, f32[])`."""
    return [_array(*found) for found in _SHAPE.findall(text)]


def traffic(program: Mapping[str, Operation]) -> int:
    """Bytes between a device's memory and its chip in a run of a program, all operations together.

    An operand or a result that lies in memory counts once for each operation that has it; of an array that is sliced,
    or updated where it lies, the slice. (The compiler's own count has what stays on the chip, too, of a TPU most of
    it.)
    """
    computations: dict[str, dict[str, Operation]] = {}
    for name, operation in program.items():
        computations.setdefault(operation.computation, {})[name] = operation
    return sum(operation.times * _moved(operation, program, computations) for operation in program.values())


def _moved(operation: Operation, program: Mapping[str, Operation],
           computations: Mapping[str, Mapping[str, Operation]]) -> int:
    """Bytes between memory and chip of one run."""
    kind, results = operation.kind, operation.results
    if (operation.fused or kind in _NAMES or kind.endswith('-done')
            or 'custom_call_target="AllocateBuffer"' in operation.line):
        return 0
    operands = [array for name in operation.operands if name in program for array in program[name].results]
    if kind in _PARTS:
        # Of what it takes from, as much is read as it gives; its results name that, too.
        taken, given = operands[0], results[0 if kind == 'copy-start' else len(operands) if '-start' in kind else 0]
        return given.room * (taken.in_memory + given.in_memory)
    if kind == _UPDATE:
        return operands[1].room * (operands[1].in_memory + results[0].in_memory)
    if kind == 'fusion' and (called := _CALLED.search(operation.line)):
        inside = computations[re.findall(r'%([\w.\-]+)', called[1])[0]]
        root = next(each for each in inside.values() if each.line.lstrip().startswith('ROOT '))
        makers = [inside[name] for name in root.operands] if root.kind == 'tuple' else [root] * len(results)
        return (sum(_read(number, array, inside) for number, array in enumerate(operands) if array.in_memory)
                + sum(_written(array, maker, inside) for array, maker in zip(results, makers, strict=True)
                      if array.in_memory))
    return sum(array.room for array in [*operands, *results] if array.in_memory)


def _read(number: int, array: Array, inside: Mapping[str, Operation]) -> int:
    """Bytes that what is fused reads of an operand: all, unless it does nothing but slice it."""
    found, names = 0, [name for name, each in inside.items() if f' parameter({number})' in each.line]
    for name in names:  # With its other names, as they are found.
        for user, operation in inside.items():
            if name not in operation.operands:
                continue
            if operation.kind == 'bitcast':
                names.append(user)
            elif operation.kind in _SLICES:
                found += operation.results[0].room
            elif operation.kind != _UPDATE or name in operation.operands[1:]:
                return array.room
    return min(found, array.room)


def _written(array: Array, maker: Operation, inside: Mapping[str, Operation]) -> int:
    """Bytes that what is fused writes of a result: all, unless a part of it is updated where it lies."""
    while maker.kind == 'bitcast':
        maker = inside[maker.operands[0]]
    return inside[maker.operands[1]].results[0].room if maker.kind == _UPDATE else array.room


def _times(computations: Mapping[str, Mapping[str, re.Match[str]]], entry: str) -> tuple[Counter[str], set[str]]:
    """How often each computation runs, and which are parts of one operation."""
    times, fused, left = Counter({entry: 1}), set(), [(entry, 1, False)]
    while left:
        name, often, inside = left.pop()
        for found in computations.get(name, {}).values():
            line, kind = found[0], found[3]
            turns = int(known[1]) if kind == 'while' and (known := _TURNS.search(line)) else 1
            for called in re.findall(r'%([\w.\-]+)', ' '.join(_CALLED.findall(line))):
                times[called] += often * turns
                if part := inside or kind not in ('while', 'conditional', 'call'):
                    fused.add(called)
                left.append((called, often * turns, part))
    return times, fused


def _arguments(text: str) -> str:
    """What stands before the bracket that closes the arguments."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == '(') - (character == ')')
        if not depth:
            return text[:place]
    return text


def _array(kind: str, shape: str, layout: str) -> Array:
    bits = 8 if kind == 'pred' else int(found[1]) if (found := _BITS.match(kind)) else 0
    sizes = [int(size) for size in shape.split(',') if size]
    order, _, tiles = layout.partition(':')
    padded = list(sizes)
    if found := re.match(r'T\(([\d,]+)\)', tiles):
        # The first tile is that of the minor axes, the most minor last.
        minor = [int(axis) for axis in order.split(',') if axis]
        for axis, tile in zip(minor, reversed([int(size) for size in found[1].split(',')]), strict=False):
            padded[axis] = math.ceil(sizes[axis] / tile) * tile
    return Array(math.prod(sizes) * bits // 8, math.prod(padded) * bits // 8, 'S(' not in tiles)
