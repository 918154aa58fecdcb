"""A sentence finds its clip: recall by the towers of contrastive runs, beside shuffled words, and readers.

  python experiments/find_sentences.py --store=stores/grid --workdir=runs/search --seeds=3 \
      --page=experiments/results/search.md

By sound and by lips it trains a run that classifies the six words, one that writes them (`configs/grid_sentence.py`),
and with its encoder the towers (`configs/grid_search.py`), one run a seed; what is there already is kept. Of every
sentence of the split the clips are ordered by how alike their embeddings are, as `vmmjax search` does; by those of the
sentence with its words in a random order; and by the probability that the run that writes words gives the sentence
given the clip (a reader). Equal clips count against the right one.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.experiment import Experiment
from vmmjax.models.decoders import ctc
from vmmjax.models.decoders.writer import Written
from vmmjax.reports import results_page
from vmmjax.serving.embeddings import Towers
from vmmjax.text_table import markdown
from vmmjax.training.objective import Context

CONFIGS = Path(__file__).parent / 'configs'
STREAMS = {'audio': 'sound', 'rgb': 'lips'}


def by_towers(folder: Path, split: str) -> dict[str, np.ndarray]:
    """How well sentences (rows) fit clips (columns), float (N, N), by their words in order and shuffled."""
    run, towers = Experiment.load(folder), Towers(folder)
    (stream,) = towers.streams
    rows = next(iter(run.predictions(split).values()))
    clips = rows.scores[stream] / np.linalg.norm(rows.scores[stream], axis=1, keepdims=True)
    column = run.config.data.streams[towers.text].modality.partition(':')[2]
    texts = [str(text).split() for text in run.store.values(column)[rows.id]]
    random = np.random.default_rng(0)
    found = {}
    for name, said in (('towers', texts), ('towers, words shuffled', [random.permutation(text) for text in texts])):
        found[name] = np.stack([towers.of_text(' '.join(words)) for words in said]) @ clips.T
    return found


def by_reader(folder: Path, split: str) -> np.ndarray:
    """The log-probability of every sentence (rows) given every clip (columns), float (N, N)."""
    run = Experiment.load(folder)
    assert run.state is not None
    task, params, model_state = run.task, run.state.eval_params, run.state.model_state

    @jax.jit
    def score(batch: dict[str, jax.Array], sentences: jax.Array) -> jax.Array:
        outputs, _ = Context(run.apply, params, model_state, batch, 0).forward()
        written = Written(*task.writer.apply({'params': params['task']}, outputs.tokens, None, False))

        def of(ids: jax.Array) -> jax.Array:
            each, fits = ctc.losses(written.ctc, written.memory.mask, jnp.tile(ids, (len(written.ctc), 1)))
            return jnp.where(fits, -each, -jnp.inf)

        return jax.lax.map(of, sentences)

    batches = list(run.pipeline(split, train=False).batches())
    there = [batch['mask'] > 0 for batch in batches]
    sentences = np.concatenate([batch[task.key][rows, 0] for batch, rows in zip(batches, there, strict=True)])
    return np.concatenate([np.asarray(score(batch, sentences))[:, rows]
                           for batch, rows in zip(batches, there, strict=True)], 1)


def reader(store: str, folder: Path, stream: str) -> Path:
    """The folder of the run that writes words, trained where it is not; all seeds of the towers share it."""
    run, words = folder / stream / 'reader', folder / stream / 'words'
    _train(f'grid_sentence.py:{stream},local,words', words, store, 0)
    _train(f'grid_sentence.py:{stream},local,grammar', run, store, 0, f'--config.init_from.workdir={words}',
           "--config.init_from.skip=('params/task',)")
    return run


def _train(config: str, run: Path, store: str, seed: int, *changes: str) -> None:
    subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', 'train', f'--config={CONFIGS / config}',
                    f'--workdir={run}', f'--config.data.store={store}', f'--config.seed={seed}', *changes], check=True)


def row(name: str, alike: np.ndarray) -> list[str]:
    """A row of the table, of how well sentences (rows) fit clips (columns)."""
    ranks = (alike >= np.diag(alike)[:, None]).sum(1)
    first = intervals.proportion((ranks <= 1).astype(float))
    return [name, f'{100 * first.mean:.0f}', f'{100 * first.low:.1f} to {100 * first.high:.1f}',
            *(f'{100 * (ranks <= most).mean():.0f}' for most in (5, 10)), f'{np.median(ranks):g}', str(len(ranks))]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--store', default='stores/grid', help='with the columns rgb and audio (default: stores/grid)')
    parser.add_argument('--workdir', type=Path, required=True, help='folder of the runs')
    parser.add_argument('--streams', nargs='+', default=list(STREAMS), choices=list(STREAMS))
    parser.add_argument('--seeds', type=int, default=1, help='of the towers (default: 1)')
    parser.add_argument('--split', default='test', help='whose sentences and clips are compared (default: test)')
    parser.add_argument('--page', type=Path, help='a Markdown page that gets the table, between its marks')
    options = parser.parse_args()
    rows = []
    for stream in options.streams:
        writes = reader(options.store, options.workdir, stream)
        for seed in range(options.seeds):
            towers = options.workdir / stream / f'towers_{seed}'
            _train(f'grid_search.py:{stream}', towers, options.store, seed, f'--config.init_from.workdir={writes}')
            rows += [row(f'by {STREAMS[stream]}: {name}, seed {seed}', alike)
                     for name, alike in by_towers(towers, options.split).items()]
        rows.append(row(f'by {STREAMS[stream]}: reader', by_reader(writes, options.split)))
    table = markdown(['a sentence finds its clip', 'recall@1, %', '95 % CI, Wilson', 'recall@5, %', 'recall@10, %',
                      'median rank', 'clips'], rows, '<>')
    print(table)
    if options.page:
        results_page.insert(options.page, results_page.machine(), table)


if __name__ == '__main__':
    main()
