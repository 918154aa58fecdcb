"""The mesh, and one function that gives every array of the state its sharding."""

import collections
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.errors import UserError, did_you_mean
from vmmjax.training import path_patterns


class Rule(NamedTuple):
    """Splits arrays where it fits, unlike a rule of the user's own, which is an error where it does not.

    Attributes:
      pattern: searched in the array's path.
      axes: mesh axis or None for each axis of the array; arrays with another number of axes are not meant.
      smallest: numbers that an array must have for the traffic to be worth it.
    """

    pattern: str
    axes: tuple[str | None, ...]
    smallest: int = 0

    def fits(self, path: str, shape: Sequence[int], mesh: Mapping[str, int]) -> bool:
        """Whether an array is split by it; `mesh` is axis -> devices."""
        size = 1
        for length, axis in zip(shape, self.axes, strict=False):
            size *= length
            if axis and (mesh.get(axis, 1) == 1 or length % mesh[axis]):
                return False
        return len(shape) == len(self.axes) and size >= self.smallest and re.search(self.pattern, path) is not None


READY: dict[str, tuple[Rule, ...]] = {
    # Shoeybi et al. 2019, section 3: the first product of attention and of the perceptron by its outputs (whole heads,
    # where their number divides), the second by its inputs: one sum over the devices for each. Then words, and every
    # other dense layer of a million weights.
    'tensor_parallel': (
        Rule(r'(^|/)(query|key|value|intermediate)/kernel$', (None, 'model')),
        Rule(r'(^|/)(query|key|value|intermediate)/bias$', ('model',)),
        Rule(r'(^|/)output/kernel$', ('model', None)),
        Rule(r'(^|/)(kernel|embedding)$', (None, 'model'), 2 ** 20)),
}


BATCH_AXES = ('data', 'fsdp')


