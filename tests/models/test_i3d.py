import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from tests.models.frames import FAST, drawn
from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.i3d import I3D, InceptionV1
from vmmjax.training.fitting import inflated

UNITS = {'conv_3d/w': ('params', 'conv_3d/kernel'), 'batch_norm/beta': ('params', 'batch_norm/bias'),
         'batch_norm/moving_mean': ('batch_stats', 'batch_norm/mean'),
         'batch_norm/moving_variance': ('batch_stats', 'batch_norm/var')}


def path_of(published: str) -> tuple[str, ...]:
    """Where a tensor of the released checkpoint stands among the model's variables."""
    name = published.removeprefix('RGB/inception_i3d/')
    if name.startswith('Logits/'):
        return 'params', 'head', 'logits', {'w': 'kernel', 'b': 'bias'}[name[-1]]
    unit, kind, leaf = name.rsplit('/', 2)
    collection, rest = UNITS[f'{kind}/{leaf}']
    return collection, 'encoders_rgb', *unit.split('/'), *rest.split('/')


def golden(folder: Path) -> tuple[dict[str, Any], Any, Any]:
    """The case, its recipe and its recorded outputs."""
    spec = importlib.util.spec_from_file_location('golden_recipe', folder / 'recipe.py')
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    name = 'i3d_rgb_tf_16x224'
    return json.loads((folder / f'cases/{name}.json').read_text()), recipe, np.load(folder / f'cases/{name}.npz')


def test_variables_are_those_of_the_released_checkpoint(shared_golden: Path) -> None:
    case, _, _ = golden(shared_golden)
    model = create_model('i3d')
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {'rgb': jnp.zeros((1, 16, 64, 64, 3))}, train=False))
    ours = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(dict(shapes)).items()}
    theirs = {path_of(name): tuple(shape[-2:] if 'Logits' in name else shape) for name, shape, _ in case['tensors']}
    assert ours == theirs
    assert len(ours) == 230
    assert sum(int(np.prod(shape)) for shape in ours.values()) == 12_704_544


@pytest.mark.parametrize('form', ['stacked', 'folded'])
def test_outputs_are_the_published_networks(shared_golden: Path, form: str) -> None:
    case, recipe, expected = golden(shared_golden)
    model = create_model('i3d', form=form)
    flat = {}
    for name, shape, kind in case['tensors']:
        value = recipe.weight(name, tuple(shape), kind)
        flat[path_of(name)] = value.reshape(value.shape[-2:]) if 'Logits' in name else value
    clip = recipe.inputs(case['case'], tuple(case['input_shape']))
    outputs = jax.jit(lambda v, x: model.apply(v, {'rgb': x}, train=False))(traverse_util.unflatten_dict(flat), clip)
    for got, want in ((outputs.logits, expected['logits']),
                      (outputs.features, expected['features'].reshape(-1, 1024).mean(0, keepdims=True))):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())
    for name in expected.files:
        if name.startswith('stats/') and f'rgb/{name[6:]}' in outputs.endpoints:
            x = np.asarray(outputs.endpoints[f'rgb/{name[6:]}'], np.float64)
            np.testing.assert_allclose([x.mean(), x.std(), x.min(), x.max()], expected[name], rtol=1e-4, atol=1e-4)


