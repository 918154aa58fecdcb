"""Times of tokens are those of the likeliest path, found by going through all paths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.models.decoders.test_ctc import FRAMES, LONGEST, TEXTS, VOCABULARY, collapsed, logits_of, padded
from tests.models.frames import FAST
from vmmjax.models.decoders import alignment
from vmmjax.models.decoders.vocabulary import PAD_ID

align = jax.jit(alignment.align, compiler_options=FAST)


def by_paths(logits, mask, text):
    """Start, end and confidence of every token, from the likeliest of all paths of the valid frames."""
    places = np.flatnonzero(mask)
    says = special.softmax(np.asarray(logits, np.float64), axis=-1)
    paths = [path for path in itertools.product(range(VOCABULARY), repeat=len(places)) if collapsed(path) == text]
    if not paths:
        return [(np.nan,) * 3] * len(text)
    best = max(paths, key=lambda path: np.prod([says[place, token] for place, token in zip(places, path, strict=True)]))
    found = []
    for token, run in itertools.groupby(zip(places.tolist(), best, strict=True), key=lambda pair: pair[1]):
        frames = [place for place, _ in run]
        if token != PAD_ID:
            found.append((frames[0] / FRAMES, (frames[-1] + 1) / FRAMES, max(says[place, token] for place in frames)))
    return found


@pytest.mark.parametrize('mask', [(1, 1, 1, 1, 1), (0, 1, 1, 1, 1), (1, 1, 0, 1, 0)])
def test_the_likeliest_path_says_when(mask):
    logits = jnp.repeat(logits_of(3), len(TEXTS), 0)
    valid = jnp.asarray([mask] * len(TEXTS), bool)
    found = align(logits, valid, padded(TEXTS, PAD_ID))
    for row, text in enumerate(TEXTS):
        expected = np.full((LONGEST, 3), np.nan)
        if text:
            expected[:len(text)] = by_paths(logits[row], mask, text)
        np.testing.assert_allclose(np.stack([part[row] for part in found], 1), expected, rtol=1e-5, err_msg=str(text))


def test_nothing_is_said_in_no_frames():
    found = align(logits_of(0), jnp.zeros((1, FRAMES), bool), padded([(2, 3)], PAD_ID))
    assert all(np.isnan(part).all() for part in found)
