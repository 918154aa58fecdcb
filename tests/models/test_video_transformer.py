from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import MultimodalModel, create_model

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, num_classes=3)
NAMES = {'vivit': dict(tubelet=(2, 4, 4), temporal_layers=2), 'vivit_joint': dict(tubelet=(2, 4, 4)),
         'vit': dict(tubelet=(1, 4, 4))}
CLIP = np.random.default_rng(0).normal(size=(3, 6, 8, 12, 3)).astype(np.float32)
VALID = np.arange(6)[None] < np.array([6, 3, 0])[:, None]


def made(name: str, **options: Any) -> MultimodalModel:
    return create_model(name, **SIZES, **NAMES[name], **options)


@pytest.fixture(scope='module', params=NAMES)
def network(request: pytest.FixtureRequest) -> Any:
    """The name, its variables, and the compiled model."""
    model = made(request.param)
    variables = jax.jit(lambda: model.init(jax.random.key(0), {'rgb': CLIP}, train=False), compiler_options=FAST)()
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), variables)
    return request.param, variables, jax.jit(lambda x, valid: model.apply(
        variables, {'rgb': x, 'valid/rgb': valid}, train=False), compiler_options=FAST)


def test_invalid_frames_change_nothing(network: Any) -> None:
    name, _, run = network
    outputs = run(CLIP, VALID)
    noisy = run(np.where(VALID[..., None, None, None], CLIP, np.nan), VALID)
    np.testing.assert_array_equal(outputs.logits, noisy.logits)
    assert np.isfinite(outputs.features).all()
    assert not outputs.logits[2].any()
    # A tubelet of the third frame and an invalid one is valid.
    tokens = {'vivit': (3, 3, 16), 'vivit_joint': (3, 1, 16), 'vit': (3, 6, 16)}[name]
    assert outputs.endpoints['rgb/tokens'].shape == tokens
    if name != 'vit':
        black = run(np.where(np.arange(6)[:, None, None, None] < 3, CLIP, 0), np.arange(6)[None] < [[4]] * 3)
        np.testing.assert_allclose(outputs.logits[1], black.logits[1], atol=1e-6)


def test_gradients_are_finite_and_come_from_valid_frames(network: Any) -> None:
    name, variables, _ = network
    model = made(name, dropout=0.2)

    def loss(params: Any, clip: Any, valid: Any) -> Any:
        outputs = model.apply({'params': params}, {'rgb': clip, 'valid/rgb': valid}, train=True,
                              rngs={'dropout': jax.random.key(0)})
        return (outputs.logits ** 2).sum() + (outputs.features ** 2).sum()

    gradient = jax.jit(jax.grad(loss, (0, 1)), compiler_options=FAST)
    some, clip = gradient(variables['params'], CLIP, VALID)
    assert all(np.isfinite(leaf).all() and leaf.any() for path, leaf in jax.tree.leaves_with_path(some)
               if 'key/bias' not in jax.tree_util.keystr(path, simple=True, separator='/'))
    np.testing.assert_array_equal(np.asarray(clip).any((2, 3, 4)), VALID)
    none, _ = gradient(variables['params'], CLIP, np.zeros_like(VALID))
    assert not any(leaf.any() for leaf in jax.tree.leaves(none))


def test_jit_remat_and_bfloat16_give_the_same(network: Any) -> None:
    name, variables, run = network
    full = run(CLIP, VALID).logits
    for options, tolerance in ((dict(), 1e-5), (dict(remat=True), 1e-5), (dict(dtype=jnp.bfloat16), 0.02)):
        model = made(name, **options)

        def apply(clip: Any, model: MultimodalModel = model) -> Any:
            return model.apply(variables, {'rgb': clip, 'valid/rgb': VALID}, train=False).logits

        other = (jax.jit(apply, compiler_options=FAST) if options else apply)(CLIP)
        np.testing.assert_allclose(other, full, atol=tolerance * np.abs(full).max())


def test_which_frames_a_token_sees(network: Any) -> None:
    name, _, run = network
    before = run(CLIP[:1], VALID[:1]).endpoints['rgb/tokens']
    changed = CLIP[:1].copy()
    changed[:, 4] += 1
    moved = (run(changed, VALID[:1]).endpoints['rgb/tokens'] != before).any((0, 2))
    assert moved.tolist() == {'vivit': [True] * 3, 'vivit_joint': [True], 'vit': [False] * 4 + [True, False]}[name]


@pytest.mark.parametrize(('shape', 'patches', 'times'), [((4, 8, 8), 4, 2), ((7, 9, 21), 10, 3), ((2, 4, 4), 1, 1)])
def test_any_length_and_size(shape: tuple[int, int, int], patches: int, times: int) -> None:
    model = made('vivit')
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((2, *shape, 1))}, train=False))
    encoder = variables['params']['encoders_rgb']
    assert encoder['embeddings']['position_embeddings'].shape == (1, 1 + patches, 16)
    assert encoder['temporal_embeddings']['position_embeddings'].shape == (1, times, 16)
    assert encoder['patch_embeddings']['kernel'].shape == (2, 4, 4, 1, 16)
    assert outputs.endpoints['rgb/tokens'].shape == (2, times, 16)


def test_tubelets_begin_as_the_picture_in_their_middle() -> None:
    model = made('vivit')
    variables = model.init(jax.random.key(0), {'rgb': CLIP}, train=False)
    kernel = variables['params']['encoders_rgb']['patch_embeddings']['kernel']
    assert not kernel[0].any()
    assert 0.01 < kernel[1].std() < 0.03


def test_another_size_than_at_initialisation_is_an_error(network: Any) -> None:
    name, _, run = network
    with pytest.raises(UserError, match='8 patches, and the network was made for 6' if name != 'vivit_joint' else
                       '24 patches, and the network was made for 18'):
        run(np.zeros((1, 6, 8, 16, 3), np.float32), np.ones((1, 6), bool))
    with pytest.raises(UserError, match=r'6 x 3 x 12 .* holds no tubelet of . x 4 x 4'):
        run(np.zeros((1, 6, 3, 12, 3), np.float32), np.ones((1, 6), bool))


@pytest.mark.parametrize(('name', 'frames', 'millions'), [('vit', 1, 86.568), ('vivit_joint', 32, 88.954)])
def test_the_published_sizes(name: str, frames: int, millions: float) -> None:
    model = create_model(name)
    variables = jax.eval_shape(lambda: model.init(
        jax.random.key(0), {'rgb': jnp.zeros((1, frames, 224, 224, 3))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) / 1e6 == pytest.approx(millions, abs=0.001)
