"""What tasks whose answer is a text share: it is written by CTC, by a decoder, or by both together."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.models.decoders import DECODERS, Writer, alignment, ctc
from vmmjax.models.decoders.generation import Generation
from vmmjax.models.decoders.grammar import Automaton, automaton
from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID
from vmmjax.models.decoders.writer import Context, Written
from vmmjax.models.dropout import rows_of_batch
from vmmjax.pipeline import options
from vmmjax.pipeline.tokenizers import WORDPIECE
from vmmjax.tasks import sentences
from vmmjax.tasks.text_task import TextTask
from vmmjax.training.objective import Context as Step
from vmmjax.training.objective import Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writes(TextTask):
    """A text of one catalog column, from the fused tokens: how it is learned and found.

    Minimised is `w CTC + (1 - w) decoder` (Watanabe et al. 2017, equation 18), each in nats a token: the mean of
    `-log p` of a clip's text over all tokens of the batch. Clips without any stream weigh nothing, and for CTC those
    with fewer frames than their text needs. In evaluation the same w joins the two while a text is looked for.

    Attributes:
      ctc: w, from 0 (no CTC head) to 1 (no decoder). CTC needs tokens that are moments of the window.
      decoder: name (a key of `DECODERS`, or your own) and options.
      context: options of recurrent layers over the fused tokens, see `writer.Context`; empty for none.
      label_smoothing: of the decoder's targets (Szegedy et al. 2016, section 7).
      longest: tokens of a text at most; 0 takes the longest of the training split.
      generation: how texts are found in `vmmjax evaluate` and `predict`, see `Generation`; while a model trains it is
        `greedy`.
    """

    ctc: float = 0.3
    decoder: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {'name': 'gru'})
    context: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label_smoothing: float = 0.1
    longest: int = 0
    generation: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks what a config says."""
        super().__post_init__()
        if not 0 <= self.ctc <= 1:
            raise UserError(f'config.task.ctc is {self.ctc}; a weight from 0 (none) to 1 (CTC alone) is meant.')
        if self.search.grammar and self.tokenizer == 'characters':
            raise UserError("config.task.generation.grammar is of words, and config.task.tokenizer is 'characters'; "
                            'leave the grammar out, or write words.')

    # What is asked.

    @functools.cached_property
    def search(self) -> Generation:
        """How texts are found."""
        return options.read(Generation, self.generation, 'config.task.generation')

    @functools.cached_property
    def automaton(self) -> Automaton | None:
        """That of the grammar; None without one."""
        if not self.search.grammar:
            return None
        found = automaton(self.search.grammar, self.facts['vocabulary'], self.writing.splitter())
        found.check(self.longest or self.facts['longest'])
        return found

    @functools.cached_property
    def in_training(self) -> Self:
        """See `Task`: greedy."""
        return dataclasses.replace(self, generation={})

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """What is kept of the training store.

        `classes`, none; `vocabulary`; `longest`, tokens of the longest text of the training split; `pieces` of
        wordpiece; and for CTC as `neediest` the clip of the training split that needs the most tokens of the window,
        how many its text needs, and its share of the window.
        """
        texts, rows = self.targets(store, data), store.rows('train')
        found: dict[str, Any] = {'classes': [], 'vocabulary': list(texts.vocabulary),
                                 'longest': max(len(text) for row in rows for text in texts.ids(row))}
        if self.tokenizer == WORDPIECE:
            found['pieces'] = list(self.writing.pieces_of_file())
        if self.ctc > 0:
            seconds = float(data.window.seconds)
            shares = [min(1.0, float(store.durations[row]) / seconds) if seconds else 1.0 for row in rows]
            needs = [max(map(ctc.frames_needed, texts.ids(row))) for row in rows]
            place = int(np.argmax(np.divide(needs, np.maximum(shares, 1e-6))))
            found['neediest'] = [store.clip(rows[place]), needs[place], shares[place]]
        return found

    # What is learned.

    @functools.cached_property
    def writer(self) -> Writer:
        """The task's own modules."""
        size = len(self.facts['vocabulary'])
        context = options.read(Context, self.context, 'config.task.context') if self.context else None
        decoder = registry.build(self.decoder, DECODERS, 'decoder', vocabulary=size) if self.ctc < 1 else None
        return Writer(size, context, decoder, self.ctc > 0)

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """See `Task`.

        Raises:
          UserError: for CTC with tokens that are no moments, or fewer of them than a training text needs.
        """
        tokens = outputs.tokens
        if self.ctc > 0:
            self._check_frames(tokens.x.shape[1], outputs.timed)
        ids = jnp.zeros((len(tokens.x), 1), jnp.int32)
        return {'params': {'task': self.writer.init(key, tokens, ids, False)['params']}}

    def _check_frames(self, frames: int, timed: bool) -> None:
        if not timed:
            raise UserError('CTC needs tokens that are moments of the clip: take the fusion over_time, concat of a '
                            'single stream, or config.task.ctc = 0.')
        if 'neediest' not in self.facts:
            return
        clip, needed, share = self.facts['neediest']
        if frames * share < needed:
            own = int(frames * share)
            raise UserError(f'The text of the clip {clip!r} needs {needed} frames for CTC (one a token, and one '
                            f'between equal ones), and the model makes {own} of it: {needed - own} are missing. Take '
                            f'an encoder that keeps time (such as conv2d_audio with fewer halvings), more frames, or '
                            f"config.task.tokenizer = 'words'.")

    def loss(self, ctx: Step) -> Loss:
        """See `training.Objective`; the terms are `ctc` and `decoder`, the metric `fits`, see `Writes`."""
        outputs, model_state = ctx.forward()
        ids = self._one_of(ctx)
        written = self._write(ctx, outputs, ids)
        there = ctx.batch['mask'] * outputs.tokens.mask.any(1)
        terms, metrics = {}, {}
        if written.ctc is not None:
            found, fits = ctc.losses(written.ctc, written.memory.mask, ids)
            weight = there * fits
            terms['ctc'] = self.ctc * (found * weight).sum(), ((ids >= 0).sum(1) * weight).sum()
            metrics['fits'] = weight.sum(), (there * (ids >= 0).any(1)).sum()
        if written.decoder is not None:
            found, count = self._of_decoder(written.decoder, ids, self.label_smoothing)
            terms['decoder'] = (1 - self.ctc) * (found * there).sum(), (count * there).sum()
        return Loss(terms=terms, model_state=model_state, metrics=metrics)

    def _one_of(self, ctx: Step) -> jax.Array:
        """Of each clip one of its texts, int32 (B, L), -1 behind its end; drawn where there are several."""
        ids = ctx.batch[self.key]
        if ids.shape[1] == 1:
            return ids[:, 0]
        there = (ids >= 0).any(2)
        drawn = jax.vmap(jax.random.categorical)(ctx.keys('reference'), jnp.where(there, 0.0, -jnp.inf))
        return jnp.take_along_axis(ids, jnp.where(there.any(1), drawn, 0)[:, None, None], 1)[:, 0]

    def _write(self, ctx: Step, outputs: Any, ids: jax.Array | None) -> Written:
        rngs = {'dropout': jax.random.fold_in(ctx.rng, 1)} if ctx.train and ctx.rng is not None else {}
        with rows_of_batch(None if ctx.rows is None else ctx.batch['row'], ctx.rows):
            written: Any = self.writer.apply(
                {'params': ctx.params['task']}, outputs.tokens,
                None if ids is None else jnp.where(ids >= 0, ids, PAD_ID), ctx.train, rngs=rngs)
        return Written(*written)

    def _of_decoder(self, logits: jax.Array, ids: jax.Array, smoothing: float) -> tuple[jax.Array, jax.Array]:
        """The sum of cross-entropies of each text's tokens and its end, float32 (B,), and how many they are."""
        length = (ids >= 0).sum(1, keepdims=True)
        places = jnp.arange(logits.shape[1])
        wanted = jnp.where(places == length, END_ID, jnp.pad(ids, ((0, 0), (0, 1)), constant_values=PAD_ID))
        counts = (places <= length) & (length > 0)
        # Padding is no token: it has no share of what is smoothed.
        smooth = optax.smooth_labels(jax.nn.one_hot(wanted, logits.shape[-1])[..., 1:], smoothing)
        each = optax.softmax_cross_entropy(logits[..., 1:], smooth)
        return jnp.where(counts, each, 0).sum(1), counts.sum(1)

    # What is measured.

    def compute(self, ctx: Step) -> dict[str, jax.Array]:
        """The texts that are found and, where the true ones are known, the loss.

        Returns:
          `ids` int32 (B, K, L), `log_probability` float32 (B, K) and `score` float32 (B, K), see `search.Hypotheses`;
          of the tokens of the best text `confidence` float32 (B, L), and of a run with CTC and no `context` where they
          are said, `start` and `end` float32 (B, L), 0 to 1 of the window, see `alignment`; NaN where there is none;
          `loss` float32 (B,), as in training without label smoothing, NaN where there is none.
        """
        outputs, _ = ctx.forward()
        true = list(jnp.moveaxis(ctx.batch[self.key], 1, 0)) if self.key in ctx.batch else []
        of_each = [self._write(ctx, outputs, ids) for ids in true] or [self._write(ctx, outputs, None)]
        texts = self.search(self.writer, ctx.params['task'], of_each[0], self.ctc,
                            self.longest or self.facts['longest'], ctx.keys('generation'), self.automaton)
        return {**texts._asdict(), **self._of_tokens(ctx, outputs, of_each[0], texts.ids[:, 0]),
                **({'loss': self._loss_of(of_each, true)} if true else {})}

    def _of_tokens(self, ctx: Step, outputs: Any, written: Written, ids: jax.Array) -> dict[str, jax.Array]:
        """Times and confidences of the tokens (B, L) of texts; of CTC and a decoder the weighted geometric mean."""
        found, confidence = {}, jnp.zeros(ids.shape)
        if written.ctc is not None:
            aligned = alignment.align(written.ctc, written.memory.mask, ids)
            # Behind layers that see the whole clip a word is said anywhere, which tells nothing of when it is heard.
            found = {} if self.context else {'start': aligned.start, 'end': aligned.end}
            confidence += self.ctc * jnp.log(aligned.confidence)
        if self.ctc < 1:
            said = self._write(ctx, outputs, jnp.where(ids == PAD_ID, -1, ids)).decoder
            assert said is not None
            own = jnp.take_along_axis(jax.nn.log_softmax(said[:, :-1]), ids[..., None], 2)[..., 0]
            confidence += (1 - self.ctc) * own
        return {**found, 'confidence': jnp.where(ids == PAD_ID, jnp.nan, jnp.exp(confidence))}

    def attend(self, ctx: Step) -> dict[str, jax.Array]:
        """Where in the memory each token of the best text comes from.

        Returns:
          `ids` int32 (B, L), and `weights` float32 (B, L, N): how much the decoder attended to each of the memory's
          tokens before it wrote the token (of a transformer in its last layer, the mean over heads); of CTC alone the
          probability of the token at each of them. Zero of a decoder that does not tell (`sow` its weights as
          `attention` in the collection `intermediates`).
        """
        outputs, _ = ctx.forward()
        written = self._write(ctx, outputs, None)
        texts = self.search(self.writer, ctx.params['task'], written, self.ctc, self.longest or self.facts['longest'],
                            ctx.keys('generation'), self.automaton)
        ids = texts.ids[:, 0]
        if self.ctc == 1:
            assert written.ctc is not None
            found = jnp.take_along_axis(jax.nn.softmax(written.ctc), ids[:, None], 2).swapaxes(1, 2)
        else:
            _, told = self.writer.apply({'params': ctx.params['task']}, outputs.tokens, ids, False,
                                        mutable=['intermediates'])
            found = sentences.attention(told, (*ids.shape, outputs.tokens.x.shape[1]))
        return {'ids': ids, 'weights': jnp.where((ids != PAD_ID)[..., None], found * written.memory.mask[:, None], 0)}

    def _loss_of(self, of_each: Sequence[Written], true: Sequence[jax.Array]) -> jax.Array:
        """Of each clip in nats a token, the mean over its texts."""
        total = count = jnp.zeros(len(true[0]))
        for written, ids in zip(of_each, true, strict=True):
            there, loss = (ids >= 0).any(1), jnp.zeros(len(ids))
            if written.ctc is not None:
                found, fits = ctc.losses(written.ctc, written.memory.mask, ids)
                loss += self.ctc * jnp.where(fits, found, jnp.nan) / jnp.maximum((ids >= 0).sum(1), 1)
            if written.decoder is not None:
                found, tokens = self._of_decoder(written.decoder, ids, 0.0)
                loss += (1 - self.ctc) * found / jnp.maximum(tokens, 1)
            total, count = total + jnp.where(there, loss, 0), count + there
        return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)
