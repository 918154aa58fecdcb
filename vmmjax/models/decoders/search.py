"""Texts that a model finds likely: the likeliest token each time, a beam, or drawn at random. All of it is compiled.

What is searched is a `Scorer`, which says how likely each next token is; decoders, CTC and both together are such.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID


@dataclasses.dataclass(frozen=True)
class Scorer:
    """The probabilities of the next token.

    Attributes:
      vocabulary: V.
      fixed: a tree of arrays (B, ...) that do not change.
      state: a tree of arrays (B, ...) before the first token.
      step: `(ids int32 (B,), place int32, fixed, state) -> (log-probabilities (B, V), state)`: of what follows the
        token `ids`, which stands at `place` (0: the start, `PAD_ID`).
    """

    vocabulary: int
    fixed: Any
    state: Any
    step: Callable[[jax.Array, jax.Array, Any, Any], tuple[jax.Array, Any]]

    @property
    def rows(self) -> int:
        """B."""
        return len(jax.tree.leaves(self.state)[0])

    def repeated(self, times: int) -> 'Scorer':
        """Every row so many times, behind each other."""
        fixed, state = jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), (self.fixed, self.state))
        return dataclasses.replace(self, fixed=fixed, state=state)


class Hypotheses(NamedTuple):
    """Texts of every row, K each, the best first.

    Attributes:
      ids: int32 (B, K, L), `PAD_ID` behind a text's end.
      log_probability: float32 (B, K), of the text and its end; -inf where there are no K texts.
      score: float32 (B, K), by which they are ordered, see `beam`.
    """

    ids: jax.Array
    log_probability: jax.Array
    score: jax.Array


def no_penalty(count: jax.Array, alpha: float) -> jax.Array:
    """1: the score is the log-probability, which favours short texts."""
    return jnp.ones_like(count, jnp.float32)


def gnmt(count: jax.Array, alpha: float) -> jax.Array:
    """`((5 + n) / 6)^alpha` (Wu et al. 2016, equation 14); n counts the end."""
    return ((5.0 + count) / 6.0) ** alpha


def power(count: jax.Array, alpha: float) -> jax.Array:
    """`n^alpha`, of fairseq and transformers; with alpha 1 the mean over tokens. n counts the end."""
    return count.astype(jnp.float32) ** alpha


PENALTIES = {'none': no_penalty, 'gnmt': gnmt, 'power': power}


def greedy(scorer: Scorer, length: int) -> Hypotheses:
    """The likeliest token each time; of equal ones the first in the vocabulary.

    Args:
      scorer: what is asked.
      length: L, tokens at most; a text that has as many ends.
    """
    return _written(scorer, length, lambda scores, place: scores.argmax(-1))


def sample(scorer: Scorer, length: int, count: int, keys: jax.Array, temperature: float = 1.0) -> Hypotheses:
    """Texts drawn token by token, ordered by their log-probabilities.

    Args:
      scorer: what is asked.
      length: L, see `greedy`.
      count: K, how many are drawn for a row, each for itself.
      keys: a random key for every row (B,); the same keys draw the same texts.
      temperature: log-probabilities are divided by it before drawing; those that are returned are not.
    """
    each = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count)))(keys).reshape(-1)

    def draw(scores: jax.Array, place: jax.Array) -> jax.Array:
        at = jax.vmap(jax.random.fold_in, (0, None))(each, place)
        return jax.vmap(jax.random.categorical)(at, scores / temperature)

    found = _written(scorer.repeated(count), length, draw)
    _, order = jax.lax.top_k(found.score.reshape(-1, count), count)
    ids, total = (jnp.take_along_axis(x.reshape(scorer.rows, count, *x.shape[2:]), order.reshape(
        *order.shape, *[1] * (x.ndim - 2)), 1) for x in (found.ids, found.log_probability))
    return Hypotheses(ids, total, total)


def _written(scorer: Scorer, length: int, choose: Callable[[jax.Array, jax.Array], jax.Array]) -> Hypotheses:
    """One text a row, of tokens that `choose` takes from log-probabilities (B, V) at a place."""
    def go_on(carry: Any) -> jax.Array:
        place, _, _, _, ended, _ = carry
        return (place <= length) & ~ended.all()

    def write(carry: Any) -> Any:
        place, last, ids, total, ended, state = carry
        scores, state = scorer.step(last, place, scorer.fixed, state)
        scores = _ending(scores, place == length)
        token = choose(scores, place).astype(jnp.int32)
        own = jnp.take_along_axis(scores, token[:, None], 1)[:, 0]
        token = jnp.where(ended, PAD_ID, token)
        total = total + jnp.where(ended, 0, own)
        ids = ids.at[:, place].set(jnp.where(token == END_ID, PAD_ID, token), mode='drop')
        return place + 1, token, ids, total, ended | (token == END_ID), state

    rows = scorer.rows
    carry = (jnp.int32(0), jnp.full(rows, PAD_ID, jnp.int32), jnp.full((rows, length), PAD_ID, jnp.int32),
             jnp.zeros(rows, _dtype(scorer)), jnp.zeros(rows, bool), scorer.state)
    _, _, ids, total, _, _ = jax.lax.while_loop(go_on, write, carry)
    return Hypotheses(ids[:, None], total[:, None], total[:, None])


def beam(scorer: Scorer, length: int, size: int, penalty: Callable[[jax.Array, float], jax.Array] = no_penalty,
         alpha: float = 0.0) -> Hypotheses:
    """Beam search; a text that has ended keeps its place in the beam until better ones push it out.

    So a beam of 1 is `greedy`, and one of all texts finds the best of them, with any penalty. The search ends when all
    texts of the beam have ended. Of equal ones those come first that were found first, then those that are earlier in
    the vocabulary.

    Args:
      scorer: what is asked.
      length: L, see `greedy`.
      size: K, texts that are kept.
      penalty: texts are ordered by log-probability / penalty(n, alpha), n tokens with the end, see `PENALTIES`.
      alpha: of the penalty.
    """
    rows, vocabulary = scorer.rows, scorer.vocabulary
    wide = scorer.repeated(size)
    none = jnp.where(jnp.arange(vocabulary) == END_ID, 0.0, -jnp.inf)

    def go_on(carry: Any) -> jax.Array:
        place, _, _, total, _, ended, _ = carry
        return (place <= length) & ~(ended | (total == -jnp.inf)).all()

    def write(carry: Any) -> Any:
        place, last, ids, total, count, ended, state = carry
        scores, state = wide.step(last.reshape(-1), place, wide.fixed, state)
        scores = _ending(scores, place == length).reshape(rows, size, vocabulary)
        # One that has ended has itself as its only successor.
        totals = total[..., None] + jnp.where(ended[..., None], none, scores)
        counts = count + ~ended
        _, chosen = jax.lax.top_k((totals / penalty(counts, alpha)[..., None]).reshape(rows, -1), size)
        parent, token = chosen // vocabulary, (chosen % vocabulary).astype(jnp.int32)

        def of_parents(x: jax.Array) -> jax.Array:
            return jnp.take_along_axis(x, parent.reshape(rows, size, *[1] * (x.ndim - 2)), 1)

        total = jnp.take_along_axis(totals.reshape(rows, -1), chosen, 1)
        ids = of_parents(ids).at[:, :, place].set(jnp.where(token == END_ID, PAD_ID, token), mode='drop')
        state = jax.tree.map(lambda x: of_parents(x.reshape(rows, size, *x.shape[1:])).reshape(x.shape), state)
        return place + 1, token, ids, total, of_parents(counts), token == END_ID, state

    dtype = _dtype(scorer)
    start = jnp.where(jnp.arange(size) == 0, 0.0, -jnp.inf).astype(dtype)
    carry = (jnp.int32(0), jnp.full((rows, size), PAD_ID, jnp.int32), jnp.full((rows, size, length), PAD_ID, jnp.int32),
             jnp.broadcast_to(start, (rows, size)), jnp.zeros((rows, size), jnp.int32),
             jnp.zeros((rows, size), bool), wide.state)
    _, _, ids, total, count, _, _ = jax.lax.while_loop(go_on, write, carry)
    # A place without a text holds no tokens of one.
    ids = jnp.where((total > -jnp.inf)[..., None], ids, PAD_ID)
    return Hypotheses(ids, total, total / penalty(jnp.maximum(count, 1), alpha).astype(dtype))


def _ending(scores: jax.Array, must: jax.Array) -> jax.Array:
    """Log-probabilities without padding, which is no token; of the end alone where a text must end."""
    tokens = jnp.arange(scores.shape[-1])
    return jnp.where((tokens == PAD_ID) | (must & (tokens != END_ID)), -jnp.inf, scores)


def _dtype(scorer: Scorer) -> Any:
    """That of the log-probabilities."""
    ids = jnp.full(scorer.rows, PAD_ID, jnp.int32)
    return jax.eval_shape(scorer.step, ids, jnp.int32(0), scorer.fixed, scorer.state)[0].dtype
