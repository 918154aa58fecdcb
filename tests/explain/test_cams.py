"""HiResCAM is exact where all that follows a layer is linear, and says how far it is from it elsewhere."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.frames import FAST, built, clips
from vmmjax.explain import layers
from vmmjax.explain.cams import Cams, cams
from vmmjax.explain.score import of_logits
from vmmjax.models import Tokens, create, create_model


class Shallow(nn.Module):
    """Two convolutions, a mean over places: the second is followed by nothing that is not linear."""

    features: int = 6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        x = nn.Conv(5, (3, 3, 3), name='first')(x)
        x = nn.Conv(self.features, (3, 3, 3), strides=(1, 2, 2), name='last')(jnp.tanh(x))
        return Tokens(nn.relu(x).mean((2, 3)), valid), {}


@cache
def shallow() -> tuple[Any, Any, Any]:
    model = create(dict(encoders=dict(rgb=dict(name=f'{__name__}:Shallow')), fusion=dict(name='concat'),
                        head=dict(name='consensus'), preprocess=dict(rgb='signed')), 4)
    batch = {'rgb': clips(2, 3, 8), 'valid/rgb': jnp.array([[1, 1, 1], [1, 1, 0]], bool)}
    init = jax.jit(lambda key: model.init(key, batch, train=False), compiler_options=FAST)
    return model, init(jax.random.key(0)), batch


def maps(model: Any, variables: Any, batch: Any, path: str = '') -> tuple[str, Cams]:
    (stream,) = model.encoders
    found = layers.of_encoder(model, stream, variables, batch)
    path, arrange = layers.find(found, path, model.encoders[stream], batch[stream].shape)
    return path, cams(of_logits(model), path, arrange)(variables, batch, jnp.arange(len(batch[stream])))


def sums(x: jax.Array) -> np.ndarray:
    return np.asarray(x).reshape(len(x), -1).sum(1)


def test_behind_a_layer_that_is_followed_by_mean_and_head_values_are_parts_of_the_logit() -> None:
    model, variables, batch = shallow()
    path, found = maps(model, variables, batch)
    assert path == 'encoders_rgb/last'
    assert found.hirescam.shape == (2, 3, 4, 4)
    np.testing.assert_allclose(sums(found.hirescam), found.change, atol=1e-5)
    logits = jax.jit(lambda *given: model.apply(*given, train=False).logits, compiler_options=FAST)(variables, batch)
    bias = variables['params']['head']['logits']['bias']
    np.testing.assert_allclose(found.change, jnp.diagonal(logits) - bias[:2], atol=1e-5)
    assert not found.hirescam[1, 2].any(), 'a frame that is not valid has no part'


def test_an_earlier_layer_is_a_heuristic_and_says_how_far_it_is_off() -> None:
    model, variables, batch = shallow()
    _, found = maps(model, variables, batch, 'encoders_rgb/first')
    assert np.abs(sums(found.hirescam) - found.change).min() > 1e-3


def test_gradcam_is_hirescam_where_the_gradient_is_the_same_everywhere() -> None:
    model, variables, batch = shallow()
    batch = {'rgb': batch['rgb']}
    _, tokens = maps(model, variables, batch, 'encoders_rgb')
    np.testing.assert_allclose(tokens.gradcam, tokens.hirescam, atol=1e-6)
    _, first = maps(model, variables, batch, 'encoders_rgb/first')
    assert np.abs(first.gradcam - first.hirescam).max() > 1e-3


NETWORKS = {'i3d': ('Mixed_5c', dict(width_multiplier=0.03)), 'inception_v1': ('Mixed_5c', dict(width_multiplier=0.03)),
            'tsm_resnet18': ('layer4_1', dict(width_multiplier=0.125)),
            'tsn_resnet50': ('layer4_2', dict(width_multiplier=0.125)),
            'tsm_mobilenet_v2': ('features_18_1', dict(width_multiplier=0.1))}


@pytest.mark.parametrize('name', [name if name == 'tsm_resnet18' else pytest.param(name, marks=pytest.mark.slow)
                                  for name in NETWORKS])
def test_networks_of_mean_and_linear_head_are_exact_at_their_last_layer(name: str) -> None:
    last, options = NETWORKS[name]
    model, variables = built(name, **options)
    batch = {'rgb': clips(2, 9 if name == 'i3d' else 3)}
    _, found = maps(model, variables, batch, f'encoders_rgb/{last}')
    assert np.abs(found.change).min() > 1e-3
    np.testing.assert_allclose(sums(found.hirescam), found.change, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_rematerialised_layers_and_waveforms() -> None:
    model = create_model('conv1d_m5', stem=4, groups=((1, 4), (1, 6)), num_classes=3)
    batch = {'waveform': jnp.asarray(np.random.default_rng(0).normal(size=(2, 4096)), jnp.float32)}
    variables = jax.jit(lambda key: model.init(key, batch, train=False), compiler_options=FAST)(jax.random.key(0))
    path, found = maps(model, variables, batch)
    assert path == 'encoders_waveform'
    np.testing.assert_allclose(sums(found.hirescam), found.change, atol=1e-5)
    plain, variables = built('tsn_resnet18', width_multiplier=0.125)
    again = create_model('tsn_resnet18', num_classes=5, dropout=0.0, width_multiplier=0.125, remat=True)
    (path, one), (same, other) = (maps(each, variables, {'rgb': clips(1, 2)}) for each in (plain, again))
    assert path == same
    np.testing.assert_allclose(one.hirescam, other.hirescam, atol=1e-6)
