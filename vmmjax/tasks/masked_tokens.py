"""Masked words: hidden words of a text are told from the others, from frames and from sound."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions, subset_names
from vmmjax.models.tokens import Tokens
from vmmjax.models.word_reader import WordReader
from vmmjax.pipeline import options
from vmmjax.pipeline.targets import NoTargets, Targets
from vmmjax.pipeline.text_streams import PREFIX, TextConfig, TextStream
from vmmjax.pipeline.tokenizers import ENDS, MASK
from vmmjax.tasks.base import Task, check_stream
from vmmjax.training.objective import Batch, Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_GIVEN = (MASK, *sum(ENDS, ()))  # No words: there is nothing to be told of them.
_READER = ('hidden_size', 'num_hidden_layers', 'num_attention_heads')


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedTokens(Task):
    """Cross-entropy of hidden words (Devlin et al. 2018; with frames beside the text, Sun et al. 2019).

    Of the tokens of a text a share is replaced by [MASK], at least one of each, and told from the tokens of all streams
    by a transformer over them (`models.word_reader`, in `params/task_training`). Which they are is drawn for each clip
    and step; in evaluation it is the clip's own. [CLS], [SEP] and what `hide` has made [MASK] are never asked for, and
    tokens of what lies outside of a clip are not looked at. Measured is how many hidden words are told, with each
    subset of the streams that has the text: with all words hidden, `evaluated=1`, the text alone says but how long it
    is.

    Attributes:
      stream: the text; its own `mask_rate` is to be 0.
      ratio: the probability of a word to be hidden.
      evaluated: that of evaluation.
      reader: options of `WordReader`: hidden_size, num_hidden_layers, num_attention_heads.
    """

    stream: str = 'text'
    ratio: float = 0.15
    evaluated: float = 1.0
    reader: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    name: ClassVar[str] = 'masked_tokens'
    chance_of: ClassVar[str] = 'most frequent hidden word'
    learns_unlabelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        for name in ('ratio', 'evaluated'):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f'config.task.{name} is {getattr(self, name)}; a share above 0 and at most 1 of the '
                                f'words is hidden.')
        for key in self.reader:
            if key not in _READER:
                raise UserError(f'config.task.reader takes no key {key!r}: {did_you_mean(key, _READER)}.')
            if not isinstance(self.reader[key], int) or self.reader[key] < 1:
                raise UserError(f'config.task.reader.{key} is {self.reader[key]}; a whole number of at least 1 is '
                                f'meant.')
        size, heads = (self.reader.get(key, getattr(WordReader, key)) for key in ('hidden_size', 'num_attention_heads'))
        if size % heads:
            raise UserError(f'config.task.reader.hidden_size is {size}, which does not split over {heads} heads; set '
                            f'it to a multiple of config.task.reader.num_attention_heads.')

    def check(self, config: Any) -> None:
        """The stream is a text that an encoder reads, word by word."""
        super().check(config)
        streams = config.data.streams
        check_stream(config, self.stream, ' to be read')
        if not streams[self.stream].get('modality', '').startswith(PREFIX):
            raise UserError(f"config.task.stream is {self.stream!r}, which is no text; its modality would be "
                            f"'{PREFIX}<catalog column>'.")
        if streams[self.stream].get('mask_rate', 0.0):
            raise UserError(f'data.streams.{self.stream}.mask_rate hides words from the task, too, which then cannot '
                            f'ask for them; leave it out, and set config.task.ratio.')
        if config.data.views.clips * config.data.views.crops > 1:
            raise UserError('config.task.name is masked_tokens, whose answers of several test views have no mean; set '
                            'data.views.clips and data.views.crops to 1.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """None: the words are in the stream."""
        return NoTargets()

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`, none; `vocabulary`, the words of the text stream."""
        where = f'data.streams.{self.stream}'
        text = TextStream(self.stream, options.read(TextConfig, data.streams[self.stream], where), store)
        return {'classes': [], 'vocabulary': list(text.vocabulary)}

    # What is learned.

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The reader."""
        variables = self._reader.init(key, *self._tokens(outputs, batch))
        return {'params': {'task_training': variables['params']}}

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the term is `loss`, the metric `accuracy`."""
        logits, hidden, model_state = self._read(ctx)
        words, weight = ctx.batch[self.stream], hidden.astype(jnp.float32)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, words)
        right = (logits.argmax(-1) == words) * weight
        return Loss(terms={'loss': ((each * weight).sum(), weight.sum())}, model_state=model_state,
                    metrics={'accuracy': (right.sum(), weight.sum())})

    @property
    def _reader(self) -> WordReader:
        return WordReader(len(self.facts['vocabulary']), **self.reader)

    def _hidden(self, ctx: Context) -> jax.Array:
        """Which tokens are hidden, bool (B, L); of every text with a word at least one."""
        given = [place for place, token in enumerate(self.facts['vocabulary']) if token in _GIVEN]
        there = self._there(ctx.batch) & (ctx.batch['mask'] > 0)[:, None]
        there &= ~jnp.isin(ctx.batch[self.stream], jnp.array(given, jnp.int32))
        length = there.shape[1]
        draws = jax.vmap(lambda key: jax.random.uniform(key, (length,)))(ctx.keys('mask'))
        draws = jnp.where(there, draws, 2.0)
        ratio = self.ratio if ctx.train else self.evaluated
        return there & ((draws < ratio) | (draws == draws.min(1, keepdims=True)))

    def _there(self, batch: Batch) -> jax.Array:
        there = batch[f'{self.stream}_mask'] > 0
        return there & batch[f'present/{self.stream}'][:, None] if f'present/{self.stream}' in batch else there

    def _read(self, ctx: Context) -> tuple[jax.Array, jax.Array, Any]:
        """Logits (B, L, V), which tokens were hidden, and the model state after the batch."""
        hidden = self._hidden(ctx)
        mask_id = list(self.facts['vocabulary']).index(MASK)
        batch = {**ctx.batch, self.stream: jnp.where(hidden, mask_id, ctx.batch[self.stream])}
        outputs, model_state = dataclasses.replace(ctx, batch=batch).forward()
        logits: Any = self._reader.apply({'params': ctx.params['task_training']}, *self._tokens(outputs, batch))
        return jnp.asarray(logits), hidden, model_state

    def _tokens(self, outputs: Any, batch: Batch) -> tuple[Tokens, dict[str, Tokens]]:
        found = {name: Tokens(outputs.endpoints[f'{name}/tokens'], mask)
                 for name, mask in outputs.stream_masks.items()}
        text, words = found.pop(self.stream), batch[self.stream].shape[1]
        if text.x.shape[1] != words:
            raise UserError(f'The encoder of {self.stream!r} gives {text.x.shape[1]} tokens for {words} words, and '
                            f"each word needs its own; take 'bert'.")
        return Tokens(text.x, self._there(batch)), found

    # What is measured.

    def compute(self, ctx: Context) -> Any:
        """Of each clip, (B, L): `hidden`, the words that were hidden, -1 elsewhere; `told` and `loss` of each."""
        logits, hidden, _ = self._read(ctx)
        words = ctx.batch[self.stream]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, words)
        return {'hidden': jnp.where(hidden, words, -1), 'told': logits.argmax(-1), 'loss': each.astype(jnp.float32)}

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Those with the text, whose words are asked for."""
        return {name: chosen for name, chosen in subset_names(streams).items() if self.stream in chosen}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`: `accuracy` and `loss` are means over hidden words."""
        hidden = rows.scores['hidden'] >= 0
        if not hidden.any():
            raise UserError(f'No clip of the split has a text of {self.stream!r}, so no word was hidden.')
        right = rows.scores['hidden'] == rows.scores['told']
        return {'accuracy': float(right[hidden].mean()), 'loss': float(rows.scores['loss'][hidden].mean(dtype=float))}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; a clip weighs as many words as were hidden."""
        hidden = rows.scores['hidden'] >= 0
        count = hidden.sum(1)
        right = ((rows.scores['hidden'] == rows.scores['told']) & hidden).sum(1)
        return {'accuracy': (np.where(count > 0, right / np.maximum(count, 1), np.nan), count.astype(np.float64))}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always saying the most frequent of the hidden words gets."""
        words = rows.scores['hidden'].astype(np.int64)
        counts = np.bincount(words[words >= 0])
        return {'accuracy': float(counts.max() / counts.sum())}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Task`: the hidden words, and what was said in their place."""
        vocabulary = self.facts['vocabulary']
        hidden, told = (rows.scores[name][place].astype(np.int64) for name in ('hidden', 'told'))
        asked = np.flatnonzero(hidden >= 0)
        true, said = (' '.join(vocabulary[word] for word in words[asked].tolist()) for words in (hidden, told))
        return [{'target': self.stream, 'truth': true, 'probability': None, 'named': [[said, None]]}]
