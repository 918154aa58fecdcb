r"""Time of finding a text against the encoder's, of a run that writes texts, on the CPU.

  scripts/bench decode
  scripts/bench decode --only audio audio,joint --beams=1,10

The network of `experiments/configs/grid_sentence.py` is built with random parameters and a vocabulary of --vocabulary
tokens; one clip is decoded. Rows are the encoder (model and layers over the fused tokens), greedy decoding, and beams,
each a program of its own with the encoder in it; calls alternate, so that whatever else the machine does hits all. A
row's time divided by the encoder's is to stay below 1.5 for greedy decoding and 4 for a beam of 10. --write puts the
table into experiments/results/decode.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.reports import results_page
from vmmjax.text_table import markdown
from vmmjax.training.objective import Context

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'decode.md'
CONFIGS = ('audio', 'rgb', 'audio,joint')
FILE = ROOT / 'experiments' / 'configs' / 'grid_sentence.py'
LIMITS = {'greedy': 1.5, 'beam of 10': 4.0}


def programs(argument: str, vocabulary: int, length: int, beams: list[int]) -> dict[str, Callable[[], Any]]:
    """Compiled calls by what they do: the encoder alone, and with each way of decoding."""
    config = configs.load(FILE).get_config(argument).unlock()
    names = ['[PAD]', '[END]', '[UNK]', *(f'w{place}' for place in range(vocabulary))]
    facts = {'classes': [], 'vocabulary': names, 'longest': length}
    model = models.create(config.model, [])
    batch = _batch(config)

    def apply(variables: Any, batch: Any, **options: Any) -> Any:
        return model.apply(variables, model.preprocess(batch), **options)

    @jax.jit
    def init() -> Any:
        variables = dict(model.init(jax.random.key(0), model.preprocess(batch), train=False))
        own = tasks.create(config, facts).init(jax.random.key(1), apply(variables, batch, train=False), batch)
        return variables | {'params': {**variables['params'], **own['params']}}

    variables = init()
    params = variables.pop('params')
    found = {}
    ways = {'encoder': {}, 'greedy': {}} | {f'beam of {beam}': dict(name='beam', beam=beam) for beam in beams}
    for name, generation in ways.items():
        config.task.generation = generation
        task: Any = tasks.create(config, facts)

        def run(params: Any, task: Any = task, alone: bool = name == 'encoder') -> Any:
            ctx = Context(apply, params, variables, batch, 0)
            outputs, _ = ctx.forward()
            written = task._write(ctx, outputs, None)
            if alone:
                return written.memory, written.ctc
            return task.search(task.writer, params['task'], written, task.ctc, length, ctx.keys('generation'))

        compiled = jax.jit(run).lower(params).compile()
        found[name] = lambda compiled=compiled: jax.block_until_ready(compiled(params))
    return found


def _batch(config: Any) -> dict[str, Any]:
    """One clip of random numbers, as the config reads it."""
    random, batch = np.random.default_rng(0), {}
    seconds = float(config.data.window.seconds)
    for name, stream in config.data.streams.items():
        frames = stream.get('frames') or round(100 * seconds)
        x: Any = (random.integers(0, 256, (1, frames, stream.size, stream.size, 3)).astype(np.uint8)
                  if 'size' in stream else random.normal(size=(1, frames, 64)).astype(np.float32))
        batch |= {name: jnp.asarray(x), f'valid/{name}': jnp.ones((1, frames), bool),
                  f'present/{name}': jnp.ones(1, bool)}
    return batch | {'mask': jnp.ones(1), 'id': jnp.zeros(1, jnp.int32), 'row': jnp.zeros(1, jnp.int32)}


def measure(argument: str, flags: argparse.Namespace) -> list[tuple[str, ...]]:
    """The rows of a config."""
    calls = programs(argument, flags.vocabulary, flags.length, flags.beams)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(-2, flags.repeats):  # Two to warm up.
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if repeat >= 0:
                times[name].append(time.perf_counter() - begin)
    encoder = statistics.median(times['encoder'])
    rows = []
    for name, measured in times.items():
        rows.append((argument, name, f'{1e3 * statistics.median(measured):.1f}',
                     f'{statistics.median(measured) / encoder:.2f}', f'{min(measured) / min(times["encoder"]):.2f}',
                     f'{LIMITS[name]:.1f}' if name in LIMITS else ''))
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench decode', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', default=list(CONFIGS), help='arguments of grid_sentence.py (default: '
                        f'{" ".join(CONFIGS)})')
    parser.add_argument('--beams', type=lambda text: [int(part) for part in text.split(',')], default=[10],
                        help='such as 4,10 (default: 10)')
    parser.add_argument('--vocabulary', type=int, default=51, help='tokens (default: 51)')
    parser.add_argument('--length', type=int, default=6, help='tokens of a text at most (default: 6)')
    parser.add_argument('--repeats', type=int, default=301, help='calls of each program (default: 301)')
    parser.add_argument('--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    rows = [row for argument in flags.only for row in measure(argument, flags)]
    header = ('config', 'program', 'ms a clip of 3 s', 'over the encoder', 'of the fastest', 'to stay below')
    table = markdown(header, rows)
    machine = results_page.machine(('jax',))
    print(machine, table, sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, machine, table)


if __name__ == '__main__':
    main()
