"""Clips explained by a run of pictures, sound and words that nobody trained, from arrays."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.prepare.array_store import ArrayStore
from vmmjax.serving.explain import Explainer
from vmmjax.serving.explain_split import added, explain_split
from vmmjax.training.state import TrainState

SAID = ['place red now', 'set blue', '', 'place blue now please']


def clips(count):
    random = np.random.default_rng(0)
    return {'rgb': random.integers(0, 255, (count, 10, 16, 16, 3), np.uint8),
            'audio': [None if i == 1 else random.normal(size=(40, 8)).astype(np.float32) for i in range(count)],
            'said': SAID[:count], 'label': ['a', 'b', 'c', 'a'][:count]}


@pytest.fixture(scope='module')
def run():
    """An experiment with two windows a clip."""
    config = configs.defaults()
    config.batch_size = 8
    config.data.window.seconds, config.data.views.clips = 0.8, 2
    config.data.streams = dict(audio=dict(modality='audio'), rgb=dict(modality='rgb', frames=4, size=16),
                               text=dict(modality='text:said', length=6))
    config.data.dropout = dict(audio=0.5)
    average = dict(name='tests.cli.toy:Average', features=4)
    config.model.encoders = dict(audio=average, rgb=average, text=dict(name='gru', vocab_size=12, embedding_size=4,
                                                                       hidden_size=4))
    config.model.preprocess = dict(audio='none', rgb='signed', text='ids')
    experiment = Experiment(configs.lock(config), ArrayStore(
        {'train': clips(4), 'test': clips(4)}, {'rgb': 10, 'audio': 40}))
    variables = jax.jit(experiment.init)(jax.random.key(0))
    experiment.state = TrainState(step=jnp.asarray(0), params=variables['params'], model_state={}, opt_state=())
    return experiment


@pytest.fixture(scope='module')
def explained(run):
    """The first clip, all that there is to say."""
    return Explainer(run)({name: values[:1] for name, values in clips(1).items() if name != 'label'})


def test_the_streams_share_out_the_logit(run, explained):
    assert explained.present == {'audio': True, 'rgb': True, 'text': True}
    assert explained.coalitions.shape == (8, 2)
    np.testing.assert_allclose(sum(explained.values.values()), explained.scores, atol=1e-5)
    (predicted,) = run.predict({name: values for name, values in clips(1).items() if name != 'label'})
    np.testing.assert_allclose(explained.scores.mean(), predicted.scores.max(), atol=1e-5)
    assert explained.named == predicted.reading[0]['named'][0][0]
    assert list(explained.subsets) == ['none', 'audio', 'rgb', 'audio+rgb', 'text', 'audio+text', 'rgb+text',
                                       'audio+rgb+text']
    assert explained.trained_with_absence


def test_times_are_those_of_the_windows(explained):
    np.testing.assert_allclose(explained.starts, [0, 0.2])
    assert (explained.seconds, explained.length) == (1.0, 0.8)
    np.testing.assert_allclose(explained.times(4), [[0.1, 0.3, 0.5, 0.7], [0.3, 0.5, 0.7, 0.9]])
    arrays = explained.arrays()
    assert arrays['rgb/gradients'].shape == (2, 4, 16, 16)
    assert arrays['audio/gradients'].shape == (2, 32, 8)
    np.testing.assert_allclose(arrays['rgb/hirescam/seconds'], explained.times(4))
    assert 'text/gradients/seconds' not in arrays


def test_every_map_says_what_it_is(explained):
    found = {(each.stream, each.method): each for each in explained.maps}
    assert {stream for stream, _ in found} == {'audio', 'rgb', 'text'}
    assert {method for _, method in found} == {'hirescam', 'gradcam', 'gradients', 'occlusion'}
    hirescam = found['rgb', 'hirescam']
    assert hirescam.at == 'encoders_rgb'
    np.testing.assert_allclose(hirescam.values.reshape(2, -1).sum(1), hirescam.change, atol=1e-5)
    assert hirescam.standing.startswith('exact')
    assert found['text', 'hirescam'].standing.startswith('a heuristic: the values miss')
    total = sum(found[stream, 'gradients'].values.reshape(2, -1).sum(1) for stream in ('audio', 'rgb', 'text'))
    np.testing.assert_allclose(total + found['rgb', 'gradients'].residual, found['rgb', 'gradients'].change, atol=1e-5)
    assert found['rgb', 'gradients'].steps >= 16
    assert found['rgb', 'occlusion'].values.shape == (2, 4, 4, 4)
    assert found['text', 'occlusion'].values.shape == (2, 6)
    assert explained.seen['text'] == ['place', 'red', 'now']
    assert explained.seen['rgb'].shape == (2, 4, 16, 16, 3)


def test_what_a_clip_lacks_says_nothing_and_has_no_map(run):
    found = Explainer(run, methods=('streams', 'hirescam'))({'rgb': clips(1)['rgb'], 'said': ['']}, named='b')
    assert found.named == 'b'
    assert found.present == {'audio': False, 'rgb': True, 'text': False}
    np.testing.assert_array_equal(found.values['audio'], 0)
    np.testing.assert_allclose(found.values['rgb'], found.scores, atol=1e-6)
    assert {(each.stream, each.method) for each in found.maps} == {('rgb', 'hirescam')}


def test_a_clip_after_one_that_lacked_words_has_a_map_of_its_words(run):
    explainer = Explainer(run, methods=('gradients',))
    first = explainer({'rgb': clips(1)['rgb'], 'said': ['']})
    assert {each.stream for each in first.maps} == {'rgb'}
    second = explainer({name: values[:1] for name, values in clips(1).items() if name != 'label'})
    assert {each.stream for each in second.maps} == {'audio', 'rgb', 'text'}
    total = sum(each.values.reshape(2, -1).sum(1) for each in second.maps)
    np.testing.assert_allclose(total + second.maps[0].residual, second.maps[0].change, atol=1e-5)


def test_mistakes_are_one_sentence(run):
    with pytest.raises(UserError, match="no method 'hirecam': did you mean 'hirescam'"):
        Explainer(run, methods=['hirecam'])
    with pytest.raises(UserError, match="is of no encoder: did you mean 'encoders_rgb'"):
        Explainer(run, layer='encoder_rgb/last')
    with pytest.raises(UserError, match='one target; leave out'):
        Explainer(run, target='label')
    explainer = Explainer(run, methods=['hirescam'], layer='encoders_rgb/Dense_1')
    arrays = {name: values[:1] for name, values in clips(1).items() if name != 'label'}
    with pytest.raises(UserError, match="no class 'd'"):
        explainer(arrays, named='d')
    with pytest.raises(UserError, match="no layer 'encoders_rgb/Dense_1': did you mean 'encoders_rgb/Dense_0'"):
        explainer(arrays)


def test_a_split_is_shared_out_clip_by_clip(run):
    found = explain_split(run, 'test')
    assert found.clips.tolist() == [f'test/{i}' for i in range(4)]
    assert found.coalitions.shape == (8, 4)
    whole = next(iter(run.predictions('test', subsets=False).values()))
    np.testing.assert_allclose(sum(found.values.values()), whole.scores.max(1), atol=1e-6)
    np.testing.assert_array_equal(found.values['audio'][1], 0)  # It has no sound,
    np.testing.assert_array_equal(found.values['text'][2], 0)  # and this one no words.
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.to_json()['subsets'].keys() == run.task.subsets(['audio', 'rgb', 'text']).keys()
    assert found.arrays()['value/rgb'].shape == (4,)


def test_a_row_of_a_store_is_explained_as_its_arrays_are(run):
    explainer = Explainer(run, methods=('streams', 'hirescam'))
    store = run.store
    found = explainer.of_row(store, store.rows('test')[0])
    arrays = explainer({name: values[:1] for name, values in clips(4).items() if name != 'label'})
    assert found.clip == 'test/0'
    assert found.named == arrays.named
    np.testing.assert_allclose(found.scores, arrays.scores, atol=1e-6)
    np.testing.assert_array_equal(found.starts, arrays.starts)
    for mine, other in zip(found.maps, arrays.maps, strict=True):
        assert (mine.stream, mine.at) == (other.stream, other.at)
        np.testing.assert_allclose(mine.values, other.values, atol=1e-6)


def test_a_result_says_which_stream_said_what(run):
    found = run.predictions('test')
    worst = [{'clip': 'test/1', 'loss': 2.0, 'told': []}]
    result = dataclasses.replace(run.result(found, 'test'), worst=worst)
    told = added(run, found, result, run.store)
    shares = explain_split(run, 'test')
    (table,) = told.tables[len(result.tables):]
    assert [row[0] for row in table['rows']] == ['audio', 'rgb', 'text']
    assert [row[1] for row in table['rows']] == [3, 4, 3]
    np.testing.assert_allclose([row[2] for row in table['rows']], [each.mean() for each in shares.values.values()])
    assert 'heuristic' not in table['note']
    (said,) = told.worst[0]['streams']
    assert said['class'] == shares.named[1]
    assert said['values'].keys() == {'rgb', 'text'}  # It has no sound.
    assert 'streams' not in worst[0]
    never = copy.copy(run)
    never.config = run.config.copy_and_resolve_references()
    with never.config.unlocked():
        never.config.data.dropout = {}
    assert 'A heuristic: this run never trained with absent streams' in added(
        never, found, result, run.store).tables[-1]['note']
