r"""What exported programs of networks are like: how large, how long they are lowered, and how far from the network.

  scripts/bench export
  scripts/bench export --only=i3d,bert --write

Each network is of `vmmjax.create_model` at its published width, with random weights. It is lowered for every platform
of a bundle with a symbolic batch, preprocessing inside. The program for this machine's platform is read back and run
at batch 1 and 5; the error is the largest difference to the network under `jax.jit` at the same precision, relative to
the largest logit. Programs for the other platforms are lowered and not run. Seconds are of CPU time, which depends
less on what else the machine does. --write puts the table into experiments/results/export.md.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export

from vmmjax import create_model
from vmmjax.convert.bundle import packed
from vmmjax.models.convolution import on_platform, resolve_form
from vmmjax.reports import results_page
from vmmjax.serving import programs
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'export.md'
# Of one clip, as it stands in a batch.
INPUTS: dict[str, tuple[tuple[int, ...], str]] = {
    'i3d': ((8, 64, 64, 3), 'uint8'), 'tsm_resnet18': ((4, 64, 64, 3), 'uint8'),
    'panns_cnn6': ((100, 64), 'float32'), 'bert': ((16,), 'int32')}
COLUMNS = ('network', 'input', 'weights, MB', 'platform', 'form', 'program, kB', 'lowering, s', 'state',
           'error at batch 1', 'at batch 5')


def measure(name: str) -> Iterator[list[str]]:
    """The rows of a network."""
    shape, dtype = INPUTS[name]
    model = create_model(name)
    (stream,) = model.encoders
    given = programs.golden_inputs({stream: (shape, np.dtype(dtype)), f'present/{stream}': ((), np.dtype(bool))},
                                   {stream: 1000} if dtype == 'int32' else {})
    variables = jax.jit(lambda batch: model.init(jax.random.key(0), model.preprocess(batch), train=False))(
        {key: value[:1] for key, value in given.items()})
    weights = {path: np.asarray(leaf) for path, leaf in flatten_dict(variables, sep='/').items()}

    def program(weights: Any, batch: Any) -> dict[str, jax.Array]:
        outputs: Any = model.apply(unflatten_dict(dict(weights), sep='/'), model.preprocess(batch), train=False)
        return {'scores': outputs.features if outputs.logits is None else outputs.logits}

    golden = programs.run(program, weights, given)
    specs = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in weights.items()}
    inputs = programs.batched({key: (value.shape[1:], value.dtype) for key, value in given.items()})
    size = f'{len(packed(weights)) / 1e6:.1f}'
    for platform in programs.PLATFORMS:
        began = time.process_time()
        data = programs.lower(program, platform, specs, inputs).serialize()
        seconds = time.process_time() - began
        with on_platform(platform):
            row = [name, f'{" x ".join(map(str, shape))} {dtype}', size, platform, resolve_form(None),
                   f'{len(data) / 1000:.0f}', f'{seconds:.1f}']
        if platform != programs.current_platform():
            yield [*row, 'lowered, not run', '', '']
            continue
        exported = export.deserialize(data)
        errors = [programs.error(exported.call(weights, {key: value[:rows] for key, value in given.items()}),
                                 {key: value[:rows] for key, value in golden.items()}) for rows in (1, 5)]
        yield [*row, 'run', *(f'{error:.1e}' for error in errors)]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench export', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default=','.join(INPUTS), help='networks, with commas between them')
    parser.add_argument('--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    rows: list[list[str]] = []
    for name in flags.only.split(','):
        rows += measure(name)
        print(*(' | '.join(row) for row in rows[-len(programs.PLATFORMS):]), sep='\n', flush=True)
    parts = [f'{results_page.machine(("jax", "flax"))}.', markdown(COLUMNS, rows)]
    print('', *parts, sep='\n')
    if flags.write:
        results_page.insert(PAGE, *parts)


if __name__ == '__main__':
    main()
