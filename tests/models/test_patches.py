import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax import models
from vmmjax.errors import UserError
from vmmjax.models.patches import Patches
from vmmjax.models.video_transformer import VideoTransformer

SMALL = dict(hidden_size=8)


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def mbt(streams, layers=2, fused=2):
    return models.create(dict(
        encoders={name: dict(name='patches', size=(1, 4, 4) if name == 'audio' else (2, 4, 4), **SMALL)
                  for name in streams},
        preprocess={name: 'none' if name == 'audio' else 'signed' for name in streams},
        fusion=dict(name='bottleneck', features=8, num_hidden_layers=layers, num_attention_heads=2,
                    fusion_layer=fused, project=False),
        head=dict(name='consensus')), 3)


def test_a_patch_is_its_linear_map_at_its_position():
    x, valid = drawn(2, 4, 8, 12, 3), jnp.asarray([[True] * 4, [True, False, False, False]])
    encoder = Patches(size=(2, 4, 4), **SMALL)
    variables = encoder.init(jax.random.key(0), x, valid, train=False)
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * drawn(*leaf.shape), variables)
    tokens, endpoints = encoder.apply(variables, x, valid, train=False)
    assert tokens.x.shape == (2, 2 * 2 * 3, 8)
    assert not endpoints
    kernel, bias = (variables['params']['patch_embeddings'][name] for name in ('kernel', 'bias'))
    patch = x[1, 2:4, 4:8, 8:12]  # The second time, the second row, the third of a row.
    expected = (patch[..., None] * kernel).sum((0, 1, 2, 3)) + bias
    position = variables['params']['embeddings']['position_embeddings'][0, 6 + 3 + 2]
    np.testing.assert_allclose(tokens.x[1, 6 + 3 + 2], expected + position, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(tokens.mask, [[True] * 12, [True] * 6 + [False] * 6])


def test_a_spectrogram_is_a_picture_of_frames_and_bands():
    x, valid = drawn(2, 9, 8), jnp.asarray([[True] * 9, [True] * 4 + [False] * 5])
    encoder = Patches(size=(1, 4, 4), **SMALL)
    variables = encoder.init(jax.random.key(0), x, valid, train=False)
    tokens, _ = encoder.apply(variables, x, valid, train=False)
    assert tokens.x.shape == (2, 4, 8)
    np.testing.assert_array_equal(tokens.mask, [[True] * 4, [True, True, False, False]])
    np.testing.assert_array_equal(encoder.apply(variables, x.at[:, 8].set(9.0), valid, train=False)[0].x, tokens.x)
    with pytest.raises(UserError, match=r'set size=\(1, 4, 4\)'):
        Patches(size=(2, 4, 4)).init(jax.random.key(0), x, valid, train=False)
    with pytest.raises(UserError, match='holds no tubelet'):
        encoder.init(jax.random.key(0), x[:, :3], valid[:, :3], train=False)


@pytest.mark.slow
def test_with_the_bottleneck_of_one_stream_it_is_a_joint_transformer():
    """Blocks, first token and normalisation lie in the fusion, and give what they give in one network."""
    x = drawn(2, 4, 8, 8, 3)
    joint = VideoTransformer(tubelet=(2, 4, 4), num_hidden_layers=2, temporal_layers=0, joint=True, hidden_size=8,
                             num_attention_heads=2, intermediate_size=32)
    whole = joint.init(jax.random.key(0), x, jnp.ones((2, 4), bool), train=False)['params']
    whole = jax.tree.map(lambda leaf: leaf + 0.1 * drawn(*leaf.shape), whole)
    expected, _ = joint.apply({'params': whole}, x, jnp.ones((2, 4), bool), train=False)
    model = mbt(['rgb'])
    first, positions = whole['embeddings']['cls_token'], whole['embeddings']['position_embeddings']
    params = model.init(jax.random.key(1), {'rgb': x}, train=False)['params']
    params = params | {
        'encoders_rgb': {'patch_embeddings': whole['patch_embeddings'],
                         'embeddings': {'position_embeddings': positions[:, 1:]}},
        'fusion': {'cls_rgb': (first + positions[:, :1])[0], 'norm': whole['layernorm'],
                   **{f'layer_{i}_rgb': whole['encoder'][f'layer_{i}'] for i in range(2)}}}
    found = model.apply({'params': params}, {'rgb': x}, train=False)
    np.testing.assert_allclose(found.features, expected.x[:, 0], rtol=1e-4, atol=1e-5)


def test_streams_know_of_each_other_from_the_layer_where_they_are_fused():
    batch = {'rgb': drawn(2, 4, 8, 8, 3), 'audio': drawn(2, 8, 8)}
    other = batch | {'audio': -batch['audio']}
    for layers, fused, reached in ((2, 2, False), (2, 1, False), (3, 1, True)):
        model = mbt(['audio', 'rgb'], layers, fused)
        variables = model.init(jax.random.key(0), batch, train=False)

        def of_pictures(batch, model=model, variables=variables):
            return model.apply(variables, batch, train=False, capture_intermediates=lambda module, _: (
                module.name == 'norm'))[1]['intermediates']['fusion']['norm']['__call__'][1]

        assert np.allclose(of_pictures(batch), of_pictures(other), atol=1e-7) != reached


def test_tokens_that_are_not_mapped_have_the_fusions_length():
    model = models.create(dict(
        encoders=dict(rgb=dict(name='patches', size=(1, 4, 4), hidden_size=6)), preprocess=dict(rgb='signed'),
        fusion=dict(name='transformer', features=8, project=False), head={}), 0)
    with pytest.raises(UserError, match="'rgb' have 6 features and the fusion 8; set its features to 6"):
        model.init(jax.random.key(0), {'rgb': drawn(1, 2, 8, 8, 3)}, train=False)
