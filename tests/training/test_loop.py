import itertools
import json
import os
import re
import resource
import signal
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext

import jax
import numpy as np
import pytest
from jax._src.array import ArrayImpl

from tests.training import tiny
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.training import Checkpoints, TrainState, checkpoint
from vmmjax.training.distributed import Preempted
from vmmjax.training.workdir import check_same_run


class Killed(Exception):
    pass


def dying(at):
    """A feed that dies while the step `at` waits for it."""
    def feed(start):
        yield from itertools.islice(tiny.batches(start), at - start)
        raise Killed
    return feed


def logged(folder, name):
    """The lines of a log that have a figure."""
    lines = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    return [line for line in lines if name in line]


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

    def untimed(name):
        lines = (tmp_path / name / 'log.jsonl').read_text().splitlines()
        timed = ('clips_per_second', 'input_wait', 'goodput', 'elapsed')
        return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]

    assert untimed('killed') == untimed('whole')


def test_a_finished_run_is_not_trained_further(tmp_path):
    state = tiny.run(tmp_path, tiny.config())
    tiny.assert_equal(tiny.run(tmp_path, tiny.config(), feed=dying(20)), state)


def test_a_run_that_goes_on_with_other_cores_says_so(tmp_path, capsys, monkeypatch):
    for cores, says in (({0, 1}, False), ({2, 3}, False), ({0, 1, 2}, True)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda process, cores=cores: cores)
        tiny.run(tmp_path, tiny.config(steps=3))
        said = capsys.readouterr().out
        assert ('Steps to here were computed on 2 CPU cores, and from here on 3: sums' in said) == says


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


def test_a_run_begins_with_the_parameters_of_several(tmp_path):
    first = tiny.run(tmp_path / 'first', tiny.config())
    other = tiny.run(tmp_path / 'other', tiny.config(seed=1), model=tiny.Tiny(classes=5))
    both = tiny.config(**{'init_from.workdir': f'{tmp_path / "first"},{tmp_path / "other"}', 'steps': 3,
                          'freeze': ('inner', 'norm', 'head')})
    warm = tiny.run(tmp_path / 'warm', both, model=tiny.Tiny(classes=5))
    tiny.assert_equal(warm.params['inner'], first.params['inner'])  # Both have it.
    tiny.assert_equal(warm.params['head'], other.params['head'])  # That of the first has another shape.
    with pytest.raises(UserError, match=r'params/head/kernel has shape \(16, 5\) there and \(16, 6\) here'):
        tiny.run(tmp_path / 'refused', both, model=tiny.Tiny(classes=6))


def test_init_from_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(UserError, match='no checkpoint is'):
        tiny.run(tmp_path / 'run', tiny.config(**{'init_from.workdir': str(tmp_path / 'nothing')}))


def broken(*steps):
    """A feed with a value that is no number in the batches of some steps, counted from 1."""
    def feed(start):
        for step, batch in enumerate(tiny.batches(start), start + 1):
            if step in steps:
                batch['x'][0, 0] = np.nan
            yield batch
    return feed


def test_too_many_steps_without_finite_gradients_stop_the_run_and_their_clips_are_written_down(tmp_path):
    with pytest.raises(UserError, match=r'gradients of 3 steps in a row, to step 8, .*skipped\.json has the ids'):
        tiny.run(tmp_path, tiny.config(max_skipped=3), feed=broken(*range(6, 20)))
    assert json.loads((tmp_path / 'skipped.json').read_text()) == {
        str(step): list(range(16 * (step - 1), 16 * step)) for step in (6, 7, 8)}


def test_the_host_fetches_nothing_between_log_steps(tmp_path, monkeypatch):
    fetched, taken = [], []
    read = ArrayImpl._value.fget

    def counting(array):
        if array._npy_value is None:
            fetched.append(len(taken))
        return read(array)

    def feed(start):
        for batch in tiny.batches(start):
            taken.append(batch)
            yield batch

    monkeypatch.setattr(ArrayImpl, '_value', property(counting))
    tiny.run(tmp_path, tiny.config(**{'steps': 40, 'log_every': 10, 'checkpoint_every': 40}), feed=feed)
    # The feed is a batch ahead. What is fetched at the end is the checkpoint.
    assert sorted(set(fetched) - {0, 1}) == [11, 21, 31, 41]


