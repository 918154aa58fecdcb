r"""What exported networks are like: how large, how far from the network, how long they take.

  scripts/bench export [--only=i3d,bert] [--write]

Each network of `vmmjax.create_model`, at its published width and with random weights, is written as the members of a
bundle are: its variables as safetensors, read back and compared, and a program for each platform, preprocessing
inside, for a batch of any size. The program for this machine's platform is read back and run at batch 1 and 5; the
error is the largest difference to the network under `jax.jit` at the same precision, relative to the largest output.
Programs for the other platforms are lowered and not run. Seconds are of CPU time, that of all cores together.

--write puts the table into experiments/results/export.md, after every network.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export

import vmmjax
from vmmjax.convert import safetensors
from vmmjax.convert.bundle import packed
from vmmjax.models.zoo import MODELS
from vmmjax.reports import results_page
from vmmjax.serving import programs
from vmmjax.text_table import markdown

PAGE = Path(__file__).resolve().parents[2] / 'experiments/results/export.md'
# Of one clip, by the stream that a network reads.
INPUTS: dict[str, tuple[tuple[int, ...], str]] = {
    'rgb': ((8, 64, 64, 3), 'uint8'), 'audio': ((128, 64), 'float32'), 'waveform': ((16000,), 'float32'),
    'text': ((16,), 'int32')}
_FIXED = {'ast': (1024, 128)}  # Networks that take one size alone.
_WORDS = 1000
_CALLS = 3  # Of which the fastest counts.
COLUMNS = ('network', 'a clip', 'safetensors, MB', 'arrays that differ', *(
    f'program, {platform}, kB' for platform in programs.PLATFORMS), 'lowered in, s', 'error at batch 1', 'at batch 5',
    's a clip', 'of the network')


def measure(name: str) -> list[str]:
    """The row of a network; of programs that are not run here there is the size alone."""
    stream = MODELS[name].stream
    shape, dtype = INPUTS[stream]
    shape = _FIXED.get(name, shape)
    model = vmmjax.create_model(name)
    given = programs.golden_inputs({stream: (shape, np.dtype(dtype)), f'present/{stream}': ((), np.dtype(bool))},
                                   {stream: _WORDS} if dtype == 'int32' else {})
    one = {key: value[:1] for key, value in given.items()}
    shapes = jax.eval_shape(lambda batch: model.init(jax.random.key(0), model.preprocess(batch), train=False), one)
    weights = _weights(flatten_dict(shapes, sep='/'))
    data = packed(weights)
    read = safetensors.read(data)
    differ = sum(not np.array_equal(value, read[path]) for path, value in weights.items())

    def program(weights: Any, batch: Any) -> dict[str, jax.Array]:
        outputs: Any = model.apply(unflatten_dict(dict(weights), sep='/'), model.preprocess(batch), train=False)
        return {'scores': outputs.features if outputs.logits is None else outputs.logits}

    specs = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in weights.items()}
    inputs = programs.batched({key: (value.shape[1:], value.dtype) for key, value in given.items()})
    began = time.process_time()
    lowered = {platform: programs.lower(program, platform, specs, inputs).serialize()
               for platform in programs.PLATFORMS}
    seconds = (time.process_time() - began) / len(lowered)
    exported = export.deserialize(lowered[programs.current_platform()])
    with jax.default_matmul_precision(programs.PRECISION):
        runs = [jax.jit(each) for each in (exported.call, program)]
        weights = jax.device_put(weights)
        outputs = [[{key: np.asarray(value) for key, value in run(weights, clips).items()} for run in runs]
                   for clips in (one, given)]
        assert all(np.isfinite(value).all() for _, golden in outputs for value in golden.values()), name
        errors = [programs.error(*pair) for pair in outputs]
        took = [_fastest(run, weights, one) for run in runs]
    return [name, f'{" x ".join(map(str, shape))} {dtype}', f'{len(data) / 1e6:.1f}', str(differ),
            *(f'{len(each) / 1000:.0f}' for each in lowered.values()), f'{seconds:.1f}',
            *(f'{error:.1e}' for error in errors), *(f'{each:.3f}' for each in took)]


def _weights(shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Random variables that keep activations about as large as they are, without a compiled initialisation."""
    random = np.random.default_rng(0)
    return {path: np.ones(leaf.shape, leaf.dtype) if path.endswith('/var') else
            (random.normal(size=leaf.shape) / max(1, np.prod(leaf.shape[:-1])) ** 0.5).astype(leaf.dtype)
            for path, leaf in shapes.items()}


def _fastest(run: Callable[..., Any], *arguments: Any) -> float:
    """CPU seconds of a call that is compiled already."""
    times = [time.process_time()]
    for _ in range(_CALLS):
        jax.block_until_ready(run(*arguments))
        times.append(time.process_time())
    return float(np.diff(times).min())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench export', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default=','.join(vmmjax.list_models()), help='networks, with commas between them')
    parser.add_argument('--write', action='store_true', help='put the table into experiments/results/export.md')
    flags = parser.parse_args()
    rows: list[list[str]] = []
    for name in flags.only.split(','):
        rows.append(measure(name))
        print(' | '.join(rows[-1]), flush=True)
        if flags.write:
            results_page.insert(PAGE, f'{results_page.machine(("jax", "flax"))}.', markdown(COLUMNS, rows))
        jax.clear_caches()
    if not flags.write:
        print('', f'{results_page.machine(("jax", "flax"))}.', '', markdown(COLUMNS, rows), sep='\n')


if __name__ == '__main__':
    main()
