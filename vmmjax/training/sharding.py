"""The mesh, and one function that gives every array of the state its sharding."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.errors import UserError
from vmmjax.training import paths

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
    return math.prod(rows.mesh.shape[axis] for axis in rows.spec[0])


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def state_shardings(state: Any, mesh: Mesh, rules: Sequence[tuple[str, Sequence[Any]]] = ()) -> Any:
    """A NamedSharding for every leaf: the first rule that matches its path, else FSDP.

    FSDP splits the largest axis that the `fsdp` mesh axis divides; what none divides is replicated. Optimizer
    slots and moving averages carry their parameter's path, so one unanchored rule covers them all.

    Args:
      state: a tree of arrays or of shapes (`jax.eval_shape`).
      mesh: from `make_mesh`.
      rules: (path pattern, mesh axis name or None for each axis of the array).

    Raises:
      UserError: where a rule matches nothing, or does not fit the array's shape.
    """
    matches = paths.first_match([pattern for pattern, _ in rules], state, 'config.sharding')
    fsdp = mesh.shape.get('fsdp', 1)

    def one(path: tuple[Any, ...], leaf: Any, match: int) -> NamedSharding:
        if match >= 0:
            axes = tuple(rules[match][1])
            if len(axes) != leaf.ndim or any(axis and leaf.shape[i] % mesh.shape[axis]
                                             for i, axis in enumerate(axes)):
                raise UserError(f'The rule {rules[match]} of config.sharding does not fit '
                                f'{paths.name(path)} of shape {leaf.shape} on the mesh {dict(mesh.shape)}.')
            return NamedSharding(mesh, P(*axes))
        divisible = [axis for axis, size in enumerate(leaf.shape) if size % fsdp == 0 and size >= fsdp]
        if fsdp == 1 or not divisible:
            return replicated(mesh)
        split = max(divisible, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, P(*(['fsdp' if axis == split else None for axis in range(leaf.ndim)])))

    return jax.tree_util.tree_map_with_path(one, state, matches)


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
