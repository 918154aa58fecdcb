"""The exact gradient of a loss that compares rows, in microbatches: embed, compare, embed again (Gao et al. 2021).

A batch is embedded in parts, and no activation is kept. The loss of all embeddings gives each embedding's gradient; the
parts are embedded a second time, and take theirs to the parameters. It costs one more forward pass.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Pulled = dict[str, tuple[Any, Any]]


def cached_gradients(embed: Callable[[Any, Any], Any], compare: Callable[[Any, Any], tuple[Pulled, Any]],
                     own: Callable[[str, Any], Any], params: Any, parts: Any) -> tuple[dict[str, Any], Any]:
    """Each player's gradient of its own loss.

    Args:
      embed: parameters and a part of the batch -> a tree of float arrays (rows of the part, ...). A row's embedding
        depends on no other row.
      compare: parameters and the embeddings of all rows, in order -> by player the gradients of its loss by the
        parameters and by the embeddings, and what stands beside.
      own: a player's name and a tree like the parameters -> its part of it.
      params: of the model.
      parts: the batch, (parts, rows of a part, ...); part i has the rows i, i + parts, ...

    Returns:
      The gradients by player, and what stands beside.
    """
    _, kept = jax.lax.scan(lambda carry, part: (carry, embed(params, part)), None, parts)
    pulled, beside = compare(params, jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), kept))
    count = len(jax.tree.leaves(parts)[0])
    of_parts = {name: jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), slopes)
                for name, (_, slopes) in pulled.items()}

    def one(gradients: Any, given: Any) -> Any:
        part, slopes = given
        _, pullback = jax.vjp(lambda params: embed(params, part), params)
        more = {name: own(name, pullback(slope)[0]) for name, slope in slopes.items()}
        return jax.tree.map(jnp.add, gradients, more), None

    start = {name: own(name, direct) for name, (direct, _) in pulled.items()}
    gradients, _ = jax.lax.scan(one, start, (parts, of_parts))
    return gradients, beside
