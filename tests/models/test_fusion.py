"""Every fusion against its formula, and what all have in common."""

import functools
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from tests.models import formulas
from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import Fused, Tokens, create
from vmmjax.models.fusion import FUSIONS, Concat, Scores
from vmmjax.models.heads import Consensus

SMALL = dict(features=4, num_attention_heads=2)
# Name: (fusion, number of streams, options, formula).
CASES: dict[str, tuple[str, int, dict[str, Any], Any]] = {
    'bottleneck': ('bottleneck', 2, dict(SMALL, num_hidden_layers=3, fusion_layer=1, num_bottlenecks=2),
                   functools.partial(formulas.bottleneck, layers=3, fusion_layer=1)),
    'late bottleneck': ('bottleneck', 2, dict(SMALL, num_hidden_layers=1, fusion_layer=1),
                        functools.partial(formulas.bottleneck, layers=1, fusion_layer=1)),
    'concat': ('concat', 3, {}, formulas.concat),
    'concat with zeros': ('concat', 2, dict(absent='zero'), formulas.concat),
    'cross_attention': ('cross_attention', 3, SMALL, formulas.cross_attention),
    'film': ('film', 3, dict(features=3), formulas.film),
    'gated': ('gated', 3, dict(features=4), formulas.gated),
    'gated pair': ('gated', 2, dict(features=4), formulas.gated),
    'low_rank_tensor': ('low_rank_tensor', 3, dict(features=6, rank=2), formulas.low_rank_tensor),
    'multiplicative': ('multiplicative', 2, dict(features=4), formulas.multiplicative),
    'multiplicative with zeros': ('multiplicative', 2, dict(features=4, absent='zero'), formulas.multiplicative),
    'non_local': ('non_local', 2, dict(features=4, query='b'), formulas.non_local),
    'probability of scores': ('scores', 3, dict(combine='probability', num_classes=3),
                              functools.partial(formulas.scores, combine='probability')),
    'sum': ('sum', 3, dict(features=4), formulas.add),
    'sum of scores': ('scores', 2, dict(num_classes=3), functools.partial(formulas.scores, combine='sum')),
    'tanh_concat': ('tanh_concat', 3, dict(features=4), formulas.tanh_concat),
    'tensor': ('tensor', 3, dict(features=2), formulas.tensor),
    'transformer': ('transformer', 3, SMALL, formulas.transformer),
    'weighted scores': ('scores', 3, dict(combine='weighted', num_classes=3),
                        functools.partial(formulas.scores, combine='weighted')),
    'weighted_average': ('weighted_average', 3, dict(features=4), formulas.weighted_average),
    'weighted_average by fixed weights': ('weighted_average', 3, dict(features=4, weights=dict(a=1, b=2, c=5)),
                                          formulas.weighted_average),
}
SIZES, COUNTS = dict(a=5, b=7, c=4), dict(a=3, b=2, c=4)
# Of which tokens each row has: all, some, one stream alone, another, none; and of a row what no stream knows.
MASKS = {'a': ['111', '101', '110', '000', '000'], 'b': ['11', '01', '00', '10', '00'],
         'c': ['1111', '0110', '0000', '0000', '0000']}


def batch(streams: int) -> tuple[dict[str, Tokens], dict[str, jax.Array]]:
    """Tokens, NaN where they stand for nothing, and which streams are there."""
    random = np.random.default_rng(0)
    tokens = {}
    for name in list(SIZES)[:streams]:
        mask = np.array([[digit == '1' for digit in row] for row in MASKS[name]])
        x = random.normal(size=(*mask.shape, SIZES[name])).astype(np.float32)
        tokens[name] = Tokens(jnp.asarray(np.where(mask[..., None], x, np.nan)), jnp.asarray(mask))
    return tokens, {name: some.mask.any(1) for name, some in tokens.items()}