def test_it_says_what_is_compiled_and_for_how_long(tmp_path, capsys):
    tiny.run(tmp_path, tiny.config(**{'steps': 5}))
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert re.fullmatch(r'\d+ parameters on 1 device\(s\); compiling the first step \.\.\.', first)
    assert re.fullmatch(r'Compiled in \d+ s\.', second)


def test_the_log_says_where_the_time_went(tmp_path):
    def slow(start):
        for batch in tiny.batches(start):
            time.sleep(0.25)  # Also on a busy machine longer than a step: one of .07 s was seen.
            yield batch

    tiny.run(tmp_path / 'slow', tiny.config(**{'steps': 15}), feed=slow)
    tiny.run(tmp_path / 'quick', tiny.config(**{'steps': 15}))
    slow, quick = (logged(tmp_path / name, 'train/loss') for name in ('slow', 'quick'))
    assert all(0.5 < line['input_wait'] <= 1 for line in slow[1:])
    assert all(0 <= line['input_wait'] <= 1 and 0 < line['goodput'] < 1 for line in slow + quick)
    assert slow[-1]['clips_per_second'] < min(16 / 0.25, quick[-1]['clips_per_second'])
    assert 'mfu' not in quick[0]  # No peak of this device is published.


def test_goodput_counts_the_time_that_a_killed_process_lost(tmp_path):
    config = tiny.config(checkpoint_every=15)
    with pytest.raises(Killed):
        tiny.run(tmp_path, config, feed=dying(13))
    before = logged(tmp_path, 'train/loss')[-1]
    tiny.run(tmp_path, config)
    after = logged(tmp_path, 'train/loss')
    assert [line['step'] for line in after] == [5, 10, 15, 20]
    first = after[0]
    assert first['elapsed'] > before['elapsed']
    # No second of the first process counts, as none of its steps does: only those of the second in which it computed.
    own = 5 * config.batch_size / first['clips_per_second'] * (1 - first['input_wait'])
    assert first['goodput'] * first['elapsed'] == pytest.approx(own, rel=1e-6)


def measured(values):
    """An evaluation whose figure is given by the step."""
    return lambda state: {'validation/accuracy': values[int(state.step)]}


RISING = {2: .1, 4: .5, 6: .4, 8: .6, 10: .5, 12: .6, 14: .2, 16: .3, 18: .9, 20: .9}
STOPPING = {'best.metric': 'validation/accuracy', 'best.patience': 4, 'evaluate_every': 2, 'keep_checkpoints': 1}


def test_the_best_checkpoint_is_kept_and_the_run_ends_when_none_is_better(tmp_path, capsys):
    state = tiny.run(tmp_path, tiny.config(**STOPPING), evaluate=measured(RISING))
    assert state.step == 16
    assert 'No better validation/accuracy than 0.6 of step 8 in 4 evaluations' in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['16', '8']
    assert Checkpoints(tmp_path).best() == 8
    # It has ended: the same command does nothing more.
    tiny.assert_equal(tiny.run(tmp_path, tiny.config(**STOPPING), feed=dying(16), evaluate=measured(RISING)), state)


def test_early_stopping_goes_on_exactly(tmp_path):
    for at in (7, 13, 15):
        with pytest.raises(Killed):
            tiny.run(tmp_path, tiny.config(**STOPPING), feed=dying(at), evaluate=measured(RISING))
    assert tiny.run(tmp_path, tiny.config(**STOPPING), evaluate=measured(RISING)).step == 16
    assert Checkpoints(tmp_path).best() == 8


