import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluation import clips
from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import Result, write
from vmmjax.experiment import Experiment
from vmmjax.reports import run_page
from vmmjax.tasks import Contrastive
from vmmjax.tasks.contrastive import bounded
from vmmjax.training.objective import Context, mean_of, total

PAIR = dict(name='contrastive', streams=('rgb', 'audio'), dimensions=4, temperature=0.5)
X = {name: np.random.default_rng(i).normal(size=(6, 5)).astype(np.float32)
     for i, name in enumerate(('rgb', 'audio', 'view1/rgb', 'view1/audio'))}


def compared(task, rows, ids=range(6), mask=(1,) * 6):
    """The loss of embeddings (6, windows, D)."""
    batch = {'mask': jnp.asarray(mask, jnp.float32), 'id': jnp.asarray(list(ids))}
    ctx = SimpleNamespace(batch=batch, params={'task_training': {'log_scale': jnp.log(2.0)}}, model_state={})
    present = {f'present/{name}': np.ones(x.shape[:2]) for name, x in rows.items()}
    return task.compare(ctx, present | {name: jnp.asarray(x) for name, x in rows.items()})


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def reference(one, other, allowed):
    """InfoNCE of rows at temperature 1/2; `allowed` (N, N): what stands below the fraction."""
    alike = 2 * one @ other.T
    return np.mean([np.log((np.where(allowed, np.exp(x), 0)).sum(1)) - np.diagonal(x) for x in (alike, alike.T)])


def task(**changes):
    return Contrastive(target='label', **{key: value for key, value in {**PAIR, **changes}.items() if key != 'name'})


@pytest.mark.parametrize(('how', 'same'), [('excluded', False), ('negatives', True)])
def test_other_windows_of_a_clip_are_negatives_or_excluded(how, same):
    rows = {name: unit(np.stack([X[name], X[f'view1/{name}']], 1)) for name in ('rgb', 'audio')}
    loss = compared(task(windows=2, other_windows=how), rows)
    clip = np.repeat(np.arange(6), 2)
    allowed = (clip[:, None] != clip) | np.eye(12, dtype=bool) | same
    flat = {name: x.reshape(12, 5) for name, x in rows.items()}
    np.testing.assert_allclose(total(loss), reference(flat['rgb'], flat['audio'], allowed), rtol=1e-5)


def test_every_pair_of_three_has_a_term():
    rows = {name: unit(X[key])[:, None] for name, key in (('rgb', 'rgb'), ('audio', 'audio'), ('rgb@1', 'view1/rgb'))}
    loss = compared(task(streams=tuple(rows)), rows)
    everything = np.ones((6, 6), bool)
    for one, other in (('rgb', 'audio'), ('rgb', 'rgb@1'), ('audio', 'rgb@1')):
        expected = reference(rows[one][:, 0], rows[other][:, 0], everything)
        np.testing.assert_allclose(mean_of(loss.terms[f'loss_{one}_{other}']), expected, rtol=1e-5)
    assert len(loss.terms) == 3


def test_the_temperature_comes_back_from_its_bound_and_does_not_pass_it():
    slope = jax.grad(lambda x, sign: sign * bounded(x, 0.0, 2.0))
    assert bounded(jnp.float32(5), 0.0, 2.0) == 2
    assert [float(slope(x, sign)) for x, sign in ((5.0, -1.0), (5.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))] == [
        0, 1, -1, 0, -1]


class Linear:
    """A model whose features of a stream are the batch's numbers, with what dropout would draw for a row added."""

    @staticmethod
    def apply(variables, batch, train, rngs=None, mutable=()):
        there = [name for name in ('rgb', 'audio') if name in batch]
        noise = 0 if rngs is None else jax.random.normal(rngs['dropout'], batch[there[0]].shape)
        return SimpleNamespace(
            stream_features={name: variables['params']['scale'] * batch[name] + 0.1 * noise for name in there},
            present={name: batch[f'present/{name}'] for name in there}), {}


def start(one):
    features = {name: jnp.asarray(X[name][:1]) for name in ('rgb', 'audio')}
    own = one.init(jax.random.key(0), SimpleNamespace(stream_features=features), {})
    return {'scale': jnp.ones(5), **own['params']}


def batch(present=(1,) * 6):
    return {**{name: jnp.asarray(x) for name, x in X.items()}, 'id': jnp.arange(6), 'mask': jnp.ones(6),
            'row': jnp.arange(6),
            **{f'{view}present/{name}': jnp.asarray(present if name == 'audio' else [1] * 6, bool)
               for view in ('', 'view1/') for name in ('rgb', 'audio')}}


def test_rows_without_both_streams_neither_ask_nor_answer():
    one = task()
    params = start(one)
    differentiated = jax.jit(jax.value_and_grad(lambda p, rows: total(asked.loss(one, Linear.apply, p, rows))))
    lacking, _ = differentiated(params, batch((1, 1, 1, 1, 0, 0)))
    masked, _ = differentiated(params, batch() | {'mask': jnp.asarray(jnp.arange(6) < 4, jnp.float32)})
    np.testing.assert_allclose(lacking, masked, rtol=1e-6)
    nothing, slopes = differentiated(params, batch([0] * 6))
    assert nothing == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slopes))


