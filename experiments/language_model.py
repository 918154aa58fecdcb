"""What a language model alone knows of the sentences of a store: the control beside every word error rate.

  python experiments/language_model.py stores/grid --target=text --split=test

Word tables of the training split, without looking at a clip: of each place, and of each pair of words that follow each
other. Printed are the perplexity a word of the split's sentences by the pairs (each mixed with its place by the share
that fits the validation split best, and that with all words alike), and the word error rate of the likeliest sentence,
which is the same for all clips.

  python experiments/language_model.py stores/grid --classifiers=runs/words --share=0.6

With a run that classifies every word of a sentence by itself, its word error rate without the word tables and with
them: of all sentences the one with the greatest product of what the run says of each word, over the word's frequency at
its place, and of the tables (Viterbi). Folds and splits are those of the run.
"""

import argparse
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from scipy.special import softmax

from vmmjax.evaluation import text_metrics
from vmmjax.experiment import Experiment
from vmmjax.store.store import Store

_START, _ALIKE = '', 0.01  # Before a sentence; the weight of all words alike.


class Pairs:
    """Counts of words by place, and of pairs by place."""

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        """Counts those of the training split."""
        self.words = sorted({word for sentence in sentences for word in sentence})
        self._single: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._pairs: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            for place, (before, word) in enumerate(itertools.pairwise([_START, *sentence])):
                self._single[place][word] += 1
                self._pairs[place, before][word] += 1

    def probability(self, place: int, before: str, word: str, share: float) -> float:
        """Of a word after another; `share` is that of the pairs, the rest that of the place alone."""
        def of(counts: Counter[str]) -> float:
            return counts[word] / counts.total() if counts.total() else 1 / len(self.words)

        known = share * of(self._pairs[place, before]) + (1 - share) * of(self._single[place])
        return (1 - _ALIKE) * known + _ALIKE / len(self.words)

    def perplexity(self, sentences: Sequence[Sequence[str]], share: float) -> float:
        """A word; a word that training lacks counts as one of all words alike."""
        logs = [math.log(self.probability(place, before, word, share)) for sentence in sentences
                for place, (before, word) in enumerate(itertools.pairwise([_START, *sentence]))]
        return math.exp(-sum(logs) / len(logs))

    def likeliest(self, length: int, share: float, posteriors: Sequence[Mapping[str, float]] = ()) -> str:
        """The likeliest sentence of so many words (Viterbi).

        Args:
          length: words.
          share: of the pairs.
          posteriors: for each place the probabilities of words by a classifier, which has learned their frequencies,
            too; empty for the tables alone.
        """
        best: dict[str, tuple[float, list[str]]] = {_START: (0.0, [])}
        for place in range(length):
            scores = dict.fromkeys(self.words, 0.0)
            if posteriors:
                scores = {word: math.log(max(probability, 1e-9) / self.probability(place, _START, word, 0))
                          for word, probability in posteriors[place].items()}
            best = {word: max((total + score + math.log(self.probability(place, before, word, share)), [*said, word])
                              for before, (total, said) in best.items()) for word, score in scores.items()}
        return ' '.join(max(best.values())[1])


def classified(folder: str, split: str) -> tuple[Store, Sequence[int], list[list[dict[str, float]]]]:
    """Of a run that classifies every word the store, the rows of a split, and each place's probabilities in each."""
    run = Experiment.load(folder)
    rows = next(iter(run.predictions(split).values()))
    classes = run.task.facts['classes']
    each = [[dict(zip(classes[name], of, strict=True)) for of in softmax(rows.scores[name], -1).tolist()]
            for name in run.config.data.target]
    return run.store, rows.id.tolist(), [list(places) for places in zip(*each, strict=True)]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store')
    parser.add_argument('--target', default='text', help='the catalog column of the sentences (default: text)')
    parser.add_argument('--split', default='test', help='that is measured (default: test)')
    parser.add_argument('--share', type=float, help='of the pairs (default: the best on validation)')
    parser.add_argument('--classifiers', help='the folder of a run that classifies every word, measured beside')
    flags = parser.parse_args()
    if flags.classifiers:
        store, rows, classifiers = classified(flags.classifiers, flags.split)
    else:
        store = Store(flags.store)
        rows, classifiers = store.rows(flags.split), []
    texts = [text.lower().split() for text in store.values(flags.target).tolist()]
    train, validation = ([texts[row] for row in store.rows(split)] if split in store.splits else []
                         for split in ('train', 'validation'))
    if flags.share is None and not validation:
        parser.error('without a validation split the share of the pairs is to be given: --share=0.6')
    measured = [texts[row] for row in rows]
    pairs = Pairs(train)
    share = flags.share if flags.share is not None else min(
        (place / 10 for place in range(11)), key=lambda share: pairs.perplexity(validation, share))
    length = max(map(len, train), key=[len(text) for text in train].count)
    said = pairs.likeliest(length, share)
    print(f'{len(measured)} sentences of {flags.split}, {len(pairs.words)} words in {len(train)} of train\n'
          f'perplexity a word {pairs.perplexity(measured, share):.2f} (pairs weigh {share:g}); of places alone '
          f'{pairs.perplexity(measured, 0):.2f}')
    found = {f'the likeliest sentence, {said!r}': [said] * len(measured)}
    if classifiers:
        found |= {'the classifiers': [' '.join(max(place, key=lambda word: place[word]) for place in places)
                                      for places in classifiers],
                  'the classifiers with the pairs': [pairs.likeliest(length, share, places) for places in classifiers]}
    for name, texts_said in found.items():
        wrong, count = text_metrics.errors([' '.join(text) for text in measured], texts_said, 'words')
        print(f'{name}: word error rate {100 * wrong.sum() / count.sum():.1f} %')


if __name__ == '__main__':
    main()
