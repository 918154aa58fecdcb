"""The program that a bundle holds for each platform, and the clips that prove it.

A program is what evaluation computes of one view of a clip, preprocessing and masks inside, as `jax.export` serialises
it: (weights by path, inputs by key) -> outputs by name, for a batch of any size. It is traced in the form that its
platform computes fast, at the highest precision of products.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jax import export

from vmmjax.models.convolution import on_platform
from vmmjax.training import path_patterns
from vmmjax.training.objective import Context

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment

PLATFORMS = ('cpu', 'cuda', 'tpu')
ROWS = 5  # Of the golden inputs.
PRECISION = 'highest'
Arrays = Mapping[str, Any]
Program = Callable[[Arrays, Arrays], dict[str, jax.Array]]


def current_platform() -> str:
    """The platform of JAX's default device, by the name that `jax.export` has for it."""
    name: str = jax.devices()[0].platform
    return {'gpu': 'cuda'}.get(name, name)


def of_run(run: 'Experiment') -> Program:
    """What a run's evaluation computes of a batch, `Task.compute`; an array without a name is called `scores`."""
    def program(weights: Arrays, inputs: Arrays) -> dict[str, jax.Array]:
        variables = unflatten_dict(dict(weights), sep='/')
        params = variables.pop('params', {})
        found = run.task.compute(Context(run.apply, params, variables, inputs, run.config.seed))
        return {path_patterns.name(path) or 'scores': leaf
                for path, leaf in jax.tree_util.tree_leaves_with_path(found)}

    return program


def inputs_of(spec: Mapping[str, Any], streams: Iterable[str]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """What a program takes: each stream, what of it is valid, and whether a clip has it.

    Args:
      spec: shape and dtype of the arrays of one row, as `Experiment.run_inputs` has it.
      streams: their names.

    Returns:
      Key of a clip batch -> shape of one row, dtype.
    """
    wanted = [key for name in streams for key in (name, f'valid/{name}', f'present/{name}', f'{name}_mask')]
    return {key: (tuple(spec[key][0]), np.dtype(spec[key][1])) for key in wanted if key in spec}


def lower(program: Callable[..., Any], platform: str, *arguments: Any) -> export.Exported:
    """A function lowered for a platform that need not be here.

    Args:
      program: of trees of arrays.
      platform: cpu, cuda, rocm or tpu.
      *arguments: arrays, or `jax.ShapeDtypeStruct`s with symbolic sizes.
    """
    # A function of its own, as JAX keeps what it traced for another platform by the function.
    def fresh(*given: Any) -> Any:
        return program(*given)

    with on_platform(platform), jax.default_matmul_precision(PRECISION), _without_places():
        return export.export(jax.jit(fresh), platforms=[platform])(*arguments)


@contextmanager
def _without_places() -> Iterator[None]:
    """Where in the source an operation comes from is left out: equal programs are equal bytes, on any machine."""
    before = jax.config.jax_traceback_in_locations_limit
    jax.config.update('jax_traceback_in_locations_limit', 0)
    try:
        yield
    finally:
        jax.config.update('jax_traceback_in_locations_limit', before)


def batched(arrays: Mapping[str, tuple[tuple[int, ...], Any]]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of one row as those of a batch of any size."""
    (rows,) = export.symbolic_shape('batch')
    return {key: jax.ShapeDtypeStruct((rows, *shape), dtype) for key, (shape, dtype) in arrays.items()}


def golden_inputs(inputs: Mapping[str, tuple[tuple[int, ...], np.dtype]], words: Mapping[str, int]
                  ) -> dict[str, np.ndarray]:
    """Five clips of noise: two whole ones, one whose second half lies outside of the clip, and some without a stream.

    Args:
      inputs: from `inputs_of`.
      words: of each text stream how many there are.
    """
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for key, (shape, dtype) in inputs.items():
        size = (ROWS, *shape)
        if key in words:
            found[key] = random.integers(0, words[key], size, dtype)
        elif dtype.kind == 'b':
            found[key] = np.ones(size, bool)
        elif np.issubdtype(dtype, np.integer):
            found[key] = random.integers(0, 256, size, dtype)
        else:
            found[key] = random.uniform(-1, 1, size).astype(dtype)
    present = [key for key in inputs if key.startswith('present/')]
    for key in inputs:
        if key.startswith('valid/') or (key.endswith('_mask') and found[key].dtype == bool):
            found[key][2, found[key].shape[1] // 2:] = False
    for place, key in enumerate(present if len(present) > 1 else ()):
        found[key][3 + place % (ROWS - 3)] = False
    return found


def run(program: Program, weights: Arrays, inputs: Arrays) -> dict[str, np.ndarray]:
    """The outputs, computed here at the precision of the programs."""
    with jax.default_matmul_precision(PRECISION):
        return {name: np.asarray(value) for name, value in jax.jit(program)(weights, inputs).items()}


def error(found: Mapping[str, Any], golden: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any output, relative to the largest magnitude that it has, or to 1 where that is less.

    Infinite where outputs have other names or shapes, or something else is not finite than in the golden ones.
    """
    worst = 0.0
    if found.keys() != golden.keys():
        return float('inf')
    for name, expected in golden.items():
        seen, wanted = np.asarray(found[name], np.float64), np.asarray(expected, np.float64)
        finite = np.isfinite(wanted)
        if seen.shape != wanted.shape or not np.array_equal(np.isfinite(seen), finite):
            return float('inf')
        if finite.any():
            scale = max(1.0, float(np.abs(wanted[finite]).max()))
            worst = max(worst, float(np.abs(seen - wanted)[finite].max()) / scale)
    return worst


def error_of(exported: export.Exported, weights: Arrays, inputs: Arrays, golden: Mapping[str, np.ndarray]) -> float:
    """The largest error of a program here, of all golden clips at once and of the first by itself."""
    def first(arrays: Arrays) -> dict[str, Any]:
        return {key: value[:1] for key, value in arrays.items()}

    return max(error(exported.call(dict(weights), dict(inputs)), golden),
               error(exported.call(dict(weights), first(inputs)), first(golden)))


def shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Dtypes and shapes as plain JSON values; `batch` stands for the number of clips."""
    return {key: {'dtype': str(value.dtype), 'shape': ['batch', *value.shape[1:]]} for key, value in arrays.items()}