def test_views_of_one_stream_are_drawn_and_dropped_independently():
    one = task(streams=('rgb', 'rgb@1'))
    embeddings, _ = one.embed(context(one, batch()))
    assert embeddings['rgb'].shape == (6, 1, 4)
    assert not np.allclose(embeddings['rgb'], embeddings['rgb@1'])
    same = {**batch(), 'view1/rgb': batch()['rgb']}
    embeddings, _ = one.embed(context(one, same))
    assert not np.allclose(embeddings['rgb'], embeddings['rgb@1'])  # Other units are dropped.


def context(one, clips):
    return Context(Linear.apply, start(one), {}, clips, 0, jnp.zeros((), int), None, jax.random.key(0))


def test_test_views_of_a_single_stream_find_each_other():
    one = task(streams=('rgb', 'rgb@1'))
    draw = np.random.default_rng(0).normal
    x = draw(size=(4, 3))
    rows = Predictions(np.repeat([3, 5, 8, 9], 2), {}, {'rgb': np.stack([x, x + 1e-3], 1).reshape(8, 3)},
                       {'rgb': np.ones(8, bool)})
    assert one.each_view
    assert one.examples(rows) == 4
    assert one.summary(rows)['recall1_rgb_to_rgb@1'] == 1
    assert one.chance(rows)['median_rank_rgb_to_rgb@1'] == 2.5
    values, _ = one.per_clip(rows)['recall1_rgb_to_rgb@1']
    np.testing.assert_array_equal(values, [1, np.nan] * 4)
    for place in (4, 5):  # Both views of the third clip.
        reading, = one.reading(rows, place)
        assert reading['target'] == 'rgb and rgb@1'
        assert reading['cosine'] == pytest.approx(float(_unit(x[2]) @ _unit(x[2] + 1e-3)), abs=1e-6)
        assert list(reading['embeddings']) == ['rgb', 'rgb@1']


def _unit(x):
    return x / np.linalg.norm(x)


@pytest.mark.slow
def test_it_is_learned_and_measured(tmp_path):
    store = clips.make_store(tmp_path / 'clips')
    config = clips.config_of(store, dict(name='contrastive', streams=('one', 'two'), dimensions=16, hidden=(16,)),
                             'letter', head={})
    experiment, _ = clips.trained(config, tmp_path / 'run')
    result = experiment.evaluate('test')
    assert result.examples == 24
    assert result.metrics['recall1_one_to_two'] > 0.5 > result.chance['recall1_one_to_two']
    assert 'projector_one' in experiment.variables['params']['task_training']
    assert result.intervals['recall1_one_to_two']['label'] == '95 % CI, Wilson'
    assert Result.from_json(write(tmp_path / 'run', result).read_text()) == result
    assert 'median rank one to two' in run_page.write(tmp_path / 'run').read_text()


@pytest.mark.parametrize(('given', 'message'), [
    (dict(streams=('rgb',)), 'no pair to compare'),
    (dict(streams=('rgb', 'rgb')), 'no pair to compare'),
    (dict(streams=('rgb', 'sound')), "'sound', which is no stream"),
    (dict(streams=('rgb', 'rgb@x')), "'rgb@x'; view 1 of the stream rgb is written 'rgb@1'"),
    (dict(streams=('rgb', 'rgb@1')), r'set data.streams.rgb.views = 2'),
    (dict(windows=2), r'set data.streams.rgb.views = 2'),
    (dict(windows=2, streams=('rgb', 'rgb@1')), 'counts views of each stream'),
    (dict(other_windows='negative'), "did you mean 'negatives'"),
    (dict(temperature=0.001), '0 < smallest <= temperature'),
])
def test_what_a_config_gets_wrong(given, message):
    with pytest.raises(UserError, match=message):
        asked.task({**PAIR, **given}, 'label')


def test_a_batch_of_one_and_streams_of_other_clips(tmp_path):
    store = clips.make_store(tmp_path / 'clips')
    config = clips.config_of(store, dict(name='contrastive', streams=('one', 'two')), 'letter', head={})
    config.batch_size = 1
    with pytest.raises(UserError, match='one row has nothing to be told from'):
        Experiment(config)
    config.batch_size = 16
    experiment = Experiment(config, devices=jax.devices()[:1])
    column = experiment.store.column('two')
    lacking = dataclasses.replace(column, lengths=np.zeros_like(column.lengths))
    store = SimpleNamespace(rows=experiment.store.rows, name='s', splits=experiment.store.splits,
                            column=lambda name: lacking if name == 'two' else experiment.store.column(name))
    with pytest.raises(UserError, match='has both one and two'):
        experiment.task.describe(store, config.data)
