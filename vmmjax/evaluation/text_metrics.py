"""How near a text is to what was meant: error rates of transcripts; BLEU, ROUGE-L and CIDEr-D of captions."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vmmjax import optional
from vmmjax.errors import UserError

_ROUGE_BETA = 1.2  # How much more recall counts than precision.
_LONGEST, _SIGMA, _CIDER_SCALE = 4, 6.0, 10.0  # N-grams, deviation of the length's penalty, and the factor of CIDEr-D.


def errors(references: Sequence[str], said: Sequence[str], unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Substitutions, deletions and insertions of each text (Levenshtein 1966), by jiwer.

    Args:
      references: the true texts; white space parts words.
      said: what was said in their place.
      unit: `words` or `characters`.

    Returns:
      Int64 (N,) errors and int64 (N,) units of the reference. The error rate of all is the ratio of the sums.

    Raises:
      UserError: for an empty reference, of which there is no rate, or where jiwer is not installed.
    """
    jiwer = optional.load('jiwer', extra='sequences')
    for place, text in enumerate(references):
        if not text.strip():
            raise UserError(f'The reference text number {place + 1} is empty, and an error rate is a share of its '
                            f'{unit}; leave it out.')
    process = jiwer.process_words if unit == 'words' else jiwer.process_characters
    found = [process(reference, text) for reference, text in zip(references, said, strict=True)]
    wrong = [each.substitutions + each.deletions + each.insertions for each in found]
    count = [each.hits + each.substitutions + each.deletions for each in found]
    return np.array(wrong, np.int64), np.array(count, np.int64)


def aligned(reference: str, said: str) -> list[list[str]]:
    """What was said beside what is true, by the fewest errors of words (jiwer).

    Args:
      reference: not empty.
      said: may be.

    Returns:
      `[operation, true words, said words]` in order; an operation is `equal`, `substitute`, `delete` or `insert`.

    Raises:
      UserError: where jiwer is not installed.
    """
    jiwer = optional.load('jiwer', extra='sequences')
    true, heard = reference.split(), said.split()
    (chunks,) = jiwer.process_words(reference, said).alignments
    return [[chunk.type, ' '.join(true[chunk.ref_start_idx:chunk.ref_end_idx]),
             ' '.join(heard[chunk.hyp_start_idx:chunk.hyp_end_idx])] for chunk in chunks]


def commonest(references: Sequence[str]) -> str:
    """What is said without looking at a clip: at each place its commonest word, in a text of the commonest length."""
    texts = [text.split() for text in references]
    lengths, counts = np.unique([len(text) for text in texts], return_counts=True)
    found = []
    for place in range(int(lengths[counts.argmax()])):
        words, often = np.unique([text[place] for text in texts if len(text) > place], return_counts=True)
        found.append(str(words[often.argmax()]))
    return ' '.join(found)


def bleu(references: Sequence[Sequence[str]], said: Sequence[str]) -> float:
    """BLEU-4 of a corpus (Papineni et al. 2002), from 0 to 1, by sacrebleu.

    As caption papers have it: texts are taken as they are, parted by spaces, and nothing is smoothed (sacrebleu's
    `tokenize='none'`, `smooth_method='none'`). It is of all texts together, and no mean over them.

    Args:
      references: of each text one or more.
      said: the texts.

    Raises:
      UserError: where sacrebleu is not installed.
    """
    sacrebleu = optional.load('sacrebleu', extra='sequences')
    most = max(map(len, references))
    columns = [[texts[place] if place < len(texts) else None for texts in references] for place in range(most)]
    found = sacrebleu.corpus_bleu(list(said), columns, tokenize='none', smooth_method='none', force=True)
    return float(found.score) / 100


def rouge_l(references: Sequence[Sequence[str]], said: Sequence[str]) -> np.ndarray:
    """ROUGE-L of each text, float64 (N,), as `coco-caption` has it (Lin 2004, with beta = 1.2).

    Of the longest common subsequence of words with each reference, the best precision P and the best recall R, each by
    itself: `(1 + beta^2) P R / (R + beta^2 P)`. Google's `rouge-score` is another: beta = 1 of one reference.
    """
    found = []
    for texts, text in zip(references, said, strict=True):
        words = text.split()
        common = [(_common(words, reference.split()), len(reference.split())) for reference in texts]
        precision = max(same for same, _ in common) / max(1, len(words))
        recall = max(same / max(1, length) for same, length in common)
        weighted = recall + _ROUGE_BETA ** 2 * precision
        found.append((1 + _ROUGE_BETA ** 2) * precision * recall / weighted if weighted else 0.0)
    return np.array(found)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for place, partner in enumerate(other):
            row.append(before[place] + 1 if word == partner else max(before[place + 1], row[place]))
    return row[-1]


def cider_d(references: Sequence[Sequence[str]], said: Sequence[str]) -> np.ndarray:
    """CIDEr-D of each text, float64 (N,) from 0 to 10 (Vedantam et al. 2015, equation 8), as `coco-caption` has it.

    N-grams of 1 to 4 words weigh by how rare they are among the references of these texts; the cosines of the vectors,
    clipped to the reference's, are averaged over n and references. The length in the penalty counts bigrams. Of one
    reference a clip, or of templates, it compares with nothing published.
    """
    counted = [[_ngrams(text) for text in texts] for texts in references]
    often = Counter(ngram for texts in counted for ngram in set().union(*texts))
    whole = math.log(len(references))

    def vectors(counts: Counter[tuple[str, ...]]) -> tuple[list[dict[tuple[str, ...], float]], list[float], int]:
        found: list[dict[tuple[str, ...], float]] = [{} for _ in range(_LONGEST)]
        for ngram, count in counts.items():
            found[len(ngram) - 1][ngram] = count * (whole - math.log(max(1, often[ngram])))
        norms = [math.sqrt(sum(weight ** 2 for weight in vector.values())) for vector in found]
        return found, norms, sum(count for ngram, count in counts.items() if len(ngram) == 2)

    scores = []
    for texts, text in zip(counted, said, strict=True):
        own, own_norms, own_length = vectors(_ngrams(text))
        total = 0.0
        for reference in texts:
            other, norms, length = vectors(reference)
            near = math.exp(-(own_length - length) ** 2 / (2 * _SIGMA ** 2))
            for n in range(_LONGEST):
                same = sum(min(weight, other[n].get(ngram, 0.0)) * other[n].get(ngram, 0.0)
                           for ngram, weight in own[n].items())
                total += near * same / (own_norms[n] * norms[n]) if own_norms[n] and norms[n] else 0.0
        scores.append(_CIDER_SCALE * total / _LONGEST / len(texts))
    return np.array(scores)


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[place:place + n]) for n in range(1, _LONGEST + 1)
                   for place in range(len(words) - n + 1))