@cache
def evaluated(case: str) -> tuple[Any, Fused, Any]:
    """The parameters, what the fusion makes of the batch, and the gradients of the sums over each row by themselves."""
    name, streams, options, _ = CASES[case]
    tokens, present = batch(streams)
    fusion = FUSIONS[name](streams=tuple(tokens), **options)
    shapes = jax.eval_shape(lambda: fusion.init(jax.random.key(0), tokens, present, False)).get('params', {})
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0, 0.6, leaf.shape), jnp.float32), shapes)

    def run(params: Any, x: Any, row: Any) -> Any:
        some = {name: Tokens(x[name], tokens[name].mask) for name in x}
        fused = fusion.apply({'params': params}, some, present, False)
        parts = [part for part in (fused.features, fused.logits) if part is not None]
        loss = sum((part[row] * jnp.cos(1 + jnp.arange(part.shape[-1]))).sum() for part in parts)
        return loss, fused

    compiled = jax.jit(jax.grad(run, (0, 1), has_aux=True), compiler_options=FAST)
    x = {name: some.x for name, some in tokens.items()}
    results = [compiled(params, x, row) for row in range(5)]
    return params, results[0][1], [gradients for gradients, _ in results]


def test_every_kind_is_among_the_cases() -> None:
    with_others = {'hierarchical', 'over_time'}  # Each has tests of its own.
    assert {name for name, *_ in CASES.values()} | with_others == {*FUSIONS}


@pytest.mark.parametrize('case', CASES)
def test_a_fusion_is_its_formula(case: str) -> None:
    _, streams, _, formula = CASES[case]
    params, fused, _ = evaluated(case)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    tokens, _ = batch(streams)
    for row in range(5):
        clip = {}
        for name, some in tokens.items():
            mask = np.asarray(some.mask[row])
            if mask.any():
                time = 100 * (np.arange(len(mask)) + 0.5) / len(mask)
                clip[name] = formulas.Seen(np.asarray(some.x[row], np.float64)[mask], time[mask])
        if clip:
            expected = formula(params, clip, {name: SIZES[name] for name in tokens})
            features, logits = expected if isinstance(expected, tuple) else (expected, None)
            np.testing.assert_allclose(fused.features[row], features, rtol=2e-5, atol=2e-5)
            assert (logits is None) == (fused.logits is None)
            if logits is not None:
                np.testing.assert_allclose(fused.logits[row], logits, rtol=2e-5, atol=2e-5)
        else:
            assert not fused.features[row].any()
            assert fused.logits is None or not fused.logits[row].any()
    np.testing.assert_allclose(fused.features, fused.tokens.mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('case', CASES)
def test_gradients_reach_what_was_there_and_nothing_else(case: str) -> None:
    _, streams, _, _ = CASES[case]
    tokens, present = batch(streams)
    _, _, gradients = evaluated(case)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(gradients[0][0])]
    leaves = [jax.tree.leaves(row[0]) for row in gradients]
    for path, *rows in zip(paths, *leaves, strict=True):
        assert all(np.isfinite(leaf).all() for leaf in rows), path
        assert not rows[4].any(), 'nothing is learned from a clip with nothing present'
        if 'absent_' in path:
            stream = path.split('absent_')[1][0]
            for row in range(4):
                assert rows[row].any() != bool(present[stream][row]), path
        elif "['key']['bias']" in path:
            # An offset of all keys shifts all scores of a query alike, which softmax does not see.
            np.testing.assert_allclose(rows[0], 0, atol=1e-5)
        else:
            assert (np.abs(rows[0]) > 0).all(), path
    for row, (_, inputs) in enumerate(gradients):
        for name, gradient in inputs.items():
            np.testing.assert_array_equal((gradient != 0).all(-1)[row], tokens[name].mask[row])
            assert not np.delete(gradient, row, 0).any(), 'rows do not see each other'


