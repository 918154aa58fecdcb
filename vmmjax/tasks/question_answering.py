"""The answer to a question about a clip, as a text."""

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import COUNT, PERCENT, TEXT, table
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.tasks.writing import Writes

if TYPE_CHECKING:
    from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Writes):
    """An answer, see `Writes`; the question is a text stream beside the clip's, and what was said before it another.

    Measured is the accuracy: how many answers are the reference token by token, after the tokenizer has dropped case
    and punctuation (Wang et al. 2022, GIT, section 4.1). The subset of the question's stream alone says what questions
    give away. Where answers are classes, `classification` with the same streams does as well.

    Attributes:
      question: the stream that holds the question.
      kinds: a catalog column by whose values the accuracy is listed, such as the kind of question; empty for none.
    """

    ctc: float = 0.0
    question: str = 'question'
    kinds: str = ''

    name: ClassVar[str] = 'question_answering'
    chance_of: ClassVar[str] = 'the commonest answer'

    def check(self, config: Any) -> None:
        """There is a question, and something that it is about."""
        super().check(config)
        streams = config.data.streams
        if self.question not in streams:
            raise UserError(f'config.task.question names {self.question!r}, which is no stream: '
                            f'{did_you_mean(self.question, streams)}.')
        texts = [name for name, stream in streams.items() if str(stream.get('modality', '')).startswith(PREFIX)]
        if self.question not in texts:
            raise UserError(f'config.task.question names {self.question!r}, which holds no text; its modality is to be '
                            f'text:<catalog column>.')
        if len(texts) == len(streams):
            raise UserError(f'There is a question ({self.question}) without a clip: add a stream that is no text to '
                            f'data.streams.')

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        return {'accuracy': float(self._right(rows).mean()), 'loss': self.mean_loss(rows)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always giving the commonest of these answers gets."""
        often = Counter(texts[0] for texts in self.references(rows))
        return {'accuracy': max(often.values()) / len(rows.id)}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`."""
        return {'accuracy': (self._right(rows), None), 'loss': (rows.scores['loss'], None)}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The accuracy by kind of question."""
        if not self.kinds:
            return {}
        right, kinds = self._right(rows), store.values(self.kinds)[rows.id]
        return {'tables': [table(
            'Questions', f'By {self.kinds}.', {'kind': TEXT, 'accuracy': PERCENT, 'questions': COUNT},
            [[str(kind), float(right[kinds == kind].mean()), int((kinds == kind).sum())]
             for kind in np.unique(kinds)])]}

    def _right(self, rows: Predictions) -> np.ndarray:
        return np.array([text == texts[0] for texts, text in zip(self.references(rows), self.said(rows), strict=True)],
                        np.float64)
