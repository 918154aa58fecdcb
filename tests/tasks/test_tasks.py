"""Every task from a catalog to a page: it is learned, measured and shown."""

import json

import numpy as np
import pytest

from tests.evaluation import clips
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import Result, write
from vmmjax.experiment import Experiment
from vmmjax.reports import run_page
from vmmjax.store.store import Store
from vmmjax.tasks.matching import ranked

HEAD = dict(name='consensus', dropout=0.0)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return clips.make_store(tmp_path_factory.mktemp('clips'))


@pytest.fixture(scope='module')
def learned(store, tmp_path_factory):
    """Trains a task, evaluates it on the test split, writes its page, and gives the result with what was written."""
    def of(task, target, **model):
        folder = tmp_path_factory.mktemp('runs') / task['name']
        config = clips.config_of(store, task, target, **model)
        config.best.metric = 'validation/los'
        with pytest.raises(UserError, match=r"no config\.best\.metric .*: did you mean 'validation/loss'"):
            clips.trained(config, folder)
        assert not (folder / 'checkpoints').exists()  # It is refused before the first step.
        config.best.metric = 'validation/loss'
        experiment, logged = clips.trained(config, folder)
        assert np.isfinite(list(logged.values())).all()
        result = experiment.evaluate('test')
        path = write(folder, result)
        assert Result.from_json(path.read_text()) == result
        for figures, found in ((result.metrics, result.intervals), *(
                (row, row['intervals']) for row in result.subsets.values())):
            for name, interval in found.items():
                assert interval['low'] <= figures.get(name, interval['low']) <= interval['high']
        return result, run_page.write(folder).read_text(), run_page.terminal_table(result)

    return of


def test_several_targets_at_once(learned, capsys):
    result, page, said = learned(dict(name='classification'), ('letter', 'digit'), head=HEAD)
    assert 'clips: an accuracy on it is known to ' in capsys.readouterr().out
    assert result.metrics['all_right'] > 0.9
    assert result.metrics['word_error_rate'] == pytest.approx(1 - result.metrics['accuracy'])
    assert result.metrics['accuracy_letter'] > 0.9
    assert result.chance['accuracy_letter'] == pytest.approx(1 / 3, abs=0.05)
    assert list(result.subsets) == ['one+two', 'one', 'two']
    assert result.subsets['one']['examples'] == 24
    assert result.intervals.keys() == result.metrics.keys() - {'loss'}
    assert 'word error rate' in page
    assert 'Targets:' in said


def test_several_names_a_clip(learned):
    result, page, said = learned(dict(name='multi_label'), 'names', head=HEAD)
    assert result.metrics['mAP'] > 0.9 > result.chance['mAP']
    assert result.metrics['AUC'] > 0.9
    assert result.metrics['d_prime'] > 1.8
    assert result.plain == ['d_prime']
    assert [row[0] for row in result.tables[0]['rows']].count('dog') == 1
    assert 'Average precision, the lowest first' in page
    assert 'share of clips with the name' in said
    assert 'Confidence interval (CI) of mAP: no CI: it is no mean over clips.' in said
    assert result.intervals.keys() == {'all_right', 'loss'}


def test_numbers_in_their_own_units(learned):
    result, page, said = learned(dict(name='regression'), ('size', 'mass'), head=HEAD)
    assert result.metrics['r2'] > 0.7
    assert result.metrics['pearson'] > 0.85
    assert result.metrics['mae_size'] < 8 < result.chance['mae_size']  # Sizes are 100 to 140.
    assert result.plain == ['r2', 'pearson', 'mae_size', 'mae_mass', 'mse_size', 'mse_mass']
    size, mass = result.tables[0]['rows']
    assert (size[-1], mass[-1]) == (24, 21)  # Where the catalog has a number.
    assert 'always the mean' in said
    assert result.intervals.keys() == {'mae_size', 'mae_mass', 'mse_size', 'mse_mass'}
    assert result.intervals['mae_mass']['label'] == "95 % CI, Student's t"
    assert 'R²' in page


def test_events_over_time(learned):
    result, page, said = learned(dict(name='events', minimum=0.4), ('from', 'to'), streams=('one',),
                                 head=dict(name='per_token', dropout=0.0))
    assert result.metrics['average_precision'] > 0.9
    assert result.metrics['f1'] > 0.9
    alarm = result.alarms[0]
    assert alarm['clip'] == '81'
    assert (alarm['start'], alarm['end']) == pytest.approx((0, 1), abs=0.3)
    assert 'A probability of 0.5 begins one' in page
    assert 'false_alarms_an_hour' in said


def test_events_from_labels_of_whole_clips(learned):
    result, _, _ = learned(dict(name='events', positive='fight'), 'alarm', head=HEAD)
    assert result.metrics['average_precision'] > 0.9
    assert result.chance['average_precision'] == pytest.approx(2 / 3)
    assert all(alarm['end'] - alarm['start'] == 2 for alarm in result.alarms)


