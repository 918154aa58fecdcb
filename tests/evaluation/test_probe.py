import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation import probe

RNG = np.random.default_rng(0)
N = 150
KIND = np.array(['calm', 'fight', 'walk'])[np.arange(N) % 3]
SPLIT = np.array(['train'] * 90 + ['validation'] * 30 + ['test'] * 30)
FOLD = (np.arange(N) // 3 % 5).astype(str)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(probe, '_TREES', 30)


def features(signal):
    x = RNG.normal(size=(N, 40)).astype(np.float32)
    x[:, :3] += signal * (KIND[:, None] == np.unique(KIND))
    return 1000 * x + 7  # Of no particular scale.


@pytest.mark.parametrize('kind', probe.KINDS)
@pytest.mark.parametrize('folds', [False, True])
def test_what_features_hold_is_told(kind, folds):
    labels = {'split': SPLIT, 'fold': FOLD}
    found = probe.classify(features(8), KIND, labels, kind=kind, folds=folds)
    assert found['accuracy'] > 0.9
    assert found['low'] <= found['accuracy'] <= found['high']
    assert (found['examples'], found['classes']) == ((N if folds else 30), 3)
    assert found['majority'] == pytest.approx(1 / 3)
    assert found['interval'] == '95 % CI, Wilson'
    assert len(found['k' if kind == 'knn' else 'C']) == (5 if folds else 1)


def test_the_nearest_vote_by_how_near_they_are():
    angles = np.array([0.0, 0.1, 0.2, 1.0, 1.1, 1.2, 1.3])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = probe._Neighbours(7).fit(x, np.array(['near'] * 3 + ['far'] * 4))
    assert found.predict(x[:1]).tolist() == ['near']  # Though the others are more.
    assert found.predict(x[-1:]).tolist() == ['far']


def test_what_they_do_not_hold_is_not():
    found = probe.classify(features(0), KIND, {'fold': FOLD}, kind='linear', folds=True)
    assert found['low'] < found['majority'] + 0.1
    assert found['accuracy'] < 0.5


def test_no_test_clip_has_a_part_in_training():
    # Labels of the test clips are another code: nobody who had not seen them could know it.
    target = np.where(SPLIT == 'test', np.roll(KIND, 1), KIND)
    found = probe.classify(features(9), target, {'split': SPLIT}, kind='linear', folds=False)
    assert found['accuracy'] < 0.1


def test_a_fold_tests_the_next_validates_and_the_others_train():
    turns = probe.turns({'fold': np.array(['2', '10', '1', '', '2'])}, folds=True)
    assert [turn.test.tolist() for turn in turns] == [[2], [0, 4], [1]]
    assert [turn.validation.tolist() for turn in turns] == [[0, 4], [1], [2]]
    assert [turn.train.tolist() for turn in turns] == [[1], [2], [0, 4]]


def test_clips_without_a_value_are_left_out():
    target = np.where(np.arange(N) % 4, KIND, '')
    found = probe.classify(features(8), target, {'fold': FOLD}, kind='linear', folds=True)
    assert found['examples'] == (target != '').sum()
    assert found['classes'] == 3


def test_the_same_features_give_the_same_figures():
    x = features(1)
    first, second = (probe.classify(x, KIND, {'split': SPLIT}, kind='svm', folds=False) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(('labels', 'folds', 'message'), [
    ({'split': np.full(N, 'train')}, False, '--folds'),
    ({'split': SPLIT}, True, 'no column fold'),
    ({'fold': np.array(['1', '2'])[np.arange(N) % 2]}, True, 'has 2 folds'),
])
def test_what_cannot_be_tested_is_one_sentence(labels, folds, message):
    with pytest.raises(UserError, match=message):
        probe.classify(features(1), KIND, labels, kind='linear', folds=folds)


def test_one_value_is_nothing_to_learn():
    with pytest.raises(UserError, match='at least two values'):
        probe.classify(features(1), np.full(N, 'calm'), {'split': SPLIT}, kind='linear', folds=False)
    with pytest.raises(UserError, match='NaN or infinity'):
        probe.classify(features(1) * np.nan, KIND, {'split': SPLIT}, kind='linear', folds=False)


COLOURS = np.array(['red', 'green', 'blue'])[np.arange(N) % 3]
OTHER = RNG.choice(['a', 'b', 'c', 'd'], N)


def test_a_column_that_tells_the_target_is_found():
    found = probe.leak({'other': OTHER, 'colour': COLOURS}, KIND, {'fold': FOLD})
    assert found['accuracy'] == 1
    assert found['leaks']
    assert next(iter(found['columns'])) == 'colour'
    assert sum(found['columns'].values()) == pytest.approx(1)


def test_columns_that_do_not_tell_it_are_no_leak():
    found = probe.leak({'other': OTHER, 'number': RNG.normal(size=N).astype(str)}, KIND, {})
    assert not found['leaks']
    assert found['examples'] == N


def test_numbers_are_taken_as_numbers():
    number = np.where(KIND == 'fight', RNG.uniform(5, 9, N), RNG.uniform(0, 4, N)).round(3).astype(str)
    number[:3] = ''
    found = probe.leak({'number': number}, np.where(KIND == 'fight', 'yes', 'no'), {'fold': FOLD})
    assert found['accuracy'] > 0.95


def test_the_answer_itself_is_hidden_in_a_text_and_the_other_words_are_read():
    said = np.array([f'{kind} {other}' for kind, other in zip(KIND, OTHER, strict=True)])
    assert not probe.leak({'text': said}, KIND, {'fold': FOLD})['leaks']
    told = np.array([f'{text} {colour}' for text, colour in zip(said, COLOURS, strict=True)])
    assert probe.leak({'text': told}, KIND, {'fold': FOLD})['accuracy'] == 1


def test_clips_of_a_group_stay_together():
    # Each group has its own kind: the column names the group, and a group that was seen gives itself away.
    group = np.array([f'video {i // 5}' for i in range(N)])
    kind = RNG.choice(['calm', 'fight'], N // 5)[np.arange(N) // 5]
    assert probe.leak({'place': group}, kind, {})['accuracy'] > 0.95
    assert not probe.leak({'place': group}, kind, {'group': group})['leaks']


def test_columns_that_say_nothing_of_a_clip_are_not_looked_at():
    labels = {'kind': KIND, 'colour': COLOURS, 'fold': FOLD, 'group': FOLD, 'name': np.arange(N).astype(str),
              'code': np.array([f'x{i}' for i in range(N)]), 'said': np.array([f'it is {i}' for i in range(N)])}
    assert list(probe.columns_of(labels, 'kind', [])) == ['colour', 'name', 'said']
    assert list(probe.columns_of(labels, 'kind', ['code'])) == ['code']
    with pytest.raises(UserError, match="no column 'color': did you mean 'colour'"):
        probe.columns_of(labels, 'kind', ['color'])
    with pytest.raises(UserError, match='the target'):
        probe.columns_of(labels, 'kind', ['kind'])
    with pytest.raises(UserError, match='no columns'):
        probe.leak({}, KIND, labels)


def test_of_few_groups_it_is_not_known_whether_columns_leak():
    found = probe.leak({'same': KIND}, KIND, {'fold': FOLD, 'group': FOLD})
    assert found['leaks']
    assert found['interval'] == '95 % CI, Korn-Graubard'
    found = probe.leak({'same': KIND}, KIND, {'fold': FOLD, 'group': np.where(FOLD == '4', '0', FOLD)})
    assert (found['low'], found['high'], found['leaks']) == (None, None, None)
    assert found['interval'] == 'no CI: 4 groups, fewer than 5'
