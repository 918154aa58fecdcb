from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import create_model

SIZES = dict(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
             max_position_embeddings=12, pooler=True)
MODEL = create_model('bert', num_classes=3, **SIZES)
IDS = np.random.default_rng(0).integers(0, 30, (3, 9)).astype(np.int32)
MASK = np.arange(9)[None] < np.array([9, 4, 0])[:, None]


@pytest.fixture(scope='module')
def variables() -> Any:
    made = jax.jit(lambda: MODEL.init(jax.random.key(0), {'text': IDS}, train=False), compiler_options=FAST)()
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), made)


@jax.jit
def run(variables: Any, ids: Any, mask: Any) -> Any:
    return MODEL.apply(variables, {'text': ids, 'text_mask': mask}, train=False)


def test_padding_changes_nothing(variables: Any) -> None:
    outputs = run(variables, IDS, MASK)
    other = run(variables, np.where(MASK, IDS, 99), MASK)
    short = run(variables, IDS[:2, :4], MASK[:2, :4])
    np.testing.assert_array_equal(outputs.logits, other.logits)
    np.testing.assert_allclose(outputs.endpoints['text/hidden'][1, :4], short.endpoints['text/hidden'][1], atol=1e-6)
    np.testing.assert_allclose(outputs.logits[1], short.logits[1], atol=1e-6)
    np.testing.assert_allclose(outputs.endpoints['text/pooled'][1], short.endpoints['text/pooled'][1], atol=1e-6)


def test_the_features_are_the_mean_of_the_valid_words(variables: Any) -> None:
    outputs = run(variables, IDS, MASK)
    hidden = np.asarray(outputs.endpoints['text/hidden'])
    np.testing.assert_allclose(outputs.features[1], hidden[1, :4].mean(0), atol=1e-6)
    np.testing.assert_array_equal(outputs.features[2], np.zeros(16))
    assert hidden.shape == (3, 9, 16)
    assert outputs.endpoints['text/pooled'].shape == (3, 16)


def test_gradients_are_finite_and_an_absent_row_gives_none(variables: Any) -> None:
    def loss(variables: Any, mask: Any) -> Any:
        outputs = MODEL.apply(variables, {'text': IDS, 'text_mask': mask}, train=True,
                              rngs={'dropout': jax.random.key(0)})
        return (outputs.logits ** 2).sum() + (outputs.features ** 2).sum()

    gradient = jax.jit(jax.grad(loss), compiler_options=FAST)
    some, none = gradient(variables, MASK), gradient(variables, np.zeros_like(MASK))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(some))
    assert some['params']['encoders_text']['encoder']['layer_0']['attention']['query']['kernel'].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(none))


def test_jit_remat_and_bfloat16_give_the_same(variables: Any) -> None:
    full = run(variables, IDS, MASK)
    plain = MODEL.apply(variables, {'text': IDS, 'text_mask': MASK}, train=False)
    np.testing.assert_allclose(plain.logits, full.logits, atol=1e-5)
    for options, tolerance in ((dict(remat=True), 1e-5), (dict(dtype=jnp.bfloat16), 0.02)):
        model = create_model('bert', num_classes=3, **SIZES, **options)
        other = jax.jit(lambda v, model=model: model.apply(v, {'text': IDS, 'text_mask': MASK}, train=False),
                        compiler_options=FAST)(variables)
        np.testing.assert_allclose(other.logits, full.logits, atol=tolerance * np.abs(full.logits).max())


def test_the_published_size() -> None:
    model = create_model('bert', pooler=True)
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'text': jnp.zeros((2, 16), jnp.int32)}, train=False))
    assert outputs.logits is None
    assert outputs.features.shape == (2, 768)
    # Hugging Face's BERT-base, its pooler included.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 109_482_240


def test_a_text_that_does_not_fit_is_an_error(variables: Any) -> None:
    with pytest.raises(UserError, match='13 words, and the network reads 12 at most'):
        MODEL.apply(variables, {'text': np.zeros((1, 13), np.int32)}, train=False)
    with pytest.raises(UserError, match='id 30, and the vocabulary has 30 words'):
        MODEL.apply(variables, {'text': np.full((1, 3), 30, np.int32)}, train=False)