def test_streams_find_each_other(learned):
    result, page, said = learned(dict(name='retrieval', streams=('one', 'two'), dimensions=16), 'letter', head={},
                                 stream_head=HEAD)
    assert result.examples == 24
    for way in ('one_to_two', 'two_to_one'):
        assert result.metrics[f'recall1_{way}'] > 0.5
        assert result.metrics[f'recall10_{way}'] > 0.95
        assert result.metrics[f'median_rank_{way}'] < 2
        assert result.chance[f'median_rank_{way}'] == 12.5
    assert list(result.subsets) == ['one+two']
    assert 'a random order' in said
    assert 'Confidence interval (CI) of recall1_one_to_two: 95 % CI, Wilson.' in said
    assert 'median rank one to two' in page


def test_rare_classes_focal_loss_and_losses_of_streams(learned):
    result, _, _ = learned(dict(name='classification', class_weights='balanced', gamma=2.0,
                                stream_weights=dict(one=0.5, two=0.5)), 'letter', stream_head=HEAD, head=HEAD)
    assert result.metrics['accuracy'] > 0.9


class Unlabelled(Store):
    """No clip of the validation split has a value."""

    def values(self, name):
        found = super().values(name)
        found[self.rows('validation')] = '' if name in ('letter', 'size', 'names') else found[self.rows('validation')]
        return found


@pytest.mark.parametrize(('task', 'target'), [
    ('classification', 'letter'), ('regression', 'size'), ('multi_label', 'names')])
def test_a_validation_split_without_targets_is_refused_before_the_first_step(store, tmp_path, task, target):
    config = clips.config_of(store, dict(name=task), target, head=HEAD)
    with pytest.raises(UserError, match=f"There are no clips to evaluate: none of the split has a value of .*{target}"):
        Experiment(config, store=Unlabelled(store)).train(tmp_path)
    assert not (tmp_path / 'checkpoints').exists()


def test_a_figure_to_keep_the_best_by_needs_a_validation_split(store, tmp_path):
    config = clips.config_of(store, dict(name='classification'), 'letter', head=HEAD)
    config.best.metric = 'validation/accuracy'
    found = Store(store)
    del found.splits['validation']
    with pytest.raises(UserError, match=r'config\.best\.metric .* there is no validation split; leave it out'):
        Experiment(config, store=found).train(tmp_path)


def test_ranks_count_equals_against_the_right_one():
    x = np.eye(3)
    ranks, loss = ranked(x, x, 0.1)
    assert ranks.tolist() == [1, 1, 1]
    assert loss == pytest.approx(np.log(1 + 2 * np.exp(-10)))
    same, _ = ranked(np.ones((4, 2)), np.ones((4, 2)), 0.1)
    assert same.tolist() == [4, 4, 4, 4]
    with pytest.raises(UserError, match='diverged'):
        ranked(np.full((2, 2), np.nan), np.eye(2), 0.1)


def test_many_questions_are_asked_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 23, 4))
    whole = ranked(one, other, 0.5)
    monkeypatch.setattr('vmmjax.tasks.matching._BLOCK', 5)
    parts = ranked(one, other, 0.5)
    np.testing.assert_array_equal(whole[0], parts[0])
    assert whole[1] == pytest.approx(parts[1])


def test_a_clip_that_lacks_a_target_counts_for_the_others(store):
    task = Experiment(clips.config_of(store, dict(name='classification'), ('letter', 'digit'), head=HEAD)).task
    right = np.eye(3, dtype=np.float32)
    rows = Predictions(np.arange(3, dtype=np.int32), {'letter': np.array([0, 1, 1]), 'digit': np.array([0, -1, 1])},
                       {'letter': right, 'digit': right[:, :2]}, {})
    figures = task.summary(rows)
    assert figures['accuracy_letter'] == pytest.approx(2 / 3)
    assert figures['accuracy_digit'] == 0.5
    assert figures['all_right'] == 0.5  # Of the two that have both.
    assert figures['word_error_rate'] == pytest.approx(2 / 5)
    for name, (values, weights) in task.per_clip(rows).items():
        there = np.isfinite(values)
        assert np.average(values[there], weights=weights) == pytest.approx(figures[name])


@pytest.mark.parametrize(('task', 'target'), [
    ('classification', 'letter'), ('classification', ('letter', 'digit')), ('multi_label', 'names'),
    ('regression', ('size', 'mass'))])
