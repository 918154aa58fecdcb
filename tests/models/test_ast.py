from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import create_model

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, num_classes=3)
MODEL = create_model('ast', **SIZES)
SOUND = np.random.default_rng(0).normal(size=(3, 56, 32)).astype(np.float32)
VALID = np.arange(56)[None] < np.array([56, 27, 0])[:, None]


@pytest.fixture(scope='module')
def variables() -> Any:
    made = jax.jit(lambda: MODEL.init(jax.random.key(0), {'audio': SOUND}, train=False), compiler_options=FAST)()
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), made)


@jax.jit
def run(variables: Any, sound: Any, valid: Any) -> Any:
    return MODEL.apply(variables, {'audio': sound, 'valid/audio': valid}, train=False)


def test_invalid_frames_change_nothing(variables: Any) -> None:
    outputs = run(variables, SOUND, VALID)
    noisy = run(variables, np.where(VALID[..., None], SOUND, np.nan), VALID)
    np.testing.assert_array_equal(outputs.logits, noisy.logits)
    assert np.isfinite(outputs.endpoints['audio/hidden']).all()
    assert not outputs.logits[2].any()
    assert outputs.endpoints['audio/hidden'].shape == (3, 2 + 2 * 5, 16)
    assert outputs.endpoints['audio/tokens'].shape == (3, 1, 16)
    # Patches begin at 0, 10, 20, 30 and 40; of 27 frames the first three see something.
    changed = SOUND.copy()
    changed[1, 27:] = 0
    three = run(variables, changed, np.arange(56)[None] < [[56], [30], [0]])
    np.testing.assert_allclose(three.logits, outputs.logits, atol=1e-6)


def test_gradients_are_finite_and_an_absent_row_gives_none(variables: Any) -> None:
    def loss(params: Any, valid: Any) -> Any:
        outputs = MODEL.apply({'params': params}, {'audio': SOUND, 'valid/audio': valid}, train=True,
                              rngs={'dropout': jax.random.key(0)})
        return (outputs.logits ** 2).sum() + (outputs.features ** 2).sum()

    gradient = jax.jit(jax.grad(loss), compiler_options=FAST)
    some, none = (gradient(variables['params'], valid) for valid in (VALID, np.zeros_like(VALID)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(some))
    assert some['encoders_audio']['patch_embeddings']['kernel'].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(none))


def test_jit_remat_and_bfloat16_give_the_same(variables: Any) -> None:
    full = run(variables, SOUND, VALID).logits
    for options, tolerance in ((dict(), 1e-5), (dict(remat=True), 1e-5), (dict(dtype=jnp.bfloat16), 0.02)):
        model = create_model('ast', **SIZES, **options)

        def apply(sound: Any, model: Any = model) -> Any:
            return model.apply(variables, {'audio': sound, 'valid/audio': VALID}, train=False).logits

        other = (jax.jit(apply, compiler_options=FAST) if options else apply)(SOUND)
        np.testing.assert_allclose(other, full, atol=tolerance * np.abs(full).max())


def test_the_published_size() -> None:
    model = create_model('ast', num_classes=2)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), {'audio': jnp.zeros((1, 1024, 128))}, train=False))
    # Hugging Face's with two classes.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) / 1e6 == pytest.approx(86.19, abs=0.005)


def test_a_sound_that_does_not_fit_is_an_error(variables: Any) -> None:
    with pytest.raises(UserError, match='8 patches, and the network was made for 10'):
        run(variables, np.zeros((1, 46, 32), np.float32), np.ones((1, 46), bool))
    with pytest.raises(UserError, match='15 frames and 32 bands holds no patch'):
        run(variables, np.zeros((1, 15, 32), np.float32), np.ones((1, 15), bool))