def test_mean_is_over_valid_tokens() -> None:
    x = jnp.asarray([[[1.0], [3.0], [jnp.nan]], [[jnp.nan]] * 3])
    mask = jnp.asarray([[1, 1, 0], [0, 0, 0]], bool)
    np.testing.assert_array_equal(Tokens(x, mask).mean(), [[2], [0]])


def test_concat_of_one_stream_passes_its_tokens() -> None:
    tokens, present = batch(1)
    fused = Concat(('a',)).apply({}, tokens, present, False)
    np.testing.assert_array_equal(fused.tokens.x, tokens['a'].x)
    np.testing.assert_array_equal(fused.features, tokens['a'].mean())


def test_consensus_averages_scores_of_valid_tokens() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)
    some = Tokens(x, jnp.asarray([[1, 0, 1], [0, 0, 0]], bool))
    head = Consensus(5)
    variables = head.init(jax.random.key(0), Fused(some, some.mean()), False)
    logits = head.apply(variables, Fused(some, some.mean()), False)
    each = x[0] @ variables['params']['logits']['kernel'] + variables['params']['logits']['bias']
    np.testing.assert_allclose(logits[0], (each[0] + each[2]) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logits[1], 0)


@pytest.mark.parametrize(('name', 'rates'), [('transformer', (0.25, 0.25)), ('cross_attention', (0.25, 0.25)),
                                             ('bottleneck', (0.0, 0.25))])
def test_dropout_is_of_whole_units_or_whole_parts_of_a_row(name: str, rates: tuple[float, float]) -> None:
    tokens = {stream: Tokens(jnp.ones((2000, 2, 3)), jnp.ones((2000, 2), bool)) for stream in ('a', 'b')}
    present = {stream: jnp.ones(2000, bool) for stream in tokens}
    fusion = FUSIONS[name](('a', 'b'), dropout=0.25, **SMALL)
    variables = fusion.init(jax.random.key(0), tokens, present, False)
    seen: dict[str, jax.Array] = {}

    def look(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(context.module, nn.Dropout) and context.module.rate:
            # Where nothing is lost, what was kept is enlarged.
            seen['/'.join(context.module.path) + f'/{len(seen)}'] = result / args[0]
        return result

    with nn.intercept_methods(look):
        apply = functools.partial(fusion.apply, variables, tokens, present)
        trained = apply(True, rngs={'dropout': jax.random.key(1)}).features
        with_dropout = dict(seen)
        seen.clear()
        evaluated = apply(False).features
    assert all((scale == 1).all() for scale in seen.values())
    assert not np.allclose(trained, evaluated, atol=1e-4)
    assert {path.split('layer_')[1][0] for path in with_dropout} == {str(i) for i, rate in enumerate(rates) if rate}
    for scale in with_dropout.values():
        same = scale[:, :1, :1] if name == 'bottleneck' else scale[:, :1]
        np.testing.assert_allclose(scale, jnp.broadcast_to(same, scale.shape), rtol=1e-5)
        assert (scale == 0).mean() == pytest.approx(0.25, abs=0.05)
        np.testing.assert_allclose(scale[scale != 0], 1 / 0.75, rtol=1e-5)


@pytest.mark.parametrize('case', CASES)
def test_types_are_as_asked(case: str) -> None:
    name, streams, options, _ = CASES[case]
    tokens, present = batch(streams)
    tokens = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tokens)
    fusion = FUSIONS[name](tuple(tokens), dtype=jnp.bfloat16, **options)
    fused, variables = jax.eval_shape(lambda: fusion.init_with_output(jax.random.key(0), tokens, present, False))
    assert fused.features.dtype == fused.tokens.x.dtype == jnp.bfloat16
    assert fused.logits is None or fused.logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype(jnp.float32)}


def test_log_probabilities_are_logits_of_their_mean() -> None:
    _, fused, _ = evaluated('probability of scores')
    np.testing.assert_allclose(jax.nn.softmax(fused.logits[:4]), jnp.exp(fused.logits[:4]), rtol=1e-5)