def make_mesh(axes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices.

    Args:
      axes: axis name -> number of devices; one may be -1 and takes what is left.
      devices: by default all of `jax.devices()`.

    Raises:
      UserError: where the sizes do not multiply to the number of devices.
    """
    count = len(devices) if devices is not None else jax.device_count()
    sizes = dict(axes)
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise UserError(f'config.mesh leaves several axes open: {", ".join(free)}; give all but one a size.')
    if free:
        sizes[free[0]] = count // math.prod(size for size in sizes.values() if size != -1)
    if math.prod(sizes.values()) != count:
        raise UserError(f'config.mesh = {dict(axes)} does not fill the {count} devices there are; '
                        f'its sizes must multiply to {count}.')
    # Auto axes: under JAX's default, Explicit, convolutions over a sharded batch are refused.
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes),
                         devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over the `data` and `fsdp` axes."""
    return NamedSharding(mesh, P(tuple(axis for axis in BATCH_AXES if axis in mesh.shape)))


def row_shards(rows: NamedSharding) -> int:
    """Over how many devices the rows of a batch are split; each has B / row_shards that stand together."""
    return math.prod(rows.mesh.shape.get(axis, 1) for axis in BATCH_AXES)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def state_shardings(state: Any, mesh: Mesh, rules: Sequence[Any] = ()) -> Any:
    """A NamedSharding for every leaf: the first rule that matches its path, else a named set's, else FSDP.

    FSDP splits the largest axis that the `fsdp` mesh axis divides, beside what a named set has split; what none
    divides is replicated. Optimizer slots and moving averages carry their parameter's path, so one unanchored rule
    covers them all.

    Args:
      state: a tree of arrays or of shapes (`jax.eval_shape`).
      mesh: from `make_mesh`.
      rules: (path pattern, mesh axis name or None for each axis of the array), and names of sets, see `READY`.

    Raises:
      UserError: where a rule matches nothing, or does not fit the array's shape; for a set that there is not, or that
        splits nothing.
    """
    named = [rule for rule in rules if isinstance(rule, str)]
    own = [rule for rule in rules if not isinstance(rule, str)]
    matches = path_patterns.first_match([pattern for pattern, _ in own], state, 'config.sharding')
    fsdp = mesh.shape.get('fsdp', 1)

    def one(path: tuple[Any, ...], leaf: Any, match: int) -> NamedSharding:
        if match >= 0:
            axes = tuple(own[match][1])
            for axis in axes:
                if axis and axis not in mesh.shape:
                    raise UserError(f'The rule {own[match]} of config.sharding names an axis that config.mesh lacks: '
                                    f'{did_you_mean(axis, mesh.shape)}.')
            if len(axes) != leaf.ndim or any(axis and leaf.shape[i] % mesh.shape[axis]
                                             for i, axis in enumerate(axes)):
                raise UserError(f'The rule {own[match]} of config.sharding does not fit '
                                f'{path_patterns.name(path)} of shape {leaf.shape} on the mesh {dict(mesh.shape)}.')
            return NamedSharding(mesh, P(*axes))
        split = list(next((rule.axes for rule in ready if rule.fits(path_patterns.name(path), leaf.shape, mesh.shape)),
                          (None,) * leaf.ndim))
        divisible = [axis for axis, size in enumerate(leaf.shape)
                     if split[axis] is None and size % fsdp == 0 and size >= fsdp]
        if fsdp > 1 and divisible:
            split[max(divisible, key=lambda axis: leaf.shape[axis])] = 'fsdp'
        return NamedSharding(mesh, P(*split)) if any(split) else replicated(mesh)

    ready = [rule for name in named for rule in _ready(name, state, mesh)]
    return jax.tree_util.tree_map_with_path(one, state, matches)


def _ready(name: str, state: Any, mesh: Mesh) -> tuple[Rule, ...]:
    """A set's rules; none on a mesh without the axes that they split over."""
    if name not in READY:
        raise UserError(f'config.sharding has no set of rules {name!r}: {did_you_mean(name, READY)}.')
    if all(mesh.shape.get(axis, 1) == 1 for rule in READY[name] for axis in rule.axes if axis):
        return ()
    if not any(rule.fits(path_patterns.name(path), leaf.shape, mesh.shape) for rule in READY[name]
               for path, leaf in jax.tree_util.tree_leaves_with_path(state)):
        raise UserError(f'The rules {name!r} of config.sharding split nothing of this model on the mesh '
                        f'{dict(mesh.shape)}; set config.mesh.model to what divides its layers, or leave them out.')
    return READY[name]


def local_rows(sharding: NamedSharding, batch_size: int) -> slice:
    """The rows of a global batch that this process reads.

    Raises:
      UserError: where the batch does not split evenly over the mesh, or this process's rows are not adjacent.
    """
    shards = row_shards(sharding)
    if batch_size % shards:
        raise UserError(f'A batch of {batch_size} clips does not split over {shards} devices; '
                        f'set config.batch_size to a multiple of {shards}.')
    indices = sharding.addressable_devices_indices_map((batch_size,)).values()
    rows = sorted({index[0].indices(batch_size)[:2] for index in indices if index is not None})
    if any(end != start for (_, end), (start, _) in itertools.pairwise(rows)):
        raise UserError('The rows of this process are not adjacent on the mesh; put `data` and `fsdp` first.')
    return slice(rows[0][0], rows[-1][1])


def put(batch: Mapping[str, Any], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Moves this process's rows of a host batch to the devices, as global arrays."""
    return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}


def to_device(batches: Iterator[Mapping[str, Any]], sharding: jax.sharding.NamedSharding,
              depth: int = 2) -> Iterator[dict[str, jax.Array]]:
    """Yields the batches as global arrays, `depth` of them transferred ahead (transfers are asynchronous).

    Raises:
      RuntimeError: where the batches end.
    """
    moved = (put(batch, sharding) for batch in batches)
    queue = collections.deque(itertools.islice(moved, depth))
    while queue:
        yield queue.popleft()
        queue.extend(itertools.islice(moved, 1))
    raise RuntimeError('The input ended; training needs one without an end.')
