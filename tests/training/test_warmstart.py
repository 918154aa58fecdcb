import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.training import Checkpoints, TrainState, warmstart


def state(params, step=0):
    return TrainState(jnp.asarray(step, jnp.int32), params, {}, (), None)


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.fixture
def pictures(tmp_path):
    """A run of a network of pictures: its folder and parameters."""
    params = {'encoders_rgb': {'embed': {'kernel': drawn(1, 2, 2, 3, 5)}, 'place': drawn(1, 10, 5, seed=1),
                               'layer_0': {'w': drawn(5, 5, seed=2)}, 'layer_1': {'w': drawn(5, 5, seed=3)}}}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(params, 1), {})
    checkpoints.close()
    return tmp_path, params['encoders_rgb']


def both(layers=2):
    """Of a network of clips and sound, whose blocks lie in its fusion."""
    zeros = jnp.zeros
    return {'encoders_rgb': {'embed': {'kernel': zeros((3, 2, 2, 3, 5))}, 'place': zeros((1, 2 * 9, 5))},
            'encoders_audio': {'embed': {'kernel': zeros((1, 2, 2, 1, 5))}, 'place': zeros((1, 4 * 2, 5))},
            'fusion': {f'layer_{i}_{stream}': {'w': zeros((5, 5))} for i in range(layers)
                       for stream in ('rgb', 'audio')}}


RENAME = ((r'fusion/layer_(\d+)_\w+/', r'encoders_rgb/layer_\1/'), ('encoders_audio/', 'encoders_rgb/'))
FIT = (('embed/kernel', 'centre'), ('encoders_rgb/place', (2, 3, 3)), ('encoders_audio/place', (1, 4, 2)))


def test_both_streams_begin_with_the_network_of_pictures(pictures):
    folder, there = pictures
    found = warmstart.load(state(both()), [folder], (), RENAME, FIT).params
    for i in range(2):
        for stream in ('rgb', 'audio'):
            np.testing.assert_array_equal(found['fusion'][f'layer_{i}_{stream}']['w'], there[f'layer_{i}']['w'])
    kernel = found['encoders_rgb']['embed']['kernel']
    np.testing.assert_array_equal(kernel[1], there['embed']['kernel'][0])
    assert not np.any(kernel[jnp.array([0, 2])])
    # A sound seen in all colours gives what it gives seen in one.
    np.testing.assert_allclose(found['encoders_audio']['embed']['kernel'][..., 0, :],
                               there['embed']['kernel'].sum(-2), rtol=1e-6)
    grid = there['place'][0, 1:]  # The first is that of a token before the patches.
    np.testing.assert_allclose(found['encoders_rgb']['place'][0], np.tile(grid, (2, 1)), rtol=1e-6)
    corners = found['encoders_audio']['place'].reshape(4, 2, 5)[jnp.array([0, 0, 3, 3]), jnp.array([0, 1, 0, 1])]
    np.testing.assert_allclose(corners, grid[jnp.array([0, 2, 6, 8])], rtol=1e-5)


def test_a_kernel_of_pictures_may_be_spread_over_time(pictures):
    folder, there = pictures
    found = warmstart.load(state(both()), [folder], (), RENAME, (('embed/kernel', 'mean'), *FIT[1:])).params
    kernel = found['encoders_rgb']['embed']['kernel']
    np.testing.assert_allclose(kernel, np.repeat(there['embed']['kernel'] / 3, 3, 0), rtol=1e-6)


def test_what_begins_alike_may_be_given_away_apart(pictures):
    folder, _ = pictures
    begun = warmstart.load(state(both()), [folder], (), RENAME, FIT)
    moved = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)(begun)
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), moved.params))


@pytest.mark.parametrize(('rename', 'fit', 'message'), [
    (RENAME[:1], FIT, 'params/encoders_audio/embed/kernel is not there; .*init_from.skip'),
    (((r'layer_\d+_\w+/', r'\3/'), RENAME[1]), FIT, r"rename has '\\\\3/' in place of"),
    (RENAME, FIT[1:], r'encoders_audio/embed/kernel, params/encoders_rgb/embed/kernel there, has shape \(1, 2, 2, 3'),
    (RENAME, (*FIT[:2], ('encoders_audio/place', (1, 4, 4))), 'does not make the one of the other'),
    (RENAME, (('embed/kernel', 'center'), *FIT[1:]), "has 'center' .* did you mean 'centre'"),
    (RENAME, (*FIT, ('imaginary', 'centre')), "pattern 'imaginary' of config.init_from.fit matches no path"),
])
def test_what_does_not_fit_is_named(pictures, rename, fit, message):
    folder, _ = pictures
    with pytest.raises(UserError, match=message):
        warmstart.load(state(both()), [folder], (), rename, fit)


def of_a_task(value, name):
    """A state with a task's own modules, and what its checkpoint says of the task."""
    params = {'head': {'kernel': jnp.full(2, value)}, 'task': {'decoder': jnp.full(3, value)},
              'task_training': {'projector': jnp.full(4, value)}}
    return state(params), {'config': json.dumps({'task': {'name': name}})}


@pytest.mark.parametrize(('task', 'expected'), [('captions', (1, 1, 0)), ('answers', (1, 0, 0))])
def test_a_tasks_own_modules_are_loaded_for_the_same_task_and_what_only_training_needs_never(
        tmp_path, capsys, task, expected):
    saved, meta = of_a_task(1.0, 'captions')
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(saved, meta)
    checkpoints.close()
    fresh, _ = of_a_task(0.0, task)
    params = warmstart.load(fresh, [tmp_path], (), task=task).params
    assert tuple(float(jax.tree.leaves(params[part])[0][0]) for part in ('head', 'task', 'task_training')) == expected
    said = capsys.readouterr().out
    assert '1 of them of what only training needs' in said
    assert ('has the task captions' in said) == (task == 'answers')


def test_outputs_of_old_classes_begin_bit_for_bit_and_new_ones_stay_behind_them(tmp_path):
    old = {'head': {'kernel': drawn(4, 2), 'bias': drawn(2, seed=1)}, 'body': drawn(4, 4, seed=2)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(old, 1), {'classes': ['up', 'left']})
    checkpoints.close()
    names = warmstart.grown(f'{tmp_path},other', ['down', 'left', 'right'])
    assert names == ['up', 'left', 'down', 'right']
    new = {'head': {'kernel': drawn(4, 4, seed=3), 'bias': drawn(4, seed=4)}, 'body': drawn(4, 4, seed=5)}
    found = warmstart.load(state(new), [tmp_path], (), classes=names).params
    for name in ('kernel', 'bias'):
        wanted = np.concatenate([old['head'][name], new['head'][name][..., 2:]], -1)
        np.testing.assert_array_equal(found['head'][name], wanted)
    np.testing.assert_array_equal(found['body'], old['body'])
    with pytest.raises(UserError, match='has shape'):
        warmstart.load(state(new), [tmp_path], ())
    with pytest.raises(UserError, match='where no checkpoint is'):
        warmstart.grown(str(tmp_path / 'nothing'), ['a'])
    with pytest.raises(UserError, match='has other targets'):
        warmstart.grown(str(tmp_path), {'one': ['a'], 'two': ['b']})
