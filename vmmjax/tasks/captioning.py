"""What happens in a clip, in a sentence."""

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vmmjax import optional
from vmmjax.evaluation import text_metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import NUMBER, TEXT, table
from vmmjax.tasks.writing import Writes

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_SHOWN = 20  # Captions on a page.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Captioning(Writes):
    """A caption, see `Writes`; a clip may have several references, joined by `;`, of which training draws one a step.

    Measured are CIDEr-D, BLEU-4 and ROUGE-L (`evaluation.text_metrics`), and how many captions are one of their
    references word for word. METEOR and SPICE are not offered: their published programs are in Java and fetch data.
    """

    ctc: float = 0.0

    name: ClassVar[str] = 'captioning'
    plain: ClassVar[tuple[str, ...]] = ('cider_d',)
    chance_of: ClassVar[str] = 'the commonest caption'
    several: ClassVar[bool] = True

    def check(self, config: Any) -> None:
        """Sacrebleu is needed at the end of a training, so it is asked for before."""
        super().check(config)
        optional.load('sacrebleu', extra='sequences')

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        return {**_figures(self.references(rows), self.said(rows)), 'loss': self.mean_loss(rows)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always saying the commonest of these references gets."""
        references = self.references(rows)
        often = Counter(text for texts in references for text in texts)
        commonest = min(often, key=lambda text: (-often[text], text))
        return _figures(references, [commonest] * len(references))

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; BLEU is no mean over clips."""
        references, said = self.references(rows), self.said(rows)
        return {'cider_d': (text_metrics.cider_d(references, said), None),
                'rouge_l': (text_metrics.rouge_l(references, said), None),
                'all_right': (_right(references, said), None), 'loss': (rows.scores['loss'], None)}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The captions, those that are farthest from their references first."""
        references, said = self.references(rows), self.said(rows)
        each = text_metrics.cider_d(references, said)
        order = np.argsort(each, kind='stable')[:_SHOWN].tolist()
        return {'tables': [table(
            'Captions', f'Those with the lowest CIDEr-D, {len(order)} of {len(said)}.',
            {'clip': TEXT, 'references': TEXT, 'said': TEXT, 'CIDEr-D': NUMBER},
            [[store.clip(int(rows.id[place])), ' | '.join(references[place]), said[place], float(each[place])]
             for place in order])]}


def _figures(references: list[list[str]], said: list[str]) -> dict[str, float]:
    return {'cider_d': float(text_metrics.cider_d(references, said).mean()),
            'bleu_4': text_metrics.bleu(references, said),
            'rouge_l': float(text_metrics.rouge_l(references, said).mean()),
            'all_right': float(_right(references, said).mean())}


def _right(references: list[list[str]], said: list[str]) -> np.ndarray:
    return np.array([text in texts for texts, text in zip(references, said, strict=True)], np.float64)
