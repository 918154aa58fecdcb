"""Where and when, down to the input: integrated gradients over all streams at once.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017. Completeness: attributions of all streams
sum to the difference between the score and that of the baselines. The sum over steps comes near it; how near is told.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.explain.layers import changed
from vmmjax.explain.score import Batch, Score

FIRST_STEPS, MOST_STEPS = 16, 256
TOLERANCE = 0.05  # Of the difference that attributions are to sum to.


@flax.struct.dataclass
class Attributions:
    """Integrated gradients.

    Attributes:
      of: stream -> attributions: pictures and motion (B, T, H, W), spectra (B, F, M), waveforms (B, S), words (B, L).
      change: (B,), the score less that of the baselines: what attributions sum to with steps enough.
    """

    of: dict[str, jax.Array]
    change: jax.Array

    @property
    def residual(self) -> jax.Array:
        """(B,), `change` less the sum."""
        return self.change - sum(each.reshape(len(each), -1).sum(1) for each in self.of.values())


Run = Callable[[Any, Batch, Mapping[str, jax.Array], jax.Array, int], Attributions]


def integrated_gradients(score: Score, words: Mapping[str, str]) -> Run:
    """A compiled function of (variables, batch, baselines, classes, steps) that gives `Attributions`.

    Steps follow one another, each at the middle of its part of the straight path from the baselines to the clip, so
    that neither memory nor compilation grows with their number.

    Args:
      score: what is explained.
      words: of streams of words, the path of the layer that makes vectors of them: the path begins with vectors of
        zeros there. All other streams have an array in `baselines`, see `baselines.baseline`.
    """
    def attributions(variables: Any, batch: Batch, baselines: Mapping[str, jax.Array], classes: jax.Array,
                     steps: jax.Array) -> Attributions:
        away = {name: batch[name] - start for name, start in baselines.items()}

        def run(deltas: dict[str, Any], share: jax.Array | float) -> Any:
            """The scores at a share of the way, and the words' vectors."""
            vectors: dict[str, jax.Array] = {}

            def change(stream: str, x: jax.Array) -> jax.Array:
                vectors[stream] = x
                return share * x + deltas[stream]

            moved = {name: start + share * away[name] + deltas[name] for name, start in baselines.items()}
            with changed({path: functools.partial(change, stream) for stream, path in words.items()}):
                scores = score(variables, {**batch, **moved}, classes)
            return scores.sum(), (scores, vectors)

        still: dict[str, Any] = {name: jnp.zeros_like(each) for name, each in away.items()} | dict.fromkeys(words, 0.0)
        vectors = jax.eval_shape(run, still, 1.0)[1][1]
        still |= {name: jnp.zeros(each.shape, each.dtype) for name, each in vectors.items()}
        ends, seen = jax.lax.map(lambda share: run(still, share)[1], jnp.array([0.0, 1.0]))

        def step(k: jax.Array, total: dict[str, jax.Array]) -> dict[str, jax.Array]:
            gradient = jax.grad(run, has_aux=True)(still, (k + 0.5) / steps)[0]
            return jax.tree.map(jnp.add, total, gradient)

        total = jax.lax.fori_loop(0, steps, step, still)
        found = {name: total[name] / steps * each for name, each in away.items()}
        found |= {name: total[name] / steps * seen[name][1] for name in words}
        # Channels, and what a word's vector holds, are one.
        return Attributions({name: each.sum(-1) if each.ndim == 5 or name in words else each
                             for name, each in found.items()}, ends[1] - ends[0])

    return jax.jit(attributions)


def until_complete(run: Run, variables: Any, batch: Batch, baselines: Mapping[str, jax.Array], classes: jax.Array, *,
                   first: int = FIRST_STEPS, most: int = MOST_STEPS) -> tuple[Attributions, int]:
    """Doubles the steps until no clip's residual is more than 5 % of its change.

    Args:
      run: of `integrated_gradients`.
      variables: of the model.
      batch: normalised.
      baselines: of all streams that are no words.
      classes: int32 (B,).
      first: steps to begin with.
      most: steps at which it stops, complete or not.

    Returns:
      The attributions and the number of steps.
    """
    steps = first
    while True:
        found = run(variables, batch, baselines, classes, steps)
        if 2 * steps > most or bool(np.all(np.abs(found.residual) <= TOLERANCE * np.abs(found.change))):
            return found, steps
        steps *= 2
