"""What is said in a clip, word by word or letter by letter: speech recognition and lip reading."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vmmjax import optional
from vmmjax.evaluation import text_metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import COUNT, PERCENT, TEXT, table
from vmmjax.tasks.writing import Writes

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_SHOWN = 20  # Sentences on a page.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transcription(Writes):
    """The sentence of a clip, see `Writes`.

    Measured are the word error rate (substitutions, deletions and insertions of all clips over the words of all
    references), that of characters, and how many sentences are right to the last word. The confidence of a sentence is
    the probability that the model gives it.
    """

    name: ClassVar[str] = 'transcription'
    chance_of: ClassVar[str] = 'the commonest word at each place'

    def check(self, config: Any) -> None:
        """Jiwer is needed at the end of a training, so it is asked for before."""
        super().check(config)
        optional.load('jiwer', extra='sequences')

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        references, said = self._pairs(rows)
        return {**_rates(references, said), 'loss': self.mean_loss(rows)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always saying the commonest word at each place of these texts gets."""
        references, _ = self._pairs(rows)
        return _rates(references, [text_metrics.commonest(references)] * len(references))

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; error rates are weighted by the length of the reference. One above 1 is no proportion."""
        references, said = self._pairs(rows)
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name, unit in _UNITS.items():
            wrong, count = text_metrics.errors(references, said, unit)
            if wrong.sum() <= count.sum():
                found[name] = wrong / count, count.astype(np.float64)
        return found | {'all_right': (_right(references, said), None), 'loss': (rows.scores['loss'], None)}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The sentences, those with the most errors first."""
        references, said = self._pairs(rows)
        wrong, count = text_metrics.errors(references, said, 'words')
        confident = [dict(self.texts(rows, place)).get(text, 0.0) for place, text in enumerate(said)]
        order = np.argsort(-wrong, kind='stable')[:_SHOWN].tolist()
        return {'tables': [table(
            'Sentences', f'Those with the most wrong words, {len(order)} of {len(said)}; the confidence is the '
                         f"probability of the sentence by the model.",
            {'clip': TEXT, 'reference': TEXT, 'said': TEXT, 'wrong words': COUNT, 'words': COUNT,
             'confidence': PERCENT},
            [[store.clip(int(rows.id[place])), references[place], said[place], int(wrong[place]), int(count[place]),
              confident[place]] for place in order])]}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Writes`; where the truth is known `aligned` has what is wrong, see `text_metrics.aligned`."""
        (told,) = super().reading(rows, place, most)
        if told['truth']:
            told['aligned'] = text_metrics.aligned(told['truth'], told['named'][0][0] if told['named'] else '')
        return [told]

    def _pairs(self, rows: Predictions) -> tuple[list[str], list[str]]:
        return [texts[0] for texts in self.references(rows)], self.said(rows)


_UNITS = {'word_error_rate': 'words', 'character_error_rate': 'characters'}


def _rates(references: list[str], said: list[str]) -> dict[str, float]:
    found = {}
    for name, unit in _UNITS.items():
        wrong, count = text_metrics.errors(references, said, unit)
        found[name] = float(wrong.sum() / count.sum())
    return found | {'all_right': float(_right(references, said).mean())}


def _right(references: list[str], said: list[str]) -> np.ndarray:
    return np.array([reference == text for reference, text in zip(references, said, strict=True)], np.float64)
