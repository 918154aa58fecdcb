import os
from types import SimpleNamespace

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import special

from vmmjax.errors import UserError
from vmmjax.evaluation import predictions, view_averages
from vmmjax.evaluation.result import Result, write
from vmmjax.tasks import Classification

CLASSES = ['left+low', 'left+high', 'right+low', 'right+high']
PARTS = {'side': ['left', 'left', 'right', 'right'], 'tone': ['low', 'high', 'low', 'high']}
STREAMS = ('rgb', 'audio')
STORE = SimpleNamespace(has_values=lambda name: False)
TASK = Classification(target='label', facts={'classes': CLASSES, 'parts': PARTS})


def batch_of(rows, size=None, audio=lambda row: True):
    """A clip batch of those catalog rows; pictures tell the side (row's bit 1), sound the tone (bit 0)."""
    size = size or len(rows)
    ids = np.full(size, -1, np.int32)
    ids[:len(rows)] = rows
    real = ids >= 0
    heard = np.array([real[i] and audio(row) for i, row in enumerate(ids)])
    return {'id': ids, 'mask': real.astype(np.float32),
            'target/label': np.where(real, ids % 4, 0).astype(np.int32),
            'rgb': (2. * (ids // 2 % 2) - 1).astype(np.float32),
            'audio': (2. * (ids % 2) - 1).astype(np.float32),
            'present/rgb': real, 'present/audio': heard}


def model(params, model_state, batch):
    """Scores that use what is present: exactly right with both streams."""
    rgb = jnp.where(batch['present/rgb'], batch['rgb'], 0)[:, None]
    audio = jnp.where(batch['present/audio'], batch['audio'], 0)[:, None]
    return params * (rgb * jnp.array([-1, -1, 1, 1.]) + audio * jnp.array([-1, 1, -1, 1.]))


def subsets(batches, step=model, streams=STREAMS):
    return predictions.subsets(step, jnp.float32(2), {}, batches, streams, put=jax.device_put, target='label')


def measured(batches):
    return TASK.result(subsets(batches), split='test', step=7, store=STORE)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(list(range(21))), size=st.integers(1, 12), again=st.lists(st.integers(0, 20), max_size=5))
def test_the_logits_or_probabilities_of_a_clips_views_are_averaged(order, size, again):
    # Seven clips, three views each; some rows come twice, the last batch is padded.
    seen = np.array([*order, *again])
    strength = np.linspace(0.1, 1.7, 21)

    def batch_at(first):
        part = seen[first:first + size]
        batch = batch_of(part // 3, size)
        scale = np.zeros(size)
        scale[:len(part)] = strength[part]
        view = np.zeros(size, np.int32)
        view[:len(part)] = part % 3
        return batch | {'view': view, 'rgb': (batch['rgb'] * scale).astype(np.float32),
                        'audio': (batch['audio'] * scale).astype(np.float32)}

    batches = [batch_at(first) for first in range(0, len(seen), size)]
    found = predictions.predict(model, jnp.float32(2), {}, batches, STREAMS, put=jax.device_put, target='label')
    np.testing.assert_array_equal(found.id, np.arange(7))
    np.testing.assert_array_equal(found.target, np.arange(7) % 4)
    expected = np.asarray(model(2., {}, batch_of(np.arange(7)))) * strength.reshape(7, 3).mean(axis=1)[:, None]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    found = predictions.predict(model, jnp.float32(2), {}, batches, STREAMS, put=jax.device_put, target='label',
                             average=view_averages.probabilities)
    each = np.asarray(model(2., {}, batch_of(np.arange(7))))[:, None] * strength.reshape(7, 3, 1)
    np.testing.assert_allclose(special.softmax(found.scores, axis=-1), special.softmax(each, axis=-1).mean(axis=1),
                               rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(rows=st.permutations(list(range(11))), size=st.integers(1, 12),
       again=st.lists(st.integers(0, 10), max_size=5))
def test_every_clip_counts_once_whatever_the_batches(rows, size, again):
    rows = [*rows, *again]
    batches = [batch_of(rows[i:i + size], size) for i in range(0, len(rows), size)]
    found = predictions.predict(model, jnp.float32(2), {}, batches, STREAMS, put=jax.device_put, target='label')
    np.testing.assert_array_equal(found.id, np.arange(11))
    np.testing.assert_array_equal(found.target, np.arange(11) % 4)
    np.testing.assert_array_equal(found.scores, model(2., {}, batch_of(np.arange(11))))
    assert (found.id.dtype, found.target.dtype, found.scores.dtype) == (np.int32, np.int32, np.float32)
    assert set(found.present) == set(STREAMS)
    assert all(value.all() for value in found.present.values())


def test_the_first_of_duplicates_is_kept():
    first, second = batch_of([3, 4]), batch_of([4, 5])
    second['rgb'] = np.zeros(2, np.float32)
    found = predictions.predict(model, jnp.float32(1), {}, [first, second], STREAMS, put=jax.device_put,
                             target='label')
    assert found.id.tolist() == [3, 4, 5]
    assert np.abs(found.scores).max(axis=1).tolist() == [2, 2, 1]  # Only row 5 is from the blanked pictures.


def test_subsets_withhold_streams_and_measure_the_clips_that_have_them():
    rows = list(range(16))
    batches = [batch_of(rows[i:i + 6], 6, audio=lambda row: row >= 4) for i in range(0, 16, 6)]
    result = measured(batches)
    assert list(result.subsets) == ['rgb+audio', 'rgb', 'audio']
    # One stream cannot tell two classes apart: the first of equals wins.
    expected = {'rgb+audio': (12, 1, 1, 1, 1), 'rgb': (16, .5, 1, 1, .5), 'audio': (12, .5, 1, .5, 1)}
    for name, figures in expected.items():
        row = result.subsets[name]
        assert tuple(row[key] for key in ('examples', 'accuracy', 'top5', 'side', 'tone')) == figures
    # Over all clips, of which 4 are without sound and half of those right by chance.
    assert result.examples == 16
    assert result.metrics['accuracy'] == 14 / 16
    assert result.chance == {'accuracy': .25, 'side': .5, 'tone': .5}
    assert np.trace(np.array(result.confusion)) == 14


def test_one_compilation_serves_all_subsets_and_batches():
    traces = []

    @jax.jit
    def step(params, model_state, batch):
        traces.append(1)
        return model(params, model_state, batch)

    subsets([batch_of([0, 1, 2]), batch_of([3], 3)], step)
    assert len(traces) == 1


def test_a_subset_no_clip_has_is_empty_not_an_error():
    result = measured([batch_of(range(4), audio=lambda row: False)])
    assert result.subsets['audio'] == {**dict.fromkeys(result.subsets['rgb']), 'examples': 0, 'intervals': {}}


def test_order_and_number_of_subsets():
    assert list(predictions.subset_names('abc')) == ['a+b+c', 'a+b', 'a+c', 'b+c', 'a', 'b', 'c']
    assert list(predictions.subset_names(['rgb'])) == ['rgb']
    assert len(predictions.subset_names('abcdef')) == 63
    many = predictions.subset_names('abcdefg')
    assert [len(chosen) for chosen in many.values()] == [7] + [6] * 7 + [1] * 7


@pytest.mark.parametrize('batches', [[], [batch_of([], 4)]])
def test_an_empty_split_is_an_error(batches):
    with pytest.raises(UserError, match='no clips to evaluate'):
        subsets(batches)


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(UserError, match='diverged'):
        TASK.result(predictions.subsets(model, jnp.float32(np.nan), {}, [batch_of([0, 1])], STREAMS,
                                        put=jax.device_put, target='label'), split='test', step=1, store=STORE)


def test_the_file_is_the_result_and_the_same_every_time(tmp_path):
    result = measured([batch_of(range(8))])
    path = write(tmp_path, result)
    assert path == tmp_path / 'eval' / 'test.json'
    text = path.read_text()
    assert Result.from_json(text) == result
    assert str(tmp_path) not in text
    write(tmp_path, measured([batch_of([7, 6, 5]), batch_of([4, 3, 2, 1, 0, 7])]))
    assert path.read_text() == text
    assert os.listdir(path.parent) == ['test.json']


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'eval').write_text('a file where the folder belongs')
    with pytest.raises(UserError, match=r'test\.json cannot be written'):
        write(tmp_path, measured([batch_of([0])]))
