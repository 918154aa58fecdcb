"""Where in time the tokens of a text are said: the likeliest path of CTC through it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vmmjax.models.decoders.vocabulary import PAD_ID

_NEVER = -1e9  # Not infinity, whose differences are NaN.


class Aligned(NamedTuple):
    """Of every token of a text, (B, L); NaN behind its end, and where the text does not fit into the frames.

    Attributes:
      start: float32, where its first frame begins, from 0 (the beginning of all frames) to 1 (their end).
      end: float32, where its last frame ends.
      confidence: float32, the greatest probability that one of its frames gives it.
    """

    start: jax.Array
    end: jax.Array
    confidence: jax.Array


def align(logits: jax.Array, mask: jax.Array, ids: jax.Array) -> Aligned:
    """Finds the likeliest path of frames whose text is the one given (Viterbi; Graves et al. 2006, section 4.1).

    Args:
      logits: float32 (B, T, V) of frames, see `ctc.without_end`.
      mask: bool (B, T), frames that stand for something.
      ids: int32 (B, L), texts, `PAD_ID` behind their ends.
    """
    frames, length = logits.shape[1], ids.shape[1]
    order = jnp.argsort(~mask, axis=1, stable=True)
    there = jnp.take_along_axis(mask, order, 1)
    says = jnp.take_along_axis(jax.nn.log_softmax(logits), order[..., None], 1)
    # Blanks around every token.
    path = jnp.stack([jnp.full_like(ids, PAD_ID), ids], 2).reshape(len(ids), -1)
    path = jnp.pad(path, ((0, 0), (0, 1)), constant_values=PAD_ID)
    states = jnp.arange(2 * length + 1)
    skips = (states % 2 == 1) & (path != jnp.pad(path, ((0, 0), (2, 0)), constant_values=-1)[:, :-2])
    emits = jnp.take_along_axis(says, path[:, None], 2)
    best = jnp.where(states < 2, emits[:, 0], _NEVER)

    def forward(best: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        emit, valid = now
        one, two = (jnp.pad(best, ((0, 0), (back, 0)), constant_values=_NEVER)[:, :-back] for back in (1, 2))
        ways = jnp.stack([best, one, jnp.where(skips, two, _NEVER)])
        back = jnp.where(valid[:, None], ways.argmax(0), 0)
        return jnp.where(valid[:, None], ways.max(0) + emit, best), back

    best, backs = jax.lax.scan(forward, best, (emits[:, 1:].swapaxes(0, 1), there[:, 1:].T))
    last = 2 * (ids != PAD_ID).sum(1)
    ends = jnp.stack([last, jnp.maximum(last - 1, 0)], 1)
    values = jnp.take_along_axis(best, ends, 1)
    state = jnp.take_along_axis(ends, values.argmax(1)[:, None], 1)[:, 0]

    def backward(state: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
        before = state - jnp.take_along_axis(back, state[:, None], 1)[:, 0]
        return before, state

    first, rest = jax.lax.scan(backward, state, backs, reverse=True)
    taken = jnp.concatenate([first[None], rest]).T
    own = (taken[..., None] == 2 * jnp.arange(length) + 1) & there[..., None]
    fits = (values.max(1) > _NEVER / 2)[:, None] & own.any(1) & (ids != PAD_ID)
    said = jnp.take_along_axis(says, ids[:, None], 2)

    def of_tokens(values: jax.Array) -> jax.Array:
        return jnp.where(fits, values, jnp.nan).astype(jnp.float32)

    begin = jnp.where(own, order[..., None], frames).min(1)
    end = jnp.where(own, order[..., None] + 1, 0).max(1)
    return Aligned(of_tokens(begin / frames), of_tokens(end / frames),
                   of_tokens(jnp.exp(jnp.where(own, said, -jnp.inf).max(1))))
