"""What else is told of a text that was written: when its words are said, how sure they are, what they rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.pipeline.text_targets import Writing


def words(writing: Writing, tokens: Sequence[str], scores: Mapping[str, np.ndarray], window: np.ndarray | None
          ) -> list[dict[str, Any]]:
    """The words of a text: `word` and `confidence`, and of a run with CTC and no context `start` and `end`.

    Times are seconds on the clock of the window; where that is not known `share` has both, from 0 to 1 of it. The
    confidence of a word is the least of its tokens; it is None, as the times are, where it is not known.

    Args:
      writing: how tokens become words.
      tokens: L of them.
      scores: of the tokens, float (at least L,): `confidence`, and where they are known `start` and `end`, see
        `Writes.compute`.
      window: float (2,), its start and length in seconds; None where they are not known.
    """
    found = []
    for first, last in writing.words(tokens):
        least = float(scores['confidence'][first:last].min())
        word: dict[str, Any] = {'word': writing.joined(tokens[first:last]),
                                'confidence': least if np.isfinite(least) else None}
        if 'start' in scores:
            ends = [float(scores['start'][first]), float(scores['end'][last - 1])]
            known = bool(np.isfinite(ends).all())
            if window is None:
                word['share'] = [round(at, 4) for at in ends] if known else None
            else:
                begin, seconds = window.tolist()
                word |= {name: round(begin + seconds * at, 3) if known else None
                         for name, at in zip(('start', 'end'), ends, strict=True)}
        found.append(word)
    return found


def attention(told: Any, shape: tuple[int, int, int]) -> jax.Array:
    """What a decoder has said of its attention to the memory.

    Args:
      told: the collection `intermediates` of a `Writer`.
      shape: (B, L, N), of texts and memory.

    Returns:
      Float32 (B, L, N), of several layers the last, of several heads the mean; zeros where it says nothing.
    """
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(told)[0]}
    # A transformer's layers attend to the text, too.
    found = [leaf for path, leaf in leaves.items() if "'attention'" in path and "'text'" not in path]
    if not found:
        return jnp.zeros(shape)
    last = found[-1] if found[-1].ndim == 3 else found[-1].mean(1)
    return last[:, :shape[1]].astype(jnp.float32)