def test_scores_of_one_stream_are_the_consensus_head() -> None:
    tokens, present = batch(1)
    params, fused = {'logits': {'kernel': jnp.ones((5, 3)), 'bias': jnp.arange(3.0)}}, {}
    for combine in ('sum', 'probability', 'weighted'):
        variables = {'params': {'head_a': params, 'scores': jnp.ones(1)}}
        fused[combine] = Scores(('a',), combine=combine, num_classes=3).apply(variables, tokens, present, False).logits
    expected = Consensus(3).apply({'params': params}, Fused(Tokens(jnp.nan_to_num(tokens['a'].x), tokens['a'].mask),
                                                            jnp.zeros((5, 5))), False)
    np.testing.assert_allclose(fused['sum'], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fused['weighted'], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fused['probability'], jnp.where(present['a'][:, None], jax.nn.log_softmax(expected), 0),
                               rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('name', 'streams', 'options', 'message'), [
    ('concat', 2, dict(absent='zeros'), "did you mean 'zero'"),
    ('multiplicative', 3, {}, 'Multiplicative is of two streams, and the model has a, b, c'),
    ('non_local', 1, {}, 'two streams'),
    ('non_local', 2, dict(query='rgb'), "query='rgb'.*Known: a, b"),
    ('cross_attention', 1, {}, 'two streams or more'),
    ('transformer', 2, dict(features=6, num_attention_heads=4), 'does not divide'),
    ('scores', 2, dict(combine='mean'), "combine scores 'mean'"),
    ('weighted_average', 2, dict(weights=dict(a=1, c=2)), 'one positive number for every stream of a, b'),
    ('weighted_average', 2, dict(weights=dict(a=1, b=0)), 'positive'),
])
def test_mistakes_are_named(name: str, streams: int, options: dict[str, Any], message: str) -> None:
    tokens, present = batch(streams)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: FUSIONS[name](tuple(tokens), **options).init(jax.random.key(0), tokens, present, False))


def test_the_zoo_gives_a_fusion_of_scores_its_classes() -> None:
    audio = dict(name='conv2d_audio', widths=(4,), features=4)
    config = dict(encoders=dict(a=audio, b=audio), preprocess=dict(a='none', b='none'), head=dict(name='consensus'))
    inputs = {'a': jnp.zeros((2, 4, 4)), 'b': jnp.zeros((2, 4, 4))}
    for name in ('scores', 'vmmjax.models.fusion:Scores'):
        model = create(config | dict(fusion=dict(name=name)), 7)
        outputs, variables = jax.eval_shape(lambda model=model: model.init_with_output(jax.random.key(0), inputs,
                                                                                       train=False))
        assert outputs.logits.shape == (2, 7)
        assert outputs.features.shape == (2, 8)
        assert variables['params'].keys() == {'encoders_a', 'encoders_b', 'fusion'}
    model = create(config | dict(fusion=dict(name='scores')), 0)
    outputs = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), inputs, train=False)[0])
    assert outputs.logits is None
    with pytest.raises(UserError, match='has no name'):
        create(config | dict(fusion=dict(combine='sum')), 7)
    with pytest.raises(UserError, match="no option 'num_classes'"):
        create(config | dict(fusion=dict(name='scores', num_classes=3)), 7)


def test_fixed_weights_come_from_a_config() -> None:
    audio = dict(name='conv2d_audio', widths=(4,), features=4)
    config = ConfigDict(dict(encoders=dict(a=audio, b=audio), preprocess=dict(a='none', b='none'),
                             head=dict(name='consensus'),
                             fusion=dict(name='weighted_average', features=4, weights=dict(a=1.0, b=2.0))))
    variables = jax.eval_shape(lambda: create(config, 3).init(
        jax.random.key(0), {'a': jnp.zeros((2, 4, 4)), 'b': jnp.zeros((2, 4, 4))}, train=False))
    assert variables['params']['fusion'].keys() == {'project_a', 'project_b'}
