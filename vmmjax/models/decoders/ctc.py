"""Connectionist temporal classification (Graves et al. 2006): the loss, its length rule, and how it is decoded."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vmmjax.models.decoders.search import Hypotheses, Scorer
from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID

_NEVER = -1e9  # Not infinity, whose differences are NaN.


def frames_needed(ids: Sequence[int]) -> int:
    """The fewest frames in which a text can be said: one a token, and a blank between two that are the same."""
    return len(ids) + sum(first == second for first, second in itertools.pairwise(ids))


def without_end(logits: jax.Array) -> jax.Array:
    """Logits (B, T, V) of a head over the whole vocabulary; the end, which CTC does not say, gets no probability."""
    return jnp.where(jnp.arange(logits.shape[-1]) == END_ID, _NEVER, logits)


def losses(logits: jax.Array, mask: jax.Array, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`-log p(text)` in nats, and where it is one.

    Args:
      logits: float32 (B, T, V) of frames, see `without_end`.
      mask: bool (B, T), frames that stand for something; others may be anywhere.
      ids: int32 (B, L), texts, negative behind their ends.

    Returns:
      Float32 (B,), 0 where the text does not fit, and bool (B,), whether it is a text and fits into the valid frames,
      see `frames_needed`. (optax says 1e5 and a finite gradient of what does not fit.)
    """
    there = ids >= 0
    repeats = ((ids[:, 1:] == ids[:, :-1]) & there[:, 1:]).sum(1)
    fits = there.any(1) & (mask.sum(1) >= there.sum(1) + repeats)
    # optax takes padding in the middle, too, but not as if it was not there: a blank would be said.
    order = jnp.argsort(~mask, axis=1, stable=True)
    logits = jnp.take_along_axis(logits, order[..., None], 1)
    found = optax.ctc_loss(logits, 1.0 - jnp.take_along_axis(mask, order, 1), jnp.where(there, ids, PAD_ID),
                           1.0 - there, blank_id=PAD_ID)
    return jnp.where(fits, found, 0), fits


def best_path(logits: jax.Array, mask: jax.Array, length: int) -> jax.Array:
    """The text of the likeliest path, which need not be the likeliest text (Graves et al. 2006, section 3.2).

    The likeliest token of each frame; repeats are merged, then blanks are dropped.

    Args:
      logits: float32 (B, T, V), see `without_end`.
      mask: bool (B, T).
      length: L, tokens at most; what is longer is cut.

    Returns:
      int32 (B, L), `PAD_ID` behind a text's end.
    """
    order = jnp.argsort(~mask, axis=1, stable=True)
    path = jnp.where(jnp.take_along_axis(mask, order, 1), jnp.take_along_axis(logits.argmax(-1), order, 1), PAD_ID)
    said = (path != PAD_ID) & (path != jnp.pad(path[:, :-1], ((0, 0), (1, 0)), constant_values=PAD_ID))
    places = jnp.where(said, jnp.cumsum(said, 1) - 1, length)
    rows = jnp.arange(len(path))[:, None]
    return jnp.full((len(path), length), PAD_ID, jnp.int32).at[rows, places].set(path.astype(jnp.int32), mode='drop')


def greedy(logits: jax.Array, mask: jax.Array, length: int) -> Hypotheses:
    """`best_path` with the probability of its text, which is that of all its paths; likewise."""
    ids = best_path(logits, mask, length)
    there = jnp.where(ids == PAD_ID, -1, ids)
    found, fits = losses(logits, mask, there)
    nothing = jnp.where(mask, jax.nn.log_softmax(logits)[..., PAD_ID], 0).sum(1)
    total = jnp.where(fits, -found, jnp.where((there < 0).all(1), nothing, -jnp.inf))[:, None]
    return Hypotheses(ids[:, None], total, total)


def scorer(logits: jax.Array, mask: jax.Array) -> Scorer:
    """What CTC says of a text's next token, from probabilities of prefixes, which are exact.

    `p(c | g) = P(g c ...) / P(g ...)`, and of the end `p(g) / P(g ...)`, P(g ...) being the probability of all texts
    that begin with g (Graves 2012, section 7.5.2; Hori et al. 2017, algorithm 2). A `search.beam` over it is CTC's
    prefix search.

    Args:
      logits: float32 (B, T, V), see `without_end`.
      mask: bool (B, T).
    """
    says = jax.nn.log_softmax(logits)
    blank = jnp.where(mask, says[..., PAD_ID], 0)
    # Log-probabilities of the first 0 to T frames being the prefix and ending in a token, or in a blank.
    silent = jnp.pad(jnp.cumsum(blank, 1), ((0, 0), (1, 0)))
    state = (jnp.full_like(silent, -jnp.inf), silent, jnp.full(len(says), PAD_ID), jnp.zeros(len(says), says.dtype))

    def step(ids: jax.Array, place: jax.Array, fixed: Any, state: Any) -> tuple[jax.Array, Any]:
        says, mask = fixed
        longer = _longer(says, mask, ids, state)
        state = jax.tree.map(lambda new, old: jnp.where(place == 0, old, new), longer, state)
        token, blank, last, whole = state
        every, same = jnp.logaddexp(token, blank)[:, :-1], blank[:, :-1]
        of_frames = jnp.where(mask[..., None], says, -jnp.inf)
        begins = jax.nn.logsumexp(every[..., None] + of_frames, axis=1)
        # The last token again needs a blank between.
        own = jnp.take_along_axis(of_frames, last[:, None, None], 2)[..., 0]
        again = jax.nn.logsumexp(same + own, axis=1)
        tokens = jnp.arange(begins.shape[1])
        begins = jnp.where((tokens == last[:, None]) & (tokens != PAD_ID), again[:, None], begins)
        begins = jnp.where(tokens == END_ID, jnp.logaddexp(token, blank)[:, -1:], begins)
        alive = whole > -jnp.inf
        return jnp.where(alive[:, None], begins - jnp.where(alive, whole, 0)[:, None], -jnp.inf), state

    return Scorer(logits.shape[-1], (says, mask), state, step)


def _longer(says: jax.Array, mask: jax.Array, ids: jax.Array, state: Any) -> Any:
    """The state of `scorer` for the prefixes with one more token."""
    token, blank, last, _ = state
    before = jnp.where((ids == last)[:, None], blank, jnp.logaddexp(token, blank))[:, :-1]
    own = jnp.take_along_axis(says, ids[:, None, None], 2)[..., 0]

    def frame(carry: Any, now: Any) -> Any:
        token, blank = carry
        before, own, silent, there = now
        new = jnp.logaddexp(token, before) + own, jnp.logaddexp(token, blank) + silent
        carry = jax.tree.map(lambda after, old: jnp.where(there, after, old), new, carry)
        return carry, carry

    nothing = jnp.full(len(ids), -jnp.inf, says.dtype)
    _, (token, blank) = jax.lax.scan(frame, (nothing, nothing),
                                     (before.T, own.T, says[..., PAD_ID].T, mask.T))
    token, blank = (jnp.pad(x.T, ((0, 0), (1, 0)), constant_values=-jnp.inf) for x in (token, blank))
    whole = jax.nn.logsumexp(jnp.where(mask, before + own, -jnp.inf), axis=1)
    return token, blank, ids, whole