def test_the_losses_of_clips_are_the_loss(store, task, target):
    run = Experiment(clips.config_of(store, dict(name=task), target, head=HEAD))
    draw = np.random.default_rng(0).normal
    counts = run.task.num_classes
    scores = {name: draw(size=(12, count)) for name, count in counts.items()} if isinstance(counts, dict) else draw(
        size=(12, counts))
    batch = next(run.pipeline('test', train=False).batches())
    targets = {key.removeprefix('target/'): values[:12] for key, values in batch.items() if key.startswith('target/')}
    rows = Predictions(np.arange(12), targets if len(targets) > 1 or task != 'classification' else targets['letter'],
                       scores, {})
    losses = run.task.losses(rows)
    known = np.isfinite(losses)
    assert known.any()
    if task != 'regression':  # Some clips have no mass: they count for the size alone.
        assert losses[known].mean() == pytest.approx(run.task.summary(rows)['loss'])
    reading = run.task.reading(rows, int(losses.argmax()))
    assert json.loads(json.dumps(reading)) == reading
    assert {'target', 'truth', 'probability', 'named'} == set(reading[0])


@pytest.mark.parametrize(('task', 'target', 'model', 'message'), [
    (dict(name='retrieval', streams=('one', 'tow')), 'letter', {}, "'tow', which is no stream: did you mean 'two'"),
    (dict(name='retrieval', streams=('one', 'two')), 'letter', {}, r'config\.model\.stream_head'),
    (dict(name='multi_label'), ('names', 'letter'), {}, 'one column of names'),
    (dict(name='regression'), 'letter', {}, "'letter' = 'a', which is no number"),
    (dict(name='events'), 'alarm', {}, r'config\.task\.positive'),
    (dict(name='regresion'), 'size', {}, "no task 'regresion': did you mean 'regression'"),
    (dict(name='classification'), ('letter', 'digt'), {}, "no column 'digt': did you mean 'digit'"),
])
def test_what_a_config_gets_wrong(store, task, target, model, message):
    with pytest.raises(UserError, match=message):
        Experiment(clips.config_of(store, task, target, **model))


def test_another_name_in_the_default_config_is_another_task():
    config = configs.defaults()
    config.task.name = 'regression'
    assert tasks.create(config).name == 'regression'
    config.task.label_smoothing = 0.1
    with pytest.raises(UserError, match="'regression' takes no option 'label_smoothing'"):
        tasks.create(config)


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('mixup', 0.2, 'mix the classes or names of one target'), ('flip_pairs', (('a', 'b'),), 'swaps classes')])
def test_augmentations_that_need_classes(store, key, value, message):
    config = clips.config_of(store, dict(name='regression'), 'size', head=HEAD)
    with config.unlocked():
        config.data.augment[key] = value
    with pytest.raises(UserError, match=message):
        Experiment(configs.lock(config)).pipeline('train', train=True)


@pytest.mark.parametrize(('task', 'target', 'average', 'message'), [
    (dict(name='classification'), 'letter', 'probability', "did you mean 'probabilities'"),
    (dict(name='regression'), 'size', 'probabilities', 'the outputs of the task regression stand for none')])
def test_what_is_averaged_over_views_is_named(store, task, target, average, message):
    config = clips.config_of(store, task, target, head=HEAD)
    config.data.views.average = average
    with pytest.raises(UserError, match=message):
        Experiment(config)


def test_what_is_averaged_may_be_another_that_the_task_has(store):
    classes = Experiment(clips.config_of(store, dict(name='classification'), 'letter', head=HEAD))
    classes.average = 'probabilities'
    assert classes.average == 'probabilities'
    numbers = Experiment(clips.config_of(store, dict(name='regression'), 'size', head=HEAD))
    with pytest.raises(UserError, match='the outputs of the task regression stand for none'):
        numbers.average = 'probabilities'


def test_parts_belong_to_a_class(store):
    config = clips.config_of(store, dict(name='regression'), 'size', head=HEAD)
    config.data.parts = ('letter',)
    with pytest.raises(UserError, match=r'data\.parts names parts of a class'):
        Experiment(config)


def test_a_subset_with_clips_of_one_class_has_no_area_under_the_curve(store, tmp_path):
    run = Experiment(clips.config_of(store, dict(name='classification'), 'digit', head=HEAD))
    assert len(run.task.classes) == 2
    targets = np.array([0, 0, 1, 1])
    scores = np.random.default_rng(0).normal(size=(4, 2))
    present = {'one': np.ones(4, bool), 'two': targets == 1}
    rows = Predictions(np.arange(4), targets, scores, present)
    result = run.task.result({'one': rows, 'two': rows}, split='test', step=1, store=Store(store))
    assert 0 <= result.metrics['auc'] <= 1
    assert result.subsets['two']['auc'] is None
    write(tmp_path, result)
    line = next(line for line in run_page.terminal_table(result).splitlines() if line.startswith('two '))
    assert '–' in line.split()
    assert run_page.write(tmp_path).is_file()
