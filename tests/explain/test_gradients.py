"""Completeness: attributions of all streams and words sum to the difference, the nearer the more steps."""

import itertools
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.frames import FAST
from vmmjax.explain import baselines, layers
from vmmjax.explain.gradients import Attributions, integrated_gradients, until_complete
from vmmjax.explain.score import of_logits
from vmmjax.models import Tokens, create


class Smooth(nn.Module):
    """One token a frame, with a curve in it unless it is to be linear."""

    features: int = 4
    linear: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        x = nn.Dense(self.features)(x.reshape(*x.shape[:2], -1))
        return Tokens(x if self.linear else jnp.tanh(2 * x), valid), {}


@cache
def built(linear: bool = False) -> tuple[Any, Any, Any, Any]:
    """A model of pictures, sound and words, its variables, a batch and the layer of the words."""
    smooth = dict(name=f'{__name__}:Smooth', linear=linear)
    text = {} if linear else dict(text=dict(name='gru', vocab_size=9, embedding_size=4, hidden_size=4))
    encoders = dict(audio=smooth, rgb=smooth, **text)
    model = create(dict(encoders=encoders, fusion=dict(name='concat'), head=dict(name='consensus'),
                        preprocess=dict(audio='none', rgb='signed', **dict.fromkeys(text, 'ids'))), 3)
    random = np.random.default_rng(0)
    batch = {'rgb': random.uniform(-1, 1, (2, 3, 4, 4, 3)).astype(np.float32),
             'audio': random.normal(size=(2, 6, 5)).astype(np.float32), 'valid/audio': np.arange(6) < [[6], [4]]}
    if text:
        batch |= {'text': random.integers(0, 9, (2, 5)).astype(np.int32), 'text_mask': np.arange(5) < [[5], [3]]}
    variables = jax.jit(lambda key: model.init(key, batch, train=False), compiler_options=FAST)(jax.random.key(0))
    words = {'text': layers.words(layers.of_encoder(model, 'text', variables, batch))} if text else {}
    return model, variables, batch, words


def attributed(linear: bool, steps: int) -> Attributions:
    _, variables, batch, _ = built(linear)
    start = {name: baselines.baseline(batch[name], batch.get(f'valid/{name}')) for name in ('audio', 'rgb')}
    return run(linear)(variables, batch, start, jnp.array([0, 2]), steps)


@cache
def run(linear: bool) -> Any:
    model, _, _, words = built(linear)
    return integrated_gradients(of_logits(model), words)


def test_the_residual_shrinks_with_the_steps() -> None:
    residuals = [np.abs(attributed(False, steps).residual).max() for steps in (1, 4, 16, 64)]
    assert all(after < before / 2 for before, after in itertools.pairwise(residuals)), residuals
    found = attributed(False, 64)
    assert np.abs(found.change).min() > 0.01
    assert residuals[-1] < 1e-3 * np.abs(found.change).max()
    assert {name: x.shape for name, x in found.of.items()} == {
        'audio': (2, 6, 5), 'rgb': (2, 3, 4, 4), 'text': (2, 5)}
    assert not found.of['text'][1, 3:].any()
    assert not found.of['audio'][1, 4:].any()
    assert np.abs(found.of['text'][1, :3]).min() > 0


def test_a_linear_model_needs_one_step() -> None:
    found = attributed(True, 1)
    np.testing.assert_allclose(found.residual, 0, atol=1e-6)
    for name, values in attributed(True, 7).of.items():
        np.testing.assert_allclose(values, found.of[name], atol=1e-6)


def test_steps_are_doubled_until_it_is_complete() -> None:
    _, variables, batch, _ = built()
    start = {name: baselines.baseline(batch[name]) for name in ('audio', 'rgb')}
    given = variables, batch, start, jnp.array([0, 2])
    found, steps = until_complete(run(False), *given, first=1)
    assert 1 < steps < 256
    assert (np.abs(found.residual) <= 0.05 * np.abs(found.change)).all()
    before = run(False)(*given, steps // 2)
    assert (np.abs(before.residual) > 0.05 * np.abs(before.change)).any()
    assert until_complete(run(False), *given, first=1, most=1)[1] == 1


def test_baselines_are_named() -> None:
    sound = jnp.array([[[3.0, 2.0], [1.0, 5.0], [-9.0, 0.0]]])
    np.testing.assert_array_equal(baselines.baseline(sound), np.full((1, 3, 2), -9))
    np.testing.assert_array_equal(baselines.baseline(sound, jnp.array([[True, True, False]])), np.ones((1, 3, 2)))
    np.testing.assert_array_equal(baselines.baseline(sound, jnp.zeros((1, 3), bool)), np.zeros((1, 3, 2)))
    named = [baselines.named(jnp.zeros(shape, dtype), way) for shape, dtype, way in (
        ((1, 2, 2, 2, 3), 'float32', 'signed'), ((1, 2, 2), 'float32', 'none'), ((1, 9), 'float32', 'none'),
        ((1, 4), 'int32', 'ids'))]
    assert named == ['grey', "silence (the clip's least value)", 'silence', 'no word (a vector of zeros)']


@pytest.mark.parametrize('steps', [3, 50])
def test_one_compilation_serves_any_number_of_steps(steps: int) -> None:
    attributed(True, 2)
    before = run(True)._cache_size()
    attributed(True, steps)
    assert run(True)._cache_size() == before
