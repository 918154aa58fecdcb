import itertools
import json

import jax
import numpy as np
import pytest

from tests.training import tiny
from vmmjax.errors import UserError


class Killed(Exception):
    pass


def dying(at):
    """A feed that dies while the step `at` waits for it."""
    def feed(start):
        yield from itertools.islice(tiny.batches(start), at - start)
        raise Killed
    return feed


def test_it_learns_and_logs_every_interval(tmp_path):
    tiny.run(tmp_path, tiny.config(**{'steps': 100, 'optimizer.lr.peak': 3e-2}))
    lines = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    logged = [line for line in lines if 'train/loss' in line]
    assert [line['step'] for line in logged] == list(range(5, 101, 5))
    assert logged[-1]['train/loss'] < 0.5 * logged[0]['train/loss']
    assert logged[-1]['train/accuracy'] > 0.8
    assert {'clips_per_second', 'learning_rate', 'train/gradient_norm'} <= logged[0].keys()
    assert list((tmp_path / 'tensorboard').glob('events*'))


@pytest.mark.parametrize('changes', [{}, {'ema_decay': 0.9}, {'freeze': ('inner',)}],
                         ids=['plain', 'ema', 'frozen'])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, changes):
    settings = tiny.config(**changes)
    whole = tiny.run(tmp_path / 'whole', settings)
    with pytest.raises(Killed):
        tiny.run(tmp_path / 'killed', settings, feed=dying(13))
    with pytest.raises(Killed):
        tiny.run(tmp_path / 'killed', settings, feed=dying(18))
    tiny.assert_equal(tiny.run(tmp_path / 'killed', settings), whole)

    def logged(name):
        lines = (tmp_path / name / 'log.jsonl').read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != 'clips_per_second'}
                for line in lines]

    assert logged('killed') == logged('whole')


def test_a_finished_run_is_not_trained_further(tmp_path):
    state = tiny.run(tmp_path, tiny.config())
    tiny.assert_equal(tiny.run(tmp_path, tiny.config(), feed=dying(20)), state)


def test_another_config_is_refused_unless_allowed(tmp_path):
    tiny.run(tmp_path, tiny.config())
    with pytest.raises(UserError, match=r'another config: steps was 20, is 30\..*--allow_changed=steps'):
        tiny.run(tmp_path, tiny.config(steps=30))
    assert tiny.run(tmp_path, tiny.config(steps=30), allow_changed=['steps']).step == 30
    tiny.run(tmp_path, tiny.config(steps=30, log_every=7))


def test_frozen_parameters_and_statistics_stay(tmp_path):
    settings = tiny.config(freeze=('inner', 'norm'))
    model = tiny.Tiny()
    before = model.init(jax.random.key(settings.seed), {'x': np.zeros((1, 8))}, train=False)
    after = tiny.run(tmp_path, settings)
    # To rounding: the trainer's initialisation is compiled, this one is not. A step moves by 1e-2.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after.params['inner'],
                 before['params']['inner'])
    tiny.assert_equal(after.model_state['batch_stats'], before['batch_stats'])
    assert not np.array_equal(after.params['head']['kernel'], before['params']['head']['kernel'])


def test_a_pattern_that_freezes_nothing_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"'iner' of config.freeze matches no path: did you mean 'inner'"):
        tiny.run(tmp_path, tiny.config(freeze=('iner',)))


def test_a_run_begins_with_the_parameters_of_another(tmp_path):
    first = tiny.run(tmp_path / 'first', tiny.config())
    warm = tiny.run(tmp_path / 'warm', tiny.config(**{
        'init_from.workdir': str(tmp_path / 'first'), 'freeze': ('inner', 'norm'), 'steps': 3}))
    tiny.assert_equal(warm.params['inner'], first.params['inner'])
    tiny.assert_equal(warm.model_state, first.model_state)


def test_another_head_is_named_and_can_be_skipped(tmp_path):
    first = tiny.run(tmp_path / 'first', tiny.config())
    source = {'init_from.workdir': str(tmp_path / 'first'), 'steps': 3}
    with pytest.raises(UserError, match=r'params/head/kernel has shape \(16, 4\) there and \(16, 5\) here'):
        tiny.run(tmp_path / 'refused', tiny.config(**source), model=tiny.Tiny(classes=5))
    warm = tiny.run(tmp_path / 'warm', tiny.config(**source, **{'init_from.skip': ('head',), 'freeze': ('inner',)}),
                    model=tiny.Tiny(classes=5))
    tiny.assert_equal(warm.params['inner'], first.params['inner'])


def test_init_from_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(UserError, match='no checkpoint is'):
        tiny.run(tmp_path / 'run', tiny.config(**{'init_from.workdir': str(tmp_path / 'nothing')}))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def feed(start):
        for batch in tiny.batches(start):
            batch['x'][0, 0] = np.nan
            yield batch

    with pytest.raises(UserError, match='The loss is nan at step 5'):
        tiny.run(tmp_path, tiny.config(), feed=feed)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'optimizer.name': 'adam'}, "no optimizer 'adam': did you mean 'adamw'"),
    ({'optimizer.options': {'weight_dekay': 1}}, "no option 'weight_dekay': did you mean 'weight_decay'"),
    ({'optimizer.lr.schedule': 'cos'}, "no schedule 'cos': did you mean 'cosine'"),
    ({'optimizer.lr.warmup_steps': 20}, 'must be less than the 20 steps'),
    ({'freeze': ('(',)}, 'no regular expression'),
])
def test_what_a_config_gets_wrong_is_one_sentence(tmp_path, changes, message):
    with pytest.raises(UserError, match=message.replace('(', r'\(')):
        tiny.run(tmp_path, tiny.config(**changes))
