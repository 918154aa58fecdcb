"""Which layer is taken of each network, and that what it gives lies where its input does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.explain.test_cams import shallow
from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.explain import layers
from vmmjax.models import create_model

TINY = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
RGB, SOUND = (2, 4, 32, 32, 3), (2, 96, 64)
# Name -> options, input, the layer without the stream's name, and what it gives on the axes of the input.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...], str, tuple[int, ...]]] = {
    'i3d': (dict(width_multiplier=0.03), RGB, 'Mixed_3c', (2, 2, 4, 4)),
    'inception_v1': (dict(width_multiplier=0.03), (2, 4, 128, 128, 3), 'Mixed_5c', (2, 4, 4, 4)),
    'tsm_resnet18': (dict(width_multiplier=0.125), (2, 4, 112, 128, 3), 'layer4_1', (2, 4, 4, 4)),
    'mobilenet_v2': (dict(width_multiplier=0.1), (2, 4, 112, 128, 3), 'features_18_1', (2, 4, 4, 4)),
    'vgg16': (dict(width_multiplier=0.02), (2, 4, 64, 64, 3), 'features_28', (2, 4, 4, 4)),
    'vit': (dict(TINY, tubelet=(1, 8, 8)), RGB, 'patch_embeddings', (2, 4, 4, 4)),
    'vivit': (dict(TINY, tubelet=(2, 8, 16), temporal_layers=1), RGB, 'patch_embeddings', (2, 2, 4, 2)),
    'patches': (dict(size=(2, 16, 16), hidden_size=8), RGB, 'patch_embeddings', (2, 2, 2, 2)),
    'tdnn': (dict(widths=(4,), strides=(2,), frame_size=4, features=4), RGB, 'norm_1', (2, 2)),
    'conv2d_audio': (dict(widths=(4, 4), features=4), SOUND, 'norm_2', (2, 48, 32)),
    'panns_cnn6': (dict(widths=(4, 4, 4, 4), features=4), SOUND, 'conv_block4', (2, 12, 8)),
    'panns_resnet22': (dict(width_multiplier=0.02, features=4), (2, 160, 160), 'conv_block_after1', (2, 5, 5)),
    'vggish': (dict(widths=(4, 4, 4, 4, 4, 4), hidden=4, features=4), (2, 200, 64), 'features_13', (2, 24, 8)),
    'ast': (TINY, (2, 56, 36), 'patch_embeddings', (2, 5, 3)),
    'conv1d_m5': (dict(stem=4, groups=((1, 4), (1, 4))), (2, 4096), '', (2, 16)),
    'bert': (dict(TINY, vocab_size=9), (2, 7), 'embeddings/word_embeddings', (2, 7)),
    'lstm': (dict(vocab_size=9, embedding_size=4, hidden_size=4), (2, 7), 'word_embeddings', (2, 7)),
}


def made(name: str) -> tuple[Any, str, Any, Any]:
    """A model, its stream, the shapes of its variables, and a batch."""
    options, shape, _, _ = NETWORKS[name]
    model = create_model(name, num_classes=3, **options)
    (stream,) = model.encoders
    batch = {stream: jax.ShapeDtypeStruct(shape, jnp.int32 if model.normalisation[stream] == 'ids' else jnp.float32)}
    return model, stream, jax.eval_shape(lambda batch: model.init(jax.random.key(0), batch, train=False), batch), batch


QUICK = ('tsm_resnet18', 'vivit', 'conv2d_audio', 'ast', 'tdnn', 'lstm')


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS])
def test_the_layer_that_is_chosen(name: str) -> None:
    model, stream, variables, batch = made(name)
    _, shape, expected, axes = NETWORKS[name]
    found = layers.of_encoder(model, stream, variables, batch)
    path, arrange = layers.find(found, '', model.encoders[stream], shape)
    assert path == f'encoders_{stream}/{expected}'.rstrip('/')
    assert jax.eval_shape(arrange, jax.ShapeDtypeStruct(found[path].shape, 'float32')).shape[:-1] == axes


@pytest.mark.parametrize('name', ['ast', pytest.param('vivit', marks=pytest.mark.slow)])
def test_the_tokens_of_transformers_lie_where_their_patches_do(name: str) -> None:
    """One patch that is not black is one place of the map, in the middle blocks, too, whose first tokens are none."""
    model, stream, _, batch = made(name)
    x = np.zeros(batch[stream].shape, np.float32)
    if name == 'ast':
        x[:, 20:26, 10:16] = 1  # Only in the patches that begin at 10 or 20, and at 0 or 10.
        lit = np.zeros((5, 3), bool)
        lit[1:3, :2] = True
    else:
        x[:, 2:4, 8:16, 16:32] = 1
        lit = np.zeros((2, 4, 2), bool)
        lit[1, 1, 1] = True
    variables = jax.jit(lambda key: model.init(key, {stream: x}, train=False), compiler_options=FAST)(
        jax.random.key(0))
    found = layers.of_encoder(model, stream, variables, {stream: x})
    for place in ('patch_embeddings', 'encoder/layer_0'):
        path, arrange = layers.find(found, f'encoders_{stream}/{place}', model.encoders[stream], x.shape)
        kept: list[jax.Array] = []

        def keep(x: jax.Array, kept: list[jax.Array] = kept) -> jax.Array:
            kept.append(x)
            return x

        for shown in (x, np.zeros_like(x)):
            with layers.changed({path: keep}):
                model.apply(variables, {stream: shown}, train=False)
        moved = np.abs(np.asarray(arrange(kept[0]) - arrange(kept[1]))).max(-1)[0]
        if place == 'patch_embeddings':
            np.testing.assert_array_equal(moved > 0, lit)
        else:
            assert moved[lit].min() > 2 * moved[~lit].max()


def test_a_layer_that_is_not_there_or_has_no_time_is_a_sentence() -> None:
    model, variables, batch = shallow()
    found = layers.of_encoder(model, 'rgb', variables, batch)
    encoder, shape = model.encoders['rgb'], batch['rgb'].shape
    with pytest.raises(UserError, match="no layer 'encoders_rgb/lost': did you mean 'encoders_rgb/last'"):
        layers.find(found, 'encoders_rgb/lost', encoder, shape)
    with pytest.raises(UserError, match=r'encoders_rgb/last.*no axis of time; take one of encoders_rgb/first'):
        layers.find(found | {'encoders_rgb/last': found['encoders_rgb/last']._replace(shape=(2, 6))},
                    'encoders_rgb/last', encoder, shape)