def test_evaluations_that_fail_lose_nothing_and_are_made_up_for(tmp_path):
    settings = tiny.config(**{**STOPPING, 'best.patience': 0, 'checkpoint_every': 100})
    whole = tiny.run(tmp_path / 'whole', settings, evaluate=measured(RISING))

    def failing(state):
        if state.step in (8, 20):
            raise MemoryError('of the evaluation')
        return measured(RISING)(state)

    with pytest.raises(MemoryError, match='of the evaluation'):
        tiny.run(tmp_path / 'failed', settings, evaluate=failing)
    assert Checkpoints(tmp_path / 'failed').newest() == 8
    with pytest.raises(MemoryError, match='of the evaluation'):  # No step before it is made up for.
        tiny.run(tmp_path / 'failed', settings, evaluate=failing, feed=dying(8))
    with pytest.raises(Killed):
        tiny.run(tmp_path / 'failed', settings, evaluate=measured(RISING), feed=dying(15))
    with pytest.raises(MemoryError, match='of the evaluation'):
        tiny.run(tmp_path / 'failed', settings, evaluate=failing)
    assert Checkpoints(tmp_path / 'failed').newest() == 20
    # Nothing is left but to measure it.
    tiny.assert_equal(tiny.run(tmp_path / 'failed', settings, evaluate=measured(RISING), feed=dying(20)), whole)
    figures = [[(line['step'], line['validation/accuracy']) for line in logged(tmp_path / name, 'validation/accuracy')]
               for name in ('whole', 'failed')]
    assert figures == [list(RISING.items())] * 2
    assert (tmp_path / 'failed' / 'best.json').read_text() == (tmp_path / 'whole' / 'best.json').read_text()


def test_the_least_may_be_the_best(tmp_path):
    settings = tiny.config(**{**STOPPING, 'best.mode': 'min', 'best.patience': 0})
    assert tiny.run(tmp_path, settings, evaluate=measured(RISING)).step == 20
    assert Checkpoints(tmp_path).best() == 2


def test_a_figure_that_no_evaluation_has_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no config.best.metric 'accuracy': did you mean 'validation/accuracy'"):
        tiny.run(tmp_path, tiny.config(**{'best.metric': 'accuracy'}), evaluate=measured(RISING))


def test_sigterm_saves_and_the_run_goes_on_to_the_same_end(tmp_path):
    def feed(start):
        for step, batch in enumerate(tiny.batches(start), start):
            if step == 12:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    whole = tiny.run(tmp_path / 'whole', tiny.config())
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r'Stopped at step 12 of 20 by SIGTERM\.'):
        tiny.run(tmp_path / 'stopped', tiny.config(), feed=feed)
    assert signal.getsignal(signal.SIGTERM) == before
    assert Checkpoints(tmp_path / 'stopped').newest() == 12
    tiny.assert_equal(tiny.run(tmp_path / 'stopped', tiny.config()), whole)


