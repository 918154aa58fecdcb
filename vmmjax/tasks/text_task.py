"""A text of one catalog column as an answer: what its tokens are, and how a person reads a prediction."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions, truth
from vmmjax.models.decoders.vocabulary import PAD_ID, UNKNOWN_ID
from vmmjax.pipeline.text_targets import LETTERS, Texts, Writing, text_of
from vmmjax.tasks import sentences
from vmmjax.tasks.base import Task

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_UNKNOWN_SAID = '⁇'  # Of a word that the vocabulary lacks: no reference has it, so it is never right.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """A task whose answer is a text of one catalog column, however it is found.

    Its `facts` have the `vocabulary` and, of wordpiece, the `pieces`. Predictions are what `Writes.compute` returns.

    Attributes:
      tokenizer: `words`, `characters`, `jieba` (Chinese words), `wordpiece`, or your own, see
        `pipeline.text_targets.Writing`; the vocabulary is that of the training split and is kept with the run.
      vocab: for wordpiece, its vocab.txt.
      lowercase: whether case is dropped.
    """

    tokenizer: str = 'words'
    vocab: str = ''
    lowercase: bool = True

    several: ClassVar[bool] = False  # Whether a clip has texts joined by `;`.

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if not isinstance(self.target, str):
            raise UserError(f'config.task.name is {self.name}, which is of one column of texts; name one as '
                            f'data.target.')

    # What is asked.

    @property
    def writing(self) -> Writing:
        """How texts become tokens and tokens texts."""
        return Writing(self.tokenizer, self.vocab, self.lowercase, tuple(self.facts.get('pieces', ())))

    @property
    def column(self) -> str:
        """The catalog's."""
        return self.columns[0]

    @property
    def key(self) -> str:
        """The batch's key of the tokens."""
        return f'target/{self.column}'

    def targets(self, store: 'Store', data: Any) -> Texts:
        """See `Task`."""
        return Texts(store, self.column, self.writing, self.facts.get('vocabulary', ()), self.several)

    def check(self, config: Any) -> None:
        """Views are of one window: texts have no mean."""
        super().check(config)
        if config.data.views.clips * config.data.views.crops > 1:
            raise UserError(f'config.task.name is {self.name}, and texts of several test views have no mean; set '
                            f'data.views.clips and data.views.crops to 1.')

    # How predictions read.

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """See `Task`."""
        found: np.ndarray = rows.scores['loss'].astype(np.float64)
        return found

    def mean_loss(self, rows: Predictions) -> float:
        """Over the clips that have one; 0 where none has."""
        found = rows.scores['loss'][np.isfinite(rows.scores['loss'])]
        return float(found.mean(dtype=np.float64)) if len(found) else 0.0

    def references(self, rows: Predictions) -> list[list[str]]:
        """The true texts of every clip."""
        letters = rows.target[f'{self.column}{LETTERS}']
        return [[text_of(text) for text in texts if (text >= 0).any()] for texts in letters]

    def texts(self, rows: Predictions, place: int) -> list[tuple[str, float]]:
        """What was found of a clip, the best first: texts and their probabilities (of several at once, see `ctc`)."""
        found = []
        for ids, total in zip(rows.scores['ids'][place].astype(np.int64).tolist(),
                              rows.scores['log_probability'][place].astype(np.float64).tolist(), strict=True):
            if np.isfinite(total):
                found.append((self.writing.joined(self.tokens(ids)), float(np.exp(min(total, 0.0)))))
        return found

    def said(self, rows: Predictions) -> list[str]:
        """The best text of every clip; empty where none could be said."""
        return [(self.texts(rows, place) or [('', 0.0)])[0][0] for place in range(len(rows.id))]

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Task`; named are the texts that were found, the best first."""
        known = truth(rows, f'{self.column}{LETTERS}', place) if isinstance(rows.target, Mapping) else None
        true = '' if known is None else ' | '.join(text_of(text) for text in known if (text >= 0).any())
        return [{'target': self.column, 'truth': true, 'probability': None,
                 'named': [[text, probability] for text, probability in self.texts(rows, place)[:most]],
                 'words': self.words(rows, place)}]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of ids, without padding."""
        return [_UNKNOWN_SAID if token == UNKNOWN_ID else self.facts['vocabulary'][token] for token in ids
                if token != PAD_ID]

    def words(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """The words of the best text of a clip, see `sentences.words`."""
        if 'confidence' not in rows.scores:
            return []
        window = rows.target.get('window') if isinstance(rows.target, Mapping) else None
        tokens = self.tokens(rows.scores['ids'][place, 0].astype(np.int64).tolist())
        return sentences.words(self.writing, tokens, {name: rows.scores[name][place] for name in (
            'start', 'end', 'confidence') if name in rows.scores}, None if window is None else window[place])
