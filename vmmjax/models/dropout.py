"""Dropout whose draws do not depend on how a batch is parted into microbatches."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import linen as nn

# Set while a model is traced: which rows of the whole batch it is given, and how many there are in all.
_ROWS: contextvars.ContextVar[tuple[jax.Array, int] | None] = contextvars.ContextVar('rows', default=None)


@contextlib.contextmanager
def rows_of_batch(rows: jax.Array | None, total: int | None) -> Iterator[None]:
    """While a model is traced: the batch is a part of a larger one, and drops what it would drop in that.

    Args:
      rows: int32 (b,), places in the whole batch; None where the batch is the whole.
      total: rows of the whole batch, B; None likewise.
    """
    token = _ROWS.set(None if rows is None or total is None else (rows, total))
    try:
        yield
    finally:
        _ROWS.reset(token)


class Dropout(nn.Dropout):
    """`flax.linen.Dropout`; in a microbatch the mask is the rows' part of that of the whole batch.

    The first axis of the inputs is the rows', or rows times anything (frames), the rows outermost.
    """

    def __call__(self, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None) -> jax.Array:
        """See `flax.linen.Dropout`."""
        part = _ROWS.get()
        off = nn.merge_param('deterministic', self.deterministic, deterministic)
        if part is None or off or self.rate in (0.0, 1.0):
            return super().__call__(inputs, deterministic, rng)
        rows, total = part
        rng = self.make_rng(self.rng_collection) if rng is None else rng
        each, rest = inputs.shape[0] // len(rows), [1 if axis in self.broadcast_dims else length
                                                    for axis, length in enumerate(inputs.shape)][1:]
        # Drawn for the whole batch, as it would be there; only the part is computed, as each number is for itself.
        keep = jax.random.bernoulli(rng, 1 - self.rate, (total * each, *rest)).reshape(total, each, *rest)[rows]
        keep = keep.reshape(inputs.shape[0], *rest)
        return jnp.where(keep, inputs / (1 - self.rate), jnp.zeros_like(inputs))