def test_training_goes_on_beside_a_full_disk(tmp_path, caplog):
    whole = tiny.run(tmp_path / 'whole', tiny.config())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def feed(start):
        for step, batch in enumerate(tiny.batches(start), start):
            if step in (6, 13):  # No file may grow: Python ignores SIGXFSZ, so that writing fails.
                resource.setrlimit(resource.RLIMIT_FSIZE, (100 if step == 6 else before[0], before[1]))
            yield batch

    try:
        state = tiny.run(tmp_path / 'full', tiny.config(), feed=feed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    tiny.assert_equal(state, whole)
    assert 'log.jsonl cannot be written: File too large; make room. Training goes on.' in caplog.text
    assert 'checkpoints: File too large' in caplog.text
    assert Checkpoints(tmp_path / 'full').newest() == 20
    assert [line['step'] for line in logged(tmp_path / 'full', 'train/loss')] == [5, 10, 15, 20]


def test_an_input_worker_that_dies_loses_nothing(tmp_path):
    def feed(start):
        with ThreadPoolExecutor(1) as pool:
            for step in range(start, 30):
                yield pool.submit(work, step).result()

    def work(step):
        if step == 13 and not (tmp_path / 'died').exists():
            (tmp_path / 'died').touch()
            raise MemoryError('the worker')
        return next(tiny.batches(step))

    whole = tiny.run(tmp_path / 'whole', tiny.config())
    with pytest.raises(MemoryError, match='the worker'):
        tiny.run(tmp_path / 'run', tiny.config(), feed=feed)
    assert Checkpoints(tmp_path / 'run').newest() == 10
    tiny.assert_equal(tiny.run(tmp_path / 'run', tiny.config(), feed=feed), whole)


def test_input_that_ends_is_an_error_and_not_the_end(tmp_path):
    with pytest.raises(RuntimeError, match='The input ended'):
        tiny.run(tmp_path, tiny.config(), feed=lambda start: itertools.islice(tiny.batches(start), 13))
    assert Checkpoints(tmp_path).newest() == 10


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    whole = tiny.run(tmp_path / 'whole', tiny.config())
    now, days = time.time, [0]
    monkeypatch.setattr(time, 'time', lambda: now() + 86400 * days[0])

    def feed(start):
        for step, batch in enumerate(itertools.islice(tiny.batches(start), 13), start):
            days[0] = {3: 400, 8: -30}.get(step, days[0])
            yield batch
        raise Killed

    with pytest.raises(Killed):
        tiny.run(tmp_path / 'jumping', tiny.config(), feed=feed)
    days[0] = -500
    tiny.assert_equal(tiny.run(tmp_path / 'jumping', tiny.config()), whole)
    assert all(line['elapsed'] > 0 for line in logged(tmp_path / 'jumping', 'train/loss'))


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    tiny.run(tmp_path, tiny.config())
    # As a newer version would have written it, its manifest included.
    with closing(Checkpoints(tmp_path)) as checkpoints, monkeypatch.context() as newer:
        newer.setattr(checkpoint, 'FORMAT', 2)
        checkpoints.save(TrainState(np.int32(30), {}, {}, ()), {})
    with pytest.raises(UserError, match='has format 2, this version reads up to 1; install a newer vmmjax'):
        tiny.run(tmp_path, tiny.config())


def test_a_run_of_an_older_version_goes_on(tmp_path, capsys):
    def without_new_keys(identity):
        config = json.loads(identity['config'])
        for key in ('best', 'max_skipped', 'profile', 'wandb'):
            del config[key]
        return {**identity, 'config': json.dumps(config)}

    settings = tiny.config()
    identity = {'config': configs.to_json(settings), 'fingerprint': 'f', 'classes': list('abcd')}
    check_same_run(tmp_path, without_new_keys(identity), identity, ())
    assert not capsys.readouterr().out
    check_same_run(tmp_path, identity, identity | {'inputs': {'data': {'columns': {}}}}, ())
    assert 'whether they are the same is not checked' in capsys.readouterr().out


COLUMN = {'kind': 'array', 'rate': 100.0, 'chunk': 100, 'shape': [64], 'options': {'bands': 64}, 'builder': ''}


@pytest.mark.parametrize(('changes', 'said'), [
    ({'version': 1}, ''), ({'builder': 'mine:Sound'}, ''), ({'chunk': 50}, ''),
    ({'version': 2}, 'the column audio has version=2, and had 1'),
    ({'rate': 50.0}, 'the column audio has rate=50.0, and had 100.0'),
    ({'options': {'bands': 64, 'fmax': 7500.0}}, 'the column audio has fmax=7500.0, and had None'),
    ({'options': {'bands': 80}, 'shape': [80]}, 'the column audio has bands=80, and had 64'),
])
def test_columns_that_were_made_otherwise_are_another_store(tmp_path, changes, said):
    identities = [{'config': configs.to_json(tiny.config()), 'fingerprint': 'f', 'classes': [], 'inputs': {
        'data': {'columns': columns}}} for columns in ({'audio': COLUMN}, {'audio': COLUMN | changes})]
    with pytest.raises(UserError, match=said) if said else nullcontext():
        check_same_run(tmp_path, *identities, ())
    identities[1]['inputs']['data']['columns'] = {'rgb': COLUMN | changes}
    check_same_run(tmp_path, *identities, ())


def test_some_steps_are_traced(tmp_path):
    tiny.run(tmp_path, tiny.config(profile=(7, 8)))
    assert list((tmp_path / 'profile').rglob('*.xplane.pb'))
    with pytest.raises(UserError, match=r'config.profile is \(8,\); it names a first and a last step'):
        tiny.run(tmp_path / 'other', tiny.config(profile=(8,)))


def test_weights_and_biases_gets_what_tensorboard_gets(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(init=lambda **options: types.SimpleNamespace(
        log=lambda values, step: calls.append((step, values)), finish=lambda exit_code: calls.append(exit_code))))
    tiny.run(tmp_path, tiny.config(wandb='project'))
    lines = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    assert calls == [*[(line.pop('step'), line) for line in lines], 0]


def test_weights_and_biases_is_asked_for_where_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(UserError, match=r"pip install 'vmmjax\[wandb\]'"):
        tiny.run(tmp_path, tiny.config(wandb='project'))


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
