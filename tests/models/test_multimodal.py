"""What is absent changes nothing: outputs, gradients and the state of the model."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import MultimodalModel, Tokens, create
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.fusion import FUSIONS
from vmmjax.models.layers import BatchNorm


class Small(nn.Module):
    """An encoder that compiles at once, and has all that absence could spoil."""

    features: int = 4
    dropout: float = 0.3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        x = nn.relu(BatchNorm(use_scale=True, momentum=0.9)(nn.Dense(self.features, use_bias=False)(x), valid, train))
        return Tokens(nn.Dropout(self.dropout, deterministic=not train)(x), valid), {}


class Staged(nn.Module):
    """The same twice, stopping after each."""

    features: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def layers(self) -> list[Small]:
        return [Small(self.features, name=name) for name in ('first', 'second')]

    @nn.nowrap
    def stages(self, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        endpoints = {}
        for layer in self.layers():
            tokens, _ = layer(x, valid, train)
            x = endpoints[layer.name] = yield Stage(layer.name, tokens.x, valid)
        return Tokens(x, valid), endpoints

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoded:
        return run(self.stages(x, valid, train))


SMALL = dict(name=f'{__name__}:Small')
STAGED = dict(name=f'{__name__}:Staged')
AUDIO = dict(name='conv2d_audio', widths=(4, 4), features=8, dropout=0.3)
RGB = dict(name='i3d', width_multiplier=0.03, bn_momentum=0.9)
CASES = {
    'concat': (dict(a=AUDIO, b=AUDIO), dict(name='concat')),
    'weighted_average': (dict(a=AUDIO, b=AUDIO), dict(name='weighted_average', features=6)),
    'i3d': (dict(a=AUDIO, rgb=RGB), dict(name='hierarchical', join=dict(name='concat'), endpoints=dict(
        a=('stage_1', 'stage_2'), rgb=('Mixed_3b', 'Mixed_4f')))),
    'single': (dict(a=AUDIO), dict(name='concat')),
}
TOKENS = dict(features=4, num_attention_heads=2, num_hidden_layers=1, dropout=0.3)
# Every other kind.
KINDS = {
    'bottleneck': dict(TOKENS, num_hidden_layers=2), 'cross_attention': TOKENS, 'film': dict(features=4),
    'gated': dict(features=4), 'low_rank_tensor': dict(features=4, rank=2), 'multiplicative': dict(features=4),
    'non_local': dict(features=4), 'scores': dict(combine='probability', dropout=0.3), 'sum': dict(features=4),
    'tanh_concat': dict(features=4), 'tensor': dict(features=2), 'transformer': TOKENS}
for kind, options in KINDS.items():
    names = ('a', 'c', 'd') if kind in ('film', 'gated', 'low_rank_tensor', 'scores', 'tensor') else ('a', 'c')
    CASES[kind] = (dict.fromkeys(names, SMALL), dict(name=kind, **options))
KINDS['hierarchical'] = dict(join=dict(name='concat'), endpoints=dict(a=('first', 'second'), d=('first', 'second')))
CASES['hierarchical'] = (dict(a=STAGED, c=SMALL, d=STAGED), dict(name='hierarchical', **KINDS['hierarchical']))
KINDS['over_time'] = dict(join=dict(name='transformer', **TOKENS), steps=3)
CASES['over_time'] = (dict(a=SMALL, c=SMALL), dict(name='over_time', **KINDS['over_time']))
SHAPES = {'a': (13, 8), 'b': (13, 8), 'c': (4, 3), 'd': (2, 5), 'rgb': (2, 12, 12, 3)}
ROWS = 5


@cache
def built(case: str) -> tuple[MultimodalModel, Any, Any]:
    """The model, its variables, and the compiled (outputs, gradients, state) of a batch."""
    encoders, fusion = CASES[case]
    head = dict(name='consensus', dropout=0.4)
    model = create(dict(encoders=encoders, fusion=fusion, head=head, stream_head=head if case == 'concat' else {},
                        preprocess=dict.fromkeys(encoders, 'none')), 3)
    variables = jax.jit(lambda key: model.init(key, full_batch(case), train=False),
                        compiler_options=FAST)(jax.random.key(0))
    # Away from the special values of initialisation.
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), variables)

    def run(variables: Any, batch: Any, train: bool) -> Any:
        def loss(params: Any, streams: Any) -> Any:
            outputs, state = model.apply({**variables, 'params': params}, batch | streams, train=train,
                                         rngs={'dropout': jax.random.key(1)}, mutable=['batch_stats'])
            weights = jnp.cos(jnp.arange(outputs.logits.size)).reshape(outputs.logits.shape)
            each = sum(((logits * weights).mean() for logits in outputs.stream_logits.values()), start=jnp.zeros(()))
            return (outputs.logits * weights).mean() + (outputs.features ** 2).mean() + each, (outputs, state)

        streams = {name: batch[name] for name in encoders if name in batch}
        (gradients, inputs), (outputs, state) = jax.grad(loss, (0, 1), has_aux=True)(variables['params'], streams)
        found = outputs.logits, outputs.features, outputs.stream_logits, outputs.present
        return found, gradients, state, inputs

    return model, variables, jax.jit(run, static_argnums=2, compiler_options=FAST)


def full_batch(case: str) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    return {name: jnp.asarray(random.normal(size=(ROWS, *SHAPES[name])), jnp.float32) for name in CASES[case][0]}


def close(left: Any, right: Any, tolerance: float = 1e-6) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), left, right)


def fill(x: jax.Array, where: jax.Array, content: str) -> jax.Array:
    new = {'zeros': 0.0, 'nan': jnp.nan,
           'noise': jnp.asarray(np.random.default_rng(1).normal(50, 9, x.shape), jnp.float32)}[content]
    return jnp.where(where.reshape(where.shape + (1,) * (x.ndim - where.ndim)), new, x)


def test_every_kind_of_fusion_is_among_the_cases() -> None:
    assert {fusion['name'] for _, fusion in CASES.values()} == {*FUSIONS}


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('case', CASES)
def test_what_an_absent_stream_holds_changes_nothing(case: str, train: bool) -> None:
    _, variables, run = built(case)
    batch = full_batch(case)
    # Rows: all present; first stream absent; last absent; nothing present; padding.
    absent = {name: jnp.asarray([0, i == 0, i == len(CASES[case][0]) - 1, 1, 0], bool)
              for i, name in enumerate(CASES[case][0])}
    mask = jnp.asarray([1, 1, 1, 1, 0], jnp.float32)
    results = []
    for content in ('zeros', 'noise', 'nan'):
        filled = {name: fill(x, absent[name] | (mask == 0), content) for name, x in batch.items()}
        results.append(run(variables, filled | {f'present/{name}': ~absent[name] for name in batch} | {'mask': mask},
                           train))
    for result in results:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
        close(result, results[0])
        for name, gradient in result[3].items():
            assert not gradient[absent[name] | (mask == 0)].any()
        assert not result[0][0][3:].any(), 'logits where nothing is present are constant'
        for name, there in result[0][3].items():
            np.testing.assert_array_equal(there, ~absent[name] & (mask > 0))
            if name in result[0][2]:
                np.testing.assert_array_equal(result[0][2][name].any(1), there)


@pytest.mark.parametrize(('case', 'missing', 'train'), [
    ('concat', 'a', True), ('concat', 'b', False), ('weighted_average', 'a', True), ('weighted_average', 'b', False),
    ('i3d', 'rgb', True), ('i3d', 'a', True),
    *((kind, 'a', True) for kind in KINDS), ('non_local', 'c', True), ('multiplicative', 'c', True),
    ('hierarchical', 'c', True), ('hierarchical', 'd', True)])
def test_a_missing_key_is_an_absent_stream(case: str, missing: str, train: bool) -> None:
    _, variables, run = built(case)
    batch = full_batch(case)
    # All keys that the test above gives, which has compiled them.
    present = {f'present/{name}': jnp.full(ROWS, name != missing) for name in batch} | {'mask': jnp.ones(ROWS)}
    absent = run(variables, batch | present | {missing: batch[missing] * jnp.nan}, train)
    without = run(variables, {name: x for name, x in batch.items() if name != missing}, train)
    # Without the key it is another compiled program, which rounds otherwise. In float64 the two differ by 5e-15 where
    # they differ most (i3d without a), so the whole difference is rounding.
    close(absent[:3], without[:3], 1e-5)


@pytest.mark.parametrize('case', ['concat', 'i3d'])
def test_absent_and_padding_rows_do_not_reach_the_others(case: str) -> None:
    """With dropout off, a batch with empty rows gives what the rows that count give alone."""
    encoders, fusion = CASES[case]
    encoders = {name: {**options, 'dropout': 0.0} if 'dropout' in options else options
                for name, options in encoders.items()}
    model = create(dict(encoders=encoders, fusion=fusion, head=dict(name='consensus', dropout=0.0),
                        preprocess=dict.fromkeys(encoders, 'none')), 3)
    _, variables, _ = built(case)
    batch = full_batch(case)
    apply = jax.jit(lambda batch: model.apply(variables, batch, train=True, mutable=['batch_stats']),
                    compiler_options=FAST)
    few, state = apply({name: x[:3] for name, x in batch.items()})
    many, state_many = apply(batch | {'mask': jnp.asarray([1, 1, 1, 0, 0], jnp.float32)})
    close((few.logits, few.features, state), (many.logits[:3], many.features[:3], state_many))


def test_pictures_that_were_not_normalised_are_refused_where_values_are_known() -> None:
    model = create(dict(encoders=dict(c=SMALL), fusion=dict(name='concat'), head=dict(name='consensus'),
                        preprocess=dict(c='signed')), 2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 3)).astype(np.uint8)
    normalised = model.preprocess({'c': pixels})
    variables = model.init(jax.random.key(0), normalised, train=False)
    for values in (pixels.astype(np.float32), jnp.asarray(pixels, jnp.bfloat16)):
        with pytest.raises(UserError, match=r"stream 'c' has values up to 2.*normalise it with model.preprocess"):
            model.apply(variables, {'c': values}, train=False)
    # What is not valid is not looked at.
    model.apply(variables, {'c': pixels.astype(np.float32), 'present/c': np.zeros(2, bool)}, train=False)


def test_invalid_frames_are_not_seen() -> None:
    _, variables, run = built('concat')
    batch = full_batch('concat')
    valid = jnp.arange(13)[None] < jnp.asarray([13, 9, 4, 1, 0])[:, None]
    results = [run(variables, batch | {'a': fill(batch['a'], ~valid, content), 'valid/a': valid}, True)
               for content in ('zeros', 'nan')]
    close(*results)


def test_defaults_are_all_valid_and_present() -> None:
    _, variables, run = built('concat')
    batch = full_batch('concat')
    given = {f'valid/{name}': jnp.ones((ROWS, 13), bool) for name in batch}
    given |= {f'present/{name}': jnp.ones(ROWS, bool) for name in batch}
    close(run(variables, batch, True), run(variables, batch | given | {'mask': jnp.ones(ROWS)}, True))


def test_a_batch_without_any_stream_or_with_integers() -> None:
    model, variables, _ = built('concat')
    with pytest.raises(UserError, match='at least one'):
        model.apply(variables, {'mask': jnp.ones(2)}, train=False)
    with pytest.raises(UserError, match='every'):
        model.init(jax.random.key(0), {'a': jnp.zeros((1, 13, 8))}, train=False)
    with pytest.raises(UserError, match='preprocess'):
        model.apply(variables, {'a': jnp.zeros((1, 13, 8), jnp.uint8)}, train=False)


@pytest.mark.parametrize(('way', 'frames', 'valid_frames'), [
    ('log_mel', 200, 100), ('vggish', 198, 98), ('panns_16k', 201, 101)])
def test_a_waveform_becomes_a_spectrogram_on_the_device(way: str, frames: int, valid_frames: int) -> None:
    model = create(dict(encoders=dict(sound=AUDIO), fusion=dict(name='concat'), head=dict(name='consensus'),
                        preprocess=dict(sound=way)), 3)
    sound = 0.1 * jax.random.normal(jax.random.key(0), (3, 32000))
    valid = jnp.arange(32000) < jnp.array([[16000], [0], [32000]])
    batch = {'sound': sound, 'valid/sound': valid, 'present/sound': valid.any(1)}
    done = model.preprocess(batch)
    assert done['sound'].shape == (3, frames, 64)
    np.testing.assert_array_equal(done['valid/sound'].sum(1), [valid_frames, 0, frames])
    # What is outside the clip is not heard, whatever it holds.
    other = model.preprocess(batch | {'sound': jnp.where(valid, sound, jnp.nan)})
    np.testing.assert_array_equal(done['sound'], other['sound'])
    variables = model.init(jax.random.key(0), done, train=False)
    assert jnp.isfinite(model.apply(variables, done, train=False).logits).all()


def test_preprocess_touches_the_streams_alone() -> None:
    model = create(dict(encoders=dict(rgb=RGB), fusion=dict(name='concat'), head=dict(name='consensus'),
                        preprocess=dict(rgb='signed')), 3)
    batch = {'rgb': jnp.full((1, 2, 4, 4, 3), 255, jnp.uint8), 'id': jnp.arange(1), 'flow': jnp.zeros((1,), jnp.uint8)}
    done = model.preprocess(batch)
    assert (done['rgb'] == 1).all()
    assert (done['id'].dtype, done['flow'].dtype) == (jnp.int32, jnp.uint8)


@pytest.mark.parametrize(('encoder', 'fusion', 'endpoint'), [
    (SMALL, dict(name='concat'), 'tokens'), (STAGED, dict(name='hierarchical', **KINDS['hierarchical']), 'first')])
def test_an_encoder_that_is_fixed_gives_the_features_of_evaluation_and_keeps_its_statistics(
        encoder: Any, fusion: Any, endpoint: str) -> None:
    random = np.random.default_rng(0)
    batch = {name: jnp.asarray(random.normal(size=(ROWS, *SHAPES[name])), jnp.float32) for name in ('a', 'd')}
    config = dict(encoders=dict(a=encoder, d=encoder), fusion=fusion, head=dict(name='consensus'),
                  preprocess=dict(a='none', d='none'), fixed=('a',))
    model = create(config, 3)
    variables = model.init(jax.random.key(0), batch, train=False)
    trained, state = model.apply(variables, batch, train=True, rngs={'dropout': jax.random.key(1)},
                                 mutable=['batch_stats'])
    evaluated = model.apply(variables, batch, train=False)
    for name, same in (('a', True), ('d', False)):
        found, wanted = (outputs.endpoints[f'{name}/{endpoint}'] for outputs in (trained, evaluated))
        assert np.array_equal(found, wanted) == same
        before, after = (leaf['batch_stats'][f'encoders_{name}'] for leaf in (variables, state))
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before, after))) == same
    with pytest.raises(UserError, match="fixed names 'b', which is no stream"):
        create(config | dict(fixed=('b',)), 3)
