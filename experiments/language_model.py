"""What a language model alone knows of the sentences of a store: the control beside every word error rate.

  python experiments/language_model.py stores/grid --target=text --split=test

Word tables of the training split, without looking at a clip: of each place, and of each pair of words that follow each
other. Printed are the perplexity a word of the split's sentences by the pairs (each mixed with its place by the share
that fits the validation split best, and that with all words alike), and the word error rate of the likeliest sentence,
which is the same for all clips.
"""

import argparse
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from vmmjax.evaluation import text_metrics
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

    def likeliest(self, length: int, share: float) -> str:
        """The likeliest sentence of so many words (Viterbi)."""
        best: dict[str, tuple[float, list[str]]] = {_START: (0.0, [])}
        for place in range(length):
            best = {word: max((total + math.log(self.probability(place, before, word, share)), [*said, word])
                              for before, (total, said) in best.items()) for word in self.words}
        return ' '.join(max(best.values())[1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store')
    parser.add_argument('--target', default='text', help='the catalog column of the sentences (default: text)')
    parser.add_argument('--split', default='test', help='that is measured (default: test)')
    flags = parser.parse_args()
    store = Store(flags.store)
    texts = [text.lower().split() for text in store.values(flags.target).tolist()]
    train, validation, measured = ([texts[row] for row in store.rows(split)]
                                   for split in ('train', 'validation', flags.split))
    pairs = Pairs(train)
    share = min((place / 10 for place in range(11)), key=lambda share: pairs.perplexity(validation, share))
    said = pairs.likeliest(max(map(len, train), key=[len(text) for text in train].count), share)
    wrong, count = text_metrics.errors([' '.join(text) for text in measured], [said] * len(measured), 'words')
    print(f'{len(measured)} sentences of {flags.split}, {len(pairs.words)} words in {len(train)} of train\n'
          f'perplexity a word {pairs.perplexity(measured, share):.2f} (pairs weigh {share:g}); of places alone '
          f'{pairs.perplexity(measured, 0):.2f}\n'
          f'the likeliest sentence, {said!r}: word error rate {100 * wrong.sum() / count.sum():.1f} %')


if __name__ == '__main__':
    main()
