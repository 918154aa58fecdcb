"""What a model gives beside one array of logits: for several targets, for every stream alone, for every moment."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.models import MultimodalModel, create
from vmmjax.models.fusion import Concat, OverTime
from vmmjax.models.heads import Consensus
from vmmjax.models.tokens import Fused, Outputs, Tokens

SOUND = dict(name='conv2d_audio', widths=(4, 4), features=5)
WORDS = {'digit': 3, 'letter': 2}


def made(num_classes: Any = 3, streams: str = 'ab', **changes: Any) -> tuple[MultimodalModel, Any, Outputs]:
    """A model, its variables, and what it makes of a batch whose second clip has no b and whose third has nothing."""
    config = dict(encoders=dict.fromkeys(streams, SOUND), preprocess=dict.fromkeys(streams, 'none'),
                  fusion=dict(name='concat'), head=dict(name='consensus')) | changes
    model = create(config, num_classes)
    outputs, variables = model.init_with_output(jax.random.key(0), clips(streams), train=False)
    return model, variables, outputs


def clips(streams: str) -> dict[str, jax.Array]:
    batch = {name: jax.random.normal(jax.random.key(i), (3, 9, 4)) for i, name in enumerate(streams)}
    there = {'a': jnp.array([True, True, False]), 'b': jnp.array([True, False, False])}
    return batch | {f'present/{name}': there[name] for name in streams}


@pytest.mark.slow
def test_every_target_has_a_head_of_its_own() -> None:
    _, variables, outputs = made(WORDS, stream_head=dict(name='consensus'))
    assert {target: logits.shape for target, logits in outputs.logits.items()} == {'digit': (3, 3), 'letter': (3, 2)}
    assert variables['params'].keys() == {
        'encoders_a', 'encoders_b', 'fusion', 'head_digit', 'head_letter', 'stream_heads_a_digit',
        'stream_heads_a_letter', 'stream_heads_b_digit', 'stream_heads_b_letter'}
    for target, logits in outputs.logits.items():
        head = variables['params'][f'head_{target}']['logits']
        np.testing.assert_allclose(logits[:2], (outputs.features @ head['kernel'] + head['bias'])[:2], rtol=1e-4,
                                   atol=1e-5)
        for name in 'ab':
            assert outputs.stream_logits[name][target].shape == logits.shape
    assert outputs.mask is None


def test_a_fusion_of_scores_has_heads_for_every_stream_and_target() -> None:
    _, variables, outputs = made(WORDS, fusion=dict(name='scores', combine='weighted'))
    assert variables['params']['fusion'].keys() == {'scores', 'head_a_digit', 'head_a_letter', 'head_b_digit',
                                                    'head_b_letter'}
    assert 'head_digit' not in variables['params']
    for target, logits in outputs.logits.items():
        a, b = (outputs.stream_logits[name][target] for name in 'ab')
        np.testing.assert_allclose(logits[0], (a + b)[0] / 2, rtol=1e-5)
        np.testing.assert_array_equal(logits[1], a[1])
        assert not logits[2].any()


def test_a_streams_own_head_sees_it_alone() -> None:
    model, variables, outputs = made(stream_head=dict(name='consensus', dropout=0.0))
    assert outputs.stream_logits.keys() == {'a', 'b'}
    tokens = outputs.endpoints['b/tokens'][0]
    head = variables['params']['stream_heads_b']['logits']
    np.testing.assert_allclose(outputs.stream_logits['b'][0], tokens.mean(0) @ head['kernel'] + head['bias'], rtol=1e-4,
                               atol=1e-5)
    for name, there in (('a', [True, True, False]), ('b', [True, False, False])):
        np.testing.assert_array_equal(outputs.present[name], there)
        np.testing.assert_array_equal(outputs.stream_logits[name].any(1), there)

    def loss(batch: Any) -> jax.Array:
        return (model.apply(variables, batch, train=False).stream_logits['a'] ** 2).sum()

    gradients = jax.grad(lambda streams: loss(clips('ab') | streams))({name: clips('ab')[name] for name in 'ab'})
    assert gradients['a'].any()
    assert not gradients['b'].any()
    without = model.apply(variables, {'a': clips('ab')['a']}, train=False)
    assert not without.stream_logits['b'].any()
    assert not without.present['b'].any()


def test_without_own_heads_nothing_is_added() -> None:
    _, variables, outputs = made(stream_head={})
    assert outputs.stream_logits == {}
    assert variables['params'].keys() == {'encoders_a', 'encoders_b', 'fusion', 'head'}


def test_a_model_without_a_head_can_have_own_heads() -> None:
    _, variables, outputs = made(4, head={}, stream_head=dict(name='consensus'))
    assert outputs.logits is None
    assert outputs.stream_logits['a'].shape == (3, 4)
    assert 'head' not in variables['params']


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(stream_head=dict(name='consensus', drop=1)), "did you mean 'dropout'"),
    (dict(stream_head=dict(name='per_token')), 'a stream_head is of whole clips'),
    (dict(head=dict(name='per_token')), 'take the fusion over_time'),
    (dict(head=dict(name='per_token'), fusion=dict(name='bottleneck', num_attention_heads=2, features=4)),
     'take the fusion over_time'),
    (dict(fusion=dict(name='over_time', join=dict(name='concat'), steps=0)), 'at least 1'),
    (dict(fusion=dict(name='scores'), stream_head=dict(name='consensus')), 'leave stream_head empty'),
    (dict(fusion=dict(name='over_time')), r'join=dict\(name='),
])
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**changes)


def test_a_head_for_every_token() -> None:
    _, variables, outputs = made(streams='a', head=dict(name='per_token', dropout=0.0))
    head = variables['params']['head']['logits']
    assert outputs.logits.shape == (3, 3, 3)
    np.testing.assert_array_equal(outputs.mask, [[True] * 3, [True] * 3, [False] * 3])
    np.testing.assert_allclose(outputs.logits[:2], (outputs.endpoints['a/tokens'] @ head['kernel'] + head['bias'])[:2],
                               rtol=1e-4, atol=1e-5)
    assert not outputs.logits[2].any()
    consensus = Consensus(3, dropout=0.0).apply(
        {'params': variables['params']['head']},
        Fused(Tokens(outputs.endpoints['a/tokens'], outputs.mask), outputs.features), False)
    np.testing.assert_allclose(consensus[:2], outputs.logits[:2].mean(1), rtol=1e-4, atol=1e-5)


def test_streams_are_fused_moment_by_moment() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 6, 2)).astype(np.float32), random.normal(size=(2, 2, 3)).astype(np.float32)
    valid = {'a': np.array([[1, 1, 1, 0, 1, 0], [0] * 6], bool), 'b': np.array([[1, 0], [0, 1]], bool)}
    tokens = {'a': Tokens(jnp.asarray(np.where(valid['a'][..., None], a, np.nan)), jnp.asarray(valid['a'])),
              'b': Tokens(jnp.asarray(b), jnp.asarray(valid['b']))}
    present = {name: some.mask.any(1) for name, some in tokens.items()}
    fusion = OverTime(('a', 'b'), join=Concat(('a', 'b'), absent='zero'), steps=3)
    fused = fusion.apply({}, tokens, present, False)
    # Thirds of the clip: two of a's tokens each; b's tokens are halves, of which the middle third has one quarter each.
    expected = np.zeros((2, 3, 5), np.float32)
    expected[0, 0] = [*(a[0, 0] + a[0, 1]) / 2, *b[0, 0]]
    expected[0, 1] = [*a[0, 2], *b[0, 0]]
    expected[0, 2, :2] = a[0, 4]
    expected[1, 1, 2:] = expected[1, 2, 2:] = b[1, 1]
    there = np.array([[True] * 3, [False, True, True]])
    np.testing.assert_array_equal(fused.tokens.mask, there)
    np.testing.assert_allclose(fused.tokens.x, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fused.features, fused.tokens.mean(), rtol=1e-5, atol=1e-6)


def test_events_of_several_streams() -> None:
    join = dict(name='gated', features=4)
    model, variables, outputs = made(head=dict(name='per_token', dropout=0.0),
                                     fusion=dict(name='over_time', join=join, steps=4))
    assert outputs.logits.shape == (3, 4, 3)
    np.testing.assert_array_equal(outputs.mask, [[True] * 4, [True] * 4, [False] * 4])
    # What happens late in one stream moves late scores alone.
    batch = clips('ab')
    scores = model.apply(variables, batch, train=False).logits
    changed = model.apply(variables, batch | {'a': batch['a'].at[:, 8:].multiply(3)}, train=False).logits
    np.testing.assert_allclose(scores[:2, 0], changed[:2, 0], rtol=1e-5)
    assert (scores[:2, 3] != changed[:2, 3]).all()


def test_scores_over_time_are_means_of_their_moments() -> None:
    _, _, outputs = made(fusion=dict(name='over_time', join=dict(name='scores'), steps=3))
    assert outputs.logits.shape == (3, 3)
    np.testing.assert_allclose(outputs.logits[1], outputs.stream_logits['a'][1], rtol=1e-5)
    a, b = (outputs.stream_logits[name] for name in 'ab')
    np.testing.assert_allclose(outputs.logits[0], (a + b)[0], rtol=1e-5, atol=1e-6)


def test_decoders_are_given_the_fused_tokens() -> None:
    _, _, outputs = made(streams='a')
    assert outputs.tokens.x.shape == (3, 3, 5)
    np.testing.assert_array_equal(outputs.tokens.mask, [[True] * 3, [True] * 3, [False] * 3])
    assert outputs.timed
    _, _, outputs = made()
    assert outputs.tokens.x.shape[1] == 1
    assert not outputs.timed
