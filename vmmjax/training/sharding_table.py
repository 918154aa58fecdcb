"""What a state takes on every device, in words."""

import collections
import math
from typing import Any

import jax

from vmmjax.text_table import aligned
from vmmjax.training import path_patterns
from vmmjax.training.sharding import BATCH_AXES

REPLICATED = 0.02
"""The share of the bytes that may be whole on every device of a mesh that could split it."""


def table(state: Any, shardings: Any) -> str:
    """How a state is split over the mesh: arrays and bytes by part of the state and by mesh axes, then warnings.

    Args:
      state: a tree of arrays or of shapes (`jax.eval_shape`).
      shardings: of `state_shardings`.
    """
    groups: dict[tuple[str, str], list[tuple[int, int, str]]] = collections.defaultdict(list)
    for (path, leaf), where in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(shardings),
                                   strict=True):
        name, item = path_patterns.name(path), leaf.dtype.itemsize
        split = [axis for axis in where.mesh.shape if where.mesh.shape[axis] > 1 and axis in _axes(where.spec)]
        groups[name.partition('/')[0], ' x '.join(split) or '-'].append(
            (leaf.size * item, math.prod(where.shard_shape(leaf.shape)) * item, f'{name} {leaf.shape}'))
    mesh = jax.tree.leaves(shardings)[0].mesh
    rows = [('', 'split over', 'arrays', 'MB', 'MB a device', 'the largest')]
    for (part, axes), found in sorted(groups.items()):
        rows.append((part, axes, str(len(found)), *_bytes(found), max(found)[2].removeprefix(f'{part}/')))
    everything = [one for found in groups.values() for one in found]
    rows.append(('all', ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items()), str(len(everything)),
                 *_bytes(everything), ''))
    return '\n'.join([*aligned(rows, '<<>>><'), *_warnings(mesh, groups)])


def _axes(spec: Any) -> list[str]:
    return [axis for entry in spec if entry for axis in ((entry,) if isinstance(entry, str) else entry)]


def _bytes(found: list[tuple[int, int, str]]) -> tuple[str, str]:
    return f'{sum(one[0] for one in found) / 1e6:,.1f}', f'{sum(one[1] for one in found) / 1e6:,.1f}'


def _warnings(mesh: Any, groups: Any) -> list[str]:
    """What a mesh with axes for splitting arrays leaves unused."""
    splitting = {axis: size for axis, size in mesh.shape.items() if axis != 'data' and size > 1}
    if not splitting:
        return []
    used = {axis for _, axes in groups for axis in axes.split(' x ')}
    warnings = [f'Warning: the axis {axis} splits nothing, and its {size} devices all do the same; name it in '
                f"config.sharding, such as config.sharding = ('tensor_parallel',), or set config.mesh.{axis} = 1."
                for axis, size in splitting.items() if axis not in used and axis not in BATCH_AXES]
    whole = [one for (_, axes), found in groups.items() if axes == '-' for one in found]
    share = sum(one[0] for one in whole) / max(1, sum(one[0] for found in groups.values() for one in found))
    if share > REPLICATED:
        largest = ', '.join(name for _, _, name in sorted(whole, reverse=True)[:3])
        warnings.append(f'Warning: {share:.0%} of the bytes are whole on every device, on a mesh that could split them '
                        f'{math.prod(splitting.values())} ways; give rules in config.sharding for {largest}.')
    return warnings