def test_one_picture_is_to_the_inflated_network_what_it_was_to_that_of_pictures() -> None:
    flat, deep = InceptionV1(width_multiplier=0.03), I3D(width_multiplier=0.03)
    clips, valid = jax.random.normal(jax.random.key(0), (2, 3, 40, 33, 3)), jnp.ones((2, 3), bool)
    variables = jax.jit(lambda: flat.init(jax.random.key(1), clips, valid, False), compiler_options=FAST)()
    tokens, endpoints = jax.jit(lambda v: flat.apply(v, clips, valid, False), compiler_options=FAST)(variables)
    assert tokens.x.shape == (2, 3, deep.features)
    assert endpoints['Mixed_5c'].shape[:2] == (2, 3)
    wanted = jax.eval_shape(lambda: deep.init(jax.random.key(1), clips, valid, False))
    params = jax.tree.map(lambda leaf, there: leaf if leaf.shape == there.shape else jnp.asarray(
        inflated(np.asarray(leaf[0]), there.shape[0], 'centre')), variables['params'],
        wanted['params'])
    apply = jax.jit(lambda x: deep.apply({**variables, 'params': params}, x, valid[:, :1], False)[0].x[:, 0],
                    compiler_options=FAST)
    for time in range(3):
        np.testing.assert_allclose(apply(clips[:, time:time + 1]), tokens.x[:, time], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('frames', 'size', 'tokens'), [(1, 7, 1), (8, 48, 1), (9, 33, 1), (17, 20, 2), (25, 64, 3)])
def test_any_length_and_size(frames: int, size: int, tokens: int) -> None:
    encoder = I3D(width_multiplier=0.125)
    clip, valid = jnp.zeros((2, frames, size, size, 2)), jnp.ones((2, frames), bool)
    (out, endpoints), variables = jax.eval_shape(
        lambda: encoder.init_with_output(jax.random.key(0), clip, valid, train=False))
    assert out.x.shape == (2, tokens, encoder.features)
    assert out.mask.shape == (2, tokens)
    assert endpoints['Mixed_5c'].shape[:2] == (2, -(-frames // 8))
    assert variables['params']['Conv3d_1a_7x7']['conv_3d']['kernel'].shape == (7, 7, 7, 2, 8)


def test_a_token_is_valid_where_any_of_its_frames_is() -> None:
    encoder = I3D(width_multiplier=0.03)
    valid = jnp.arange(32)[None] < jnp.array([0, 1, 8, 9, 17, 32])[:, None]
    variables = jax.eval_shape(lambda: encoder.init(jax.random.key(0), jnp.zeros((6, 32, 8, 8, 1)), valid, False))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    mask = jax.jit(lambda v: encoder.apply(zeros, jnp.zeros((6, 32, 8, 8, 1)), v, train=False)[0].mask,
                   compiler_options=FAST)(valid)
    np.testing.assert_array_equal(mask.astype(int), [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0],
                                                            [1, 1, 1], [1, 1, 1]])


@pytest.mark.slow
def test_frozen_and_rematerialised() -> None:
    clip = jax.random.normal(jax.random.key(0), (2, 9, 20, 20, 3))
    valid = jnp.ones((2, 9), bool)
    plain = I3D(width_multiplier=0.03, bn_scale=True)
    variables = drawn(jax.eval_shape(lambda: plain.init(jax.random.key(1), clip, valid, False)))

    def gradient(**options: Any) -> tuple[Any, Any]:
        encoder = I3D(width_multiplier=0.03, bn_scale=True, **options)

        def loss(params: Any) -> Any:
            (tokens, _), state = encoder.apply({**variables, 'params': params}, clip, valid, True,
                                               mutable=['batch_stats'])
            return (tokens.x ** 2).mean(), state['batch_stats']
        gradients, state = jax.jit(jax.grad(loss, has_aux=True), compiler_options=FAST)(variables['params'])
        return (traverse_util.flatten_dict(gradients, sep='/'),
                traverse_util.flatten_dict(jax.tree.map(lambda a, b: (a != b).any(), state, variables['batch_stats']),
                                           sep='/'))

    kept, moved = gradient()
    again, _ = gradient(remat=True)
    for name, value in kept.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-4, atol=1e-6 * np.abs(value).max() + 1e-12)
    assert all(moved.values())
    for frozen, free in (('all', ()), ('all_but_first', ('Conv3d_1a_7x7',))):
        gradients, moved = gradient(frozen_bn=frozen)
        for name, value in gradients.items():
            if 'batch_norm' in name and not name.startswith(free):
                assert not np.any(value), name
        assert {name.split('/')[0] for name, changed in moved.items() if changed} == set(free)
    with pytest.raises(UserError, match="did you mean 'all'"):
        I3D(frozen_bn='al')
