"""Lateral connections between encoders: the formula, and what they let the encoders see."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.models.frames import FAST
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.models import MultimodalModel, create
from vmmjax.models.encoder_steps import Stage, Stages
from vmmjax.models.fusion import Concat, Hierarchical
from vmmjax.models.tokens import Tokens

# Pictures and flow with places, of other rates and sizes; sound with another kind of places; a vector a moment.
SHAPES = {'flow': (2, 6, 3, 4, 5), 'rgb': (2, 4, 2, 2, 3), 'sound': (2, 3, 7, 2), 'words': (2, 5, 4)}


def inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each stream has at its endpoint, and what of it is valid; the second clip has no sound."""
    random = np.random.default_rng(0)
    x = {name: random.normal(size=shape) for name, shape in SHAPES.items()}
    valid = {name: np.arange(shape[1]) < np.array([[shape[1]], [shape[1] - 2]]) for name, shape in SHAPES.items()}
    valid['sound'][1] = False
    valid['words'][0, :2] = False
    return {name: (np.where(valid[name].reshape(valid[name].shape + (1,) * (x[name].ndim - 2)), x[name], np.nan),
                   valid[name]) for name in SHAPES}


def one_stage(x: Any, valid: Any) -> Stages:
    x = yield Stage('only', jnp.asarray(x, jnp.float32), jnp.asarray(valid))
    return Tokens(x, jnp.asarray(valid)), {}


