"""Programs for every kind of output, for platforms that are not here, and the clips that prove them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.serving import two_streams
from vmmjax.models.convolution import conv3d
from vmmjax.serving import programs

PER_TOKEN = dict(model__head=dict(name='per_token'), model__fusion=dict(name='over_time', steps=4,
                                                                        join=dict(name='concat')))
TASKS = {
    'classification': ({}, {}, {'scores': (3,)}),
    'several targets': ({}, dict(classes={'what': ['a', 'b'], 'who': ['c', 'd', 'e']}),
                        {'what': (2,), 'who': (3,)}),
    'multi_label': (dict(task=dict(name='multi_label')), {}, {'scores': (3,)}),
    'regression': (dict(task=dict(name='regression')), dict(classes=['angle']), {'scores': (1,)}),
    'events': (PER_TOKEN | dict(task=dict(name='events')), dict(classes=['event']), {'logits': (4,), 'mask': (4,)}),
    'retrieval': (dict(task=dict(name='retrieval', streams=('rgb', 'audio')),
                       model__stream_head=dict(name='consensus')), {}, {'rgb': (3,), 'audio': (3,)}),
}
FAST = ('several targets', 'events')


def parts_of(run):
    """Weights by path, inputs and the golden clips of an experiment."""
    weights = {path: np.asarray(leaf) for path, leaf in flatten_dict(run.variables, sep='/').items()}
    inputs = programs.inputs_of(run.run_inputs['spec'], run.config.data.streams)
    texts = run.run_inputs['data']['texts']
    return weights, inputs, programs.golden_inputs(inputs, {name: len(text['vocabulary'])
                                                            for name, text in texts.items()})


@pytest.mark.parametrize('task', [task if task in FAST else pytest.param(task, marks=pytest.mark.slow)
                                  for task in TASKS])
def test_a_program_gives_what_evaluation_measures_at_any_batch(task):
    changes, facts, shapes = TASKS[task]
    run = two_streams.experiment(two_streams.config_of(**changes), **facts)
    weights, inputs, given = parts_of(run)
    state = run.state
    expected = run._eval_step(state.params, state.model_state, given | {'mask': np.ones(5, np.float32)})
    golden = programs.run(programs.of_run(run), weights, given)
    assert {name: value.shape for name, value in golden.items()} == {
        name: (5, *shape) for name, shape in shapes.items()}
    for name, value in golden.items():
        np.testing.assert_allclose(value, expected[name] if isinstance(expected, dict) else expected, rtol=1e-5)
    specs = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    exported = programs.lower(programs.of_run(run), 'cpu', specs, programs.batched(inputs))
    assert programs.error_of(exported, weights, given, golden) < 1e-5
    three = exported.call(weights, {key: value[2:] for key, value in given.items()})
    assert programs.error(three, {name: value[2:] for name, value in golden.items()}) < 1e-5


def test_golden_clips_are_cut_short_and_lack_streams_and_words_are_of_the_vocabulary():
    run = two_streams.experiment(two_streams.with_words(two_streams.config_of()))
    weights, _, given = parts_of(run)
    assert given.keys() == {'rgb', 'valid/rgb', 'present/rgb', 'audio', 'valid/audio', 'present/audio', 'words',
                            'words_mask', 'present/words'}
    assert given['rgb'].dtype == np.uint8
    assert given['valid/rgb'].tolist() == [[True] * 4] * 2 + [[True, True, False, False]] + [[True] * 4] * 2
    assert given['words_mask'].sum(1).tolist() == [6, 6, 3, 6, 6]
    assert 0 <= given['words'].min() < given['words'].max() < len(two_streams.WORDS)
    absent = ~np.stack([given[f'present/{name}'] for name in ('rgb', 'audio', 'words')])
    assert absent.any(1).all()
    assert absent.any(0).tolist() == [False, False, False, True, True]
    assert not absent.all(0).any()
    golden = programs.run(programs.of_run(run), weights, given)
    # What is absent has no influence.
    other = {**given, 'rgb': np.where(given['present/rgb'][:, None, None, None, None], given['rgb'], 255)}
    assert (other['rgb'] != given['rgb']).any()
    assert programs.error(programs.run(programs.of_run(run), weights, other), golden) == 0


def test_each_platform_gets_its_own_form_and_equal_programs_are_equal_bytes():
    def program(kernel, batch):
        return conv3d(batch['x'], kernel)

    given = jax.ShapeDtypeStruct((3, 3, 3, 2, 4), jnp.float32), programs.batched({'x': ((4, 8, 8, 2), np.float32)})
    made = {platform: programs.lower(program, platform, *given) for platform in programs.PLATFORMS}
    texts = {platform: exported.mlir_module() for platform, exported in made.items()}
    # A native convolution of clips has five axes.
    assert {platform for platform, text in texts.items() if '[b, 0, 1, 2, f]' in text} == {'cuda', 'tpu'}
    assert all('HIGHEST' in text for text in texts.values())
    again = programs.lower(program, 'cpu', *given)
    assert again.serialize() == made['cpu'].serialize()
    assert b'.py' not in bytes(again.serialize()), 'paths of this machine'


@pytest.mark.parametrize(('found', 'worst'), [
    ({'a': [1.0, 4.0]}, 0.0), ({'a': [1.0, 4.4]}, 0.1), ({'b': [1.0, 4.0]}, np.inf), ({'a': [1.0]}, np.inf),
    ({'a': [np.nan, 4.0]}, np.inf), ({'a': [1.0, 4.0], 'b': [1.0]}, np.inf)])
def test_the_error_is_relative_to_the_largest_output(found, worst):
    found = {name: np.array(value) for name, value in found.items()}
    assert programs.error(found, {'a': np.array([1.0, 4.0])}) == pytest.approx(worst)
