from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.panns_resnet import AudioBlock, AudioResNet

OPTIONS: dict[str, Any] = dict(dropout=0.1, norm=dict(use_scale=True), options={})
X = np.random.default_rng(0).normal(size=(2, 13, 6, 4)).astype(np.float32)


@pytest.mark.parametrize(('depth', 'parameters'), [(22, 63_675_087), (38, 73_783_247), (54, 104_318_159)])
def test_the_published_sizes(depth: int, parameters: int) -> None:
    model = create_model(f'panns_resnet{depth}')
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'audio': jnp.zeros((2, 1001, 64))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    assert outputs.logits.shape == (2, 527)
    assert outputs.features.shape == (2, 2048)
    assert outputs.endpoints['audio/layer4'].shape == (2, 62, 4, 2048 if depth == 54 else 512)
    assert outputs.endpoints['audio/conv_block_after1'].shape == (2, 31, 2, 2048)


@pytest.mark.parametrize('bottleneck', [False, True])
@pytest.mark.parametrize('stride', [1, 2])
def test_a_block_sees_nothing_of_invalid_frames(bottleneck: bool, stride: int) -> None:
    block = AudioBlock(3, bottleneck, stride, **OPTIONS)
    mask = jnp.broadcast_to(jnp.arange(13 // stride) < 8 // stride, (2, 13 // stride))
    variables = block.init(jax.random.key(0), X, mask, False)
    # The last scale starts at zero, so that a block starts as its shortcut.
    last = 'bn3' if bottleneck else 'bn2'
    assert not variables['params'][last]['scale'].any()
    variables = jax.tree.map(lambda leaf: leaf if leaf.ndim > 1 else leaf + 0.5, variables)
    whole = block.apply(variables, X, mask, False)
    assert whole.shape == (2, 13 // stride, 6 // stride, 12 if bottleneck else 3)
    short = block.apply(variables, X[:, :8], mask[:, :8 // stride], False)
    np.testing.assert_allclose(whole[:, :8 // stride], short, rtol=1e-5, atol=1e-5)


def test_an_unknown_depth_is_named() -> None:
    with pytest.raises(UserError, match='Known: 22, 38, 54'):
        AudioResNet(depth=50)


def test_a_narrow_network_has_the_same_layers() -> None:
    def layers(width: float) -> dict[tuple[str, ...], Any]:
        encoder = AudioResNet(depth=22, width_multiplier=width)
        shapes = jax.eval_shape(lambda: encoder.init(
            jax.random.key(0), jnp.zeros((1, 64, 64)), jnp.ones((1, 64), bool), train=False))
        return flax.traverse_util.flatten_dict(shapes['params'])

    wide, narrow = layers(1.0), layers(0.125)
    assert wide.keys() == narrow.keys()
    assert sum(leaf.size for leaf in narrow.values()) < sum(leaf.size for leaf in wide.values()) / 20