def lateral(source: np.ndarray, valid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`A_mk x_k` of one clip, for x_m of that shape, on grids so fine that both sides are whole numbers of cells."""
    if source.ndim != len(shape):
        source = source.mean(tuple(range(1, source.ndim - 1)))
    found = np.zeros((shape[0], *(shape[1:-1] if source.ndim == len(shape) else ()), source.shape[-1]))
    weight = valid.astype(float).reshape((-1,) + (1,) * (source.ndim - 1))
    fine, fine_weight = np.where(weight > 0, source, 0), weight
    for axis, size in enumerate(found.shape[:-1]):
        cells = math.lcm(size, source.shape[axis])
        fine = np.repeat(fine, cells // source.shape[axis], axis)
        fine_weight = np.repeat(fine_weight, cells // source.shape[axis], axis) if axis == 0 else fine_weight
    for where in np.ndindex(found.shape[:-1]):
        window = tuple(slice(i * fine.shape[axis] // size, (i + 1) * fine.shape[axis] // size)
                       for axis, (i, size) in enumerate(zip(where, found.shape[:-1], strict=True)))
        weights, axes = np.broadcast_to(fine_weight[window[0]], fine[window].shape), tuple(range(len(where)))
        if weights.any():
            found[where] = (fine[window] * weights).sum(axes) / weights.sum(axes)
    return found.reshape(found.shape[0], *(1,) * (len(shape) - found.ndim), *found.shape[1:])


@pytest.mark.slow
def test_laterals_are_their_formula_and_their_gradients_reach_what_is_valid() -> None:
    given = inputs()
    fusion = Hierarchical(tuple(SHAPES), join=Concat(tuple(SHAPES)), endpoints=dict.fromkeys(SHAPES, ('only',)))

    def encode(module: Hierarchical, x: dict[str, Any]) -> Any:
        return module.encode({name: one_stage(x[name], given[name][1]) for name in SHAPES})

    clips = {name: jnp.asarray(x, jnp.float32) for name, (x, _) in given.items()}
    shapes = fusion.init(jax.random.key(0), clips, method=encode)['params']
    assert len(shapes) == 12
    assert not any(leaf.any() for leaf in jax.tree.leaves(shapes)), 'encoders begin as they would alone'
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), shapes)
    encoded = jax.jit(lambda: fusion.apply({'params': params}, clips, method=encode), compiler_options=FAST)()
    for name, (x, valid) in given.items():
        for row in range(2):
            expected = x[row].copy()
            for other, (source, seen) in given.items():
                if other != name:
                    kernel = np.asarray(params[f'level_1_{name}_from_{other}']['kernel'], np.float64)
                    expected += lateral(source[row], seen[row], x[row].shape) @ kernel
            np.testing.assert_allclose(encoded[name][0].x[row][valid[row]], expected[valid[row]], rtol=1e-4, atol=1e-5)

    def shown(tokens: Tokens) -> jax.Array:
        return jnp.where(tokens.mask.reshape(tokens.mask.shape + (1,) * (tokens.x.ndim - 2)), tokens.x, 0)

    def loss(params: Any, clips: Any) -> jax.Array:
        encoded = fusion.apply({'params': params}, clips, method=encode)
        return sum(jnp.square(shown(tokens)).sum() for tokens, _ in encoded.values())

    of_params, of_clips = jax.jit(jax.grad(loss, (0, 1)), compiler_options=FAST)(params, clips)
    assert all(np.isfinite(leaf).all() and (leaf != 0).all() for leaf in jax.tree.leaves(of_params))
    for name, (_, valid) in given.items():
        np.testing.assert_array_equal((of_clips[name] != 0).any(tuple(range(2, of_clips[name].ndim))), valid)


def model(dtype: Any = jnp.float32, **changes: Any) -> MultimodalModel:
    endpoints = dict(rgb=('Mixed_3b', 'Mixed_4f'), audio=('stage_1', 'stage_2'))
    encoders = dict(rgb=dict(name='i3d', width_multiplier=0.03), audio=dict(name='conv2d_audio', widths=(4, 4)))
    fusion = dict(name='hierarchical', endpoints=endpoints, join=dict(name='concat'))
    settings = configs.defaults().model
    settings.update(dict(encoders=encoders, fusion=fusion, preprocess=dict(rgb='none', audio='none')) | changes)
    full = configs.defaults()
    full.model = settings
    return create(configs.from_json(configs.to_json(configs.lock(full))).model, 3, dtype)


def clips() -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(0))
    return {'rgb': jax.random.normal(keys[0], (2, 9, 16, 16, 3)), 'audio': jax.random.normal(keys[1], (2, 12, 8))}


def test_encoders_begin_as_alone_and_come_to_see_each_other() -> None:
    fused, batch = model(), clips()
    variables = jax.jit(lambda: fused.init(jax.random.key(1), batch, train=False), compiler_options=FAST)()
    laterals = variables['params']['fusion'].copy()
    concat = laterals.pop('join')
    assert {*laterals} == {f'level_{level}_{one}_from_{other}' for level in (1, 2)
                           for one, other in (('rgb', 'audio'), ('audio', 'rgb'))}

    def endpoints(model: MultimodalModel) -> Any:
        def run(variables: Any, batch: Any) -> Any:
            found = model.apply(variables, batch, train=False).endpoints
            return {name: found[name] for name in ('rgb/tokens', 'audio/tokens', 'rgb/Mixed_3b', 'rgb/Conv3d_1a_7x7')}

        return jax.jit(run, compiler_options=FAST)

    tokens = endpoints(fused)
    first = tokens(variables, batch)
    without = variables | {'params': variables['params'] | {'fusion': concat}}
    expected = endpoints(model(fusion=dict(name='concat')))(without, batch)
    for name, value in first.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)
    other = batch | {'audio': batch['audio'][::-1]}
    np.testing.assert_array_equal(tokens(variables, other)['rgb/tokens'], first['rgb/tokens'])
    random = np.random.default_rng(0)
    laterals = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), laterals)
    variables = variables | {'params': variables['params'] | {'fusion': laterals | {'join': concat}}}
    mixed, changed = tokens(variables, batch), tokens(variables, other)
    np.testing.assert_array_equal(mixed['rgb/Conv3d_1a_7x7'], changed['rgb/Conv3d_1a_7x7'])
    for name in ('rgb/Mixed_3b', 'rgb/tokens'):
        assert (mixed[name] != changed[name]).any(), 'from the first level on, pictures hear'
    # Nothing of sound that is not there, whatever stands in its place.
    silent = batch | {'present/audio': jnp.array([False, True])}
    row = tokens(variables, silent | {'audio': batch['audio'].at[0].set(jnp.nan)})['rgb/tokens'][0]
    np.testing.assert_allclose(row, first['rgb/tokens'][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('fusion', 'message'), [
    (dict(endpoints=dict(rgb=('Mixed_3b',), sound=('stage_1',))), "did you mean 'audio'|Known: audio, rgb"),
    (dict(endpoints=dict(rgb=('Mixed_3b',), audio=('stage_1', 'stage_2'))), 'name as many'),
    (dict(endpoints=dict(rgb=('Mixed_3b',))), 'two streams or more'),
    (dict(), 'two streams or more'),
    (dict(endpoints=dict(rgb=('Mixed_3',), audio=('stage_1',))), "endpoint 'Mixed_3'.*did you mean"),
    (dict(endpoints=dict(rgb=('Mixed_4b', 'Mixed_3b'), audio=('stage_1', 'stage_2'))), 'in the order'),
    (dict(join=dict()), 'has no name'),
    (dict(join=dict(name='conca')), "did you mean 'concat'"),
    (dict(join=dict(name='hierarchical', join=dict(name='concat'))), 'cannot be the join'),
])
def test_mistakes_are_named(fusion: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: model(fusion=dict(name='hierarchical', join=dict(name='concat')) | fusion).init(
            jax.random.key(0), clips(), train=False))
    with pytest.raises(UserError, match=r'join=dict\(name='):
        model(fusion=dict(name='hierarchical'))


def test_an_encoder_that_cannot_is_named_with_those_that_can() -> None:
    text = dict(encoders=dict(rgb=dict(name='i3d', width_multiplier=0.03), text=dict(name='gru')),
                preprocess=dict(rgb='none', text='ids'))
    join = dict(name='hierarchical', join=dict(name='concat'))
    with pytest.raises(UserError, match=r"'gru'.*'text'.*conv2d_audio.*i3d.*tsm_resnet50"):
        model(fusion=join | dict(endpoints=dict(rgb=('Mixed_3b',), text=('words',))), **text)


def test_it_learns_what_encoders_apart_cannot_say() -> None:
    """Whether two sounds are of the same kind: no sum over streams of what each one says tells that."""
    kinds = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    batch = {name: jnp.broadcast_to(jax.nn.one_hot(2 + 4 * kinds[:, None, i], 8), (4, 4, 8))
             for i, name in enumerate('ab')}
    same = (kinds[:, 0] == kinds[:, 1]).astype(jnp.int32)
    encoder = dict(name='conv2d_audio', widths=(8, 8), features=8, bn_momentum=0.5)
    hits = {}
    fusions: list[dict[str, Any]] = [dict(name='concat'), dict(name='hierarchical', join=dict(name='concat'),
                                                               endpoints=dict(a=('stage_1',), b=('stage_1',)))]
    for fusion in fusions:
        net = create(dict(encoders=dict(a=encoder, b=encoder), preprocess=dict(a='none', b='none'), fusion=fusion,
                          head=dict(name='consensus', dropout=0.0)), 2)
        variables = jax.jit(lambda net=net: net.init(jax.random.key(0), batch, train=False), compiler_options=FAST)()
        optimizer = optax.adam(1e-2)

        def step(carry: Any, _: Any, net: MultimodalModel = net, optimizer: Any = optimizer) -> Any:
            params, state, moments = carry

            def loss(params: Any) -> Any:
                outputs, new = net.apply({'params': params, **state}, batch, train=True, mutable=['batch_stats'],
                                         rngs={'dropout': jax.random.key(0)})
                values = optax.softmax_cross_entropy_with_integer_labels(outputs.logits, same)
                return values.mean(), (new, (outputs.logits.argmax(-1) == same).mean())

            gradients, (state, hit) = jax.grad(loss, has_aux=True)(params)
            updates, moments = optimizer.update(gradients, moments)
            return (optax.apply_updates(params, updates), state, moments), hit

        params = variables.pop('params')
        start = params, variables, optimizer.init(params)
        train = jax.jit(lambda start, step=step: jax.lax.scan(step, start, None, 80), compiler_options=FAST)
        _, each = train(start)
        hits[fusion['name']] = float(each[-1])
    assert hits['concat'] <= 0.75
    assert hits['hierarchical'] == 1


def test_types_are_as_asked() -> None:
    half = model(dtype=jnp.bfloat16)
    outputs, variables = jax.eval_shape(lambda: half.init_with_output(jax.random.key(0), clips(), train=False))
    assert outputs.features.dtype == outputs.endpoints['rgb/Mixed_3b'].dtype == jnp.bfloat16
    assert outputs.logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


class Blind(nn.Module):
    """A user's own encoder without stages."""

    features: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        return Tokens(nn.Dense(3)(x), valid), {}


def test_a_stream_that_takes_no_part_is_encoded_by_itself() -> None:
    sound = dict(name='conv2d_audio', widths=(4,), features=4)
    three = model(encoders=dict(a=sound, b=sound, c=dict(name=f'{__name__}:Blind')),
                  preprocess=dict(a='none', b='none', c='none'),
                  fusion=dict(name='hierarchical', join=dict(name='scores', combine='weighted'),
                              endpoints=dict(a=('stage_1',), b=('stage_1',))))
    batch = {name: jnp.ones((2, 6, 4)) for name in 'abc'}
    outputs = jax.eval_shape(lambda: three.init_with_output(jax.random.key(0), batch, train=False)[0])
    assert outputs.logits.shape == (2, 3)
    assert outputs.stream_logits.keys() == {'a', 'b', 'c'}
