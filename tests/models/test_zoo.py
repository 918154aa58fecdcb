import inspect
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

import vmmjax
from vmmjax.errors import UserError
from vmmjax.models import Tokens, create
from vmmjax.models.zoo import MODELS


class Mean(nn.Module):
    """A user's own encoder."""

    features: int = 3
    dtype: Any = jnp.float32

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        return Tokens(x.mean((2, 3)), valid), {}


def config(**changes: Any) -> ConfigDict:
    return ConfigDict(dict(encoders=dict(rgb=dict(name='i3d', width_multiplier=0.125), audio=dict(name='conv2d_audio')),
                           preprocess=dict(rgb='signed', audio='none'), fusion=dict(name='concat'),
                           head=dict(name='consensus')) | changes)


def test_a_config_makes_a_model_whatever_its_order() -> None:
    model = create(config(), 8)
    assert list(model.encoders) == ['audio', 'rgb']
    batch = {'rgb': jnp.zeros((2, 8, 16, 16, 3)), 'audio': jnp.zeros((2, 20, 16))}
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), batch, train=False))
    assert outputs.logits.shape == (2, 8)
    assert outputs.features.shape == (2, 128 + 256)
    assert {'rgb/Mixed_5c', 'audio/stage_1'} <= outputs.endpoints.keys()
    assert variables['params'].keys() == {'encoders_audio', 'encoders_rgb', 'fusion', 'head'}


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(encoders=dict(rgb=dict(name='i3dd'), audio=dict(name='conv2d_audio'))), "did you mean 'i3d'"),
    (dict(encoders=dict(rgb=dict(name='i3d', width_multiplyer=1), audio=dict(name='conv2d_audio'))),
     "did you mean 'width_multiplier'"),
    (dict(fusion=dict(name='concatenate')), "did you mean 'concat'"),
    (dict(head=dict(name='consensus', drop=0.1)), "did you mean 'dropout'"),
    (dict(preprocess=dict(rgb='singed', audio='none')), "did you mean 'signed'"),
    (dict(preprocess=dict(rgb='signed')), "'audio' is in one alone"),
    (dict(heads=dict()), "did you mean 'head'"),
    (dict(dtype='bfloat61'), "config.model.dtype is 'bfloat61': did you mean 'bfloat16'"),
    (dict(encoders=dict(), preprocess=dict()), 'at least one stream'),
])
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create(config(**changes), 8)


def test_a_users_own_encoder() -> None:
    model = create(config(encoders=dict(rgb=dict(name=f'{__name__}:Mean')), preprocess=dict(rgb='none')), 2)
    outputs, _ = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((1, 4, 5, 5, 3))}, train=False))
    assert outputs.logits.shape == (1, 2)


# A small input of every stream, and what its networks have at their published sizes with the published head, in
# millions of parameters: torchvision's, the papers' or the released files' own count.
INPUTS = {'rgb': (2, 4, 64, 64, 3), 'audio': (2, 128, 64), 'text': (2, 7), 'waveform': (2, 16000)}
PUBLISHED = {'ast': 86.6, 'bert': 108.9, 'i3d': 12.7, 'inception_v1': 6.63, 'mobilenet_v2': 3.50, 'panns_cnn14': 80.8,
             'resnet18': 11.7, 'resnet34': 21.8, 'resnet50': 25.6, 'resnet101': 44.5, 'tsm_mobilenet_v2': 2.74,
             'tsm_resnet50': 24.3, 'tsm_resnet101': 43.3, 'tsn_resnet50': 24.3,
             'vgg16': 138.4, 'vgg16_bn': 138.4, 'vggish': 72.1, 'videomae': 86.53}


@pytest.mark.parametrize('name', vmmjax.list_models())
def test_every_model_of_the_zoo(name: str) -> None:
    entry = MODELS[name]
    shape = (2, 1024, 128) if name == 'ast' else INPUTS[entry.stream]
    model = vmmjax.create_model(name, param_dtype=jnp.float32, dtype=jnp.bfloat16)
    dtype = jnp.int32 if entry.stream == 'text' else jnp.float32

    def run(key: jax.Array) -> Any:
        return model.init_with_output(key, {entry.stream: jnp.zeros(shape, dtype)}, train=False)

    outputs, variables = jax.eval_shape(run, jax.random.key(0))
    if entry.num_classes:
        assert outputs.logits.shape == (2, entry.num_classes)
        assert outputs.logits.dtype == jnp.float32
    else:
        assert outputs.logits is None
    tokens = outputs.endpoints[f'{entry.stream}/tokens']
    assert tokens.shape[-1] == outputs.features.shape[-1] == model.encoders[entry.stream].features
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables['params']))
    if name in PUBLISHED:
        millions = sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) / 1e6
        assert millions == pytest.approx(PUBLISHED[name], rel=0.005)
    source = inspect.getdoc(type(model.encoders[entry.stream]))
    assert source is not None
    assert 'parameters' in source, 'the docstring says how large it is'


def test_create_model() -> None:
    for name, batch in (('i3d', {'flow': jnp.zeros((2, 9, 16, 16, 2))}),
                        ('conv2d_audio', {'audio': jnp.zeros((2, 9, 16))})):
        model = vmmjax.create_model(name, num_classes=7, stream=next(iter(batch)), dtype=jnp.bfloat16)
        outputs = jax.eval_shape(lambda model=model, batch=batch: model.init_with_output(
            jax.random.key(0), batch, train=False)[0])
        assert outputs.logits.shape == (2, 7)
        assert outputs.logits.dtype == jnp.float32
        assert outputs.features.dtype == jnp.bfloat16
    with pytest.raises(UserError, match="did you mean 'i3d'"):
        vmmjax.create_model('i3')


@pytest.mark.slow
def test_heads_begin_as_published() -> None:
    def deviation(name: str, **options: Any) -> float:
        model = vmmjax.create_model(name, num_classes=50, **options)
        # Of the compiled program nothing but the head is left.
        kernel = jax.jit(lambda: model.init(jax.random.key(0), {'rgb': jnp.zeros((1, 9, 32, 32, 3))},
                                            train=False)['params']['head']['logits']['kernel'])()
        return float(jnp.std(kernel))

    assert deviation('tsm_resnet18') == pytest.approx(0.001, rel=0.05)
    assert deviation('mobilenet_v2', width_multiplier=0.35) == pytest.approx(0.01, rel=0.05)
    assert deviation('i3d', width_multiplier=0.25) == pytest.approx(0.88 / 16, rel=0.05)  # Cut at two deviations.


def test_import_is_light_and_models_need_no_data_packages() -> None:
    program = ('import sys, vmmjax; assert "jax" not in sys.modules; import vmmjax.models; '
               'print([name for name in ("tensorflow", "av", "cv2", "librosa") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
