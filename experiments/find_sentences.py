"""A sentence finds its clip: recall by the towers of a contrastive run, beside what shuffled words find, and a reader.

  python experiments/find_sentences.py --towers=runs/search --reader=runs/sentence --split=test

Of every sentence of the split the clips are ordered by how alike their embeddings are (`--towers`, as `vmmjax search`
does), by those of the sentence with its words in a random order, and by the probability that a run of the task
transcription with CTC gives the sentence given the clip (`--reader`). Equal clips count against the right one.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.experiment import Experiment
from vmmjax.models.decoders import ctc
from vmmjax.models.decoders.writer import Written
from vmmjax.serving.embeddings import Towers
from vmmjax.training.objective import Context


def by_towers(folder: str, split: str) -> dict[str, np.ndarray]:
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


def by_reader(folder: str, split: str) -> np.ndarray:
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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--towers', help='the folder of a run of the task contrastive with a text stream')
    parser.add_argument('--reader', help='the folder of a run of the task transcription with CTC')
    parser.add_argument('--split', default='test', help='whose sentences and clips are compared (default: test)')
    flags = parser.parse_args()
    found = by_towers(flags.towers, flags.split) if flags.towers else {}
    if flags.reader:
        found['reader'] = by_reader(flags.reader, flags.split)
    print('| a sentence finds its clip by | recall@1 | 95 % interval | recall@5 | recall@10 | median rank | clips |\n'
          '|---|---:|---:|---:|---:|---:|---:|')
    for name, alike in found.items():
        ranks = (alike >= np.diag(alike)[:, None]).sum(1)
        first = intervals.proportion((ranks <= 1).astype(float))
        print(f'| {name} | {100 * first.mean:.1f} % | {100 * first.low:.1f} to {100 * first.high:.1f} | '
              f'{100 * (ranks <= 5).mean():.1f} % | {100 * (ranks <= 10).mean():.1f} % | {np.median(ranks):g} | '
              f'{len(ranks)} |')


if __name__ == '__main__':
    main()
