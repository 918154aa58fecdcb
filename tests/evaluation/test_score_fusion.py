from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tests.evaluation.test_statistics import Catalog
from vmmjax.errors import UserError
from vmmjax.evaluation import score_fusion
from vmmjax.evaluation.statistics import write_scores
from vmmjax.pipeline.views import AVERAGES


class Store(Catalog):
    def __init__(self, names):
        self.columns = {'id': np.array(names), 'group': np.array([''] * len(names))}


def save(path, scores, target, clips=None, streams='rgb'):
    """A score file of a run."""
    clips = clips or [f'clip{i}' for i in range(len(scores))]
    rows = SimpleNamespace(id=np.arange(len(scores)), target=np.asarray(target), scores=np.asarray(scores, np.float32),
                           present={'rgb': np.ones(len(scores), bool)})
    write_scores(path, {streams: rows}, Store(clips))
    return path


@pytest.fixture
def runs(tmp_path):
    """Two runs, each sure of another half of 40 clips and guessing at the rest."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, 40)
    paths = []
    for half in (0, 1):
        scores = rng.normal(size=(40, 4))
        knows = np.arange(40) % 2 == half
        scores[knows, target[knows]] += 6
        paths.append(save(tmp_path / f'{half}.npz', scores, target))
    return paths


@pytest.mark.parametrize('average', AVERAGES)
def test_scores_are_added_up_with_their_weights(runs, average):
    a, b = score_fusion.read(runs)
    found = score_fusion.fuse([a, b], [3, 1], average)
    parts = [next(iter(run.scores.values()))[''].astype(np.float64) for run in (a, b)]
    parts = [softmax(part, 1) for part in parts] if average == 'probabilities' else parts
    np.testing.assert_allclose(found.scores[score_fusion.FUSED][''], 0.75 * parts[0] + 0.25 * parts[1])
    assert score_fusion.fuse([a, b], [1, 1], average).right(score_fusion.FUSED).mean() > 0.9
    for run in (a, b):
        assert run.right('rgb').mean() < 0.8


def test_clips_are_told_by_their_ids_and_not_by_their_order(tmp_path):
    scores, target = np.eye(3), [0, 1, 1]
    save(tmp_path / 'a.npz', scores, target)
    save(tmp_path / 'b.npz', scores[::-1], target[::-1], ['clip2', 'clip1', 'clip0'])
    a, b = score_fusion.read([tmp_path / 'a.npz', tmp_path / 'b.npz'])
    np.testing.assert_array_equal(a.scores['rgb'][''], b.scores['rgb'][''])


def test_the_search_finds_the_run_that_knows(runs, tmp_path):
    a, b = score_fusion.read(runs)
    assert score_fusion.search([a, b], 'probabilities') == (0.5, 0.5)
    rng = np.random.default_rng(1)
    save(tmp_path / 'noise.npz', 9 * rng.normal(size=(40, 4)), a.target[''])
    a, noise = score_fusion.read([runs[0], tmp_path / 'noise.npz'])
    assert score_fusion.search([a, noise], 'logits')[0] >= 0.7
    with pytest.raises(UserError, match=r'40 clips of .* are among those that are measured'):
        score_fusion.read(runs, measured=a)


def test_the_fit_is_the_likeliest_and_leaves_noise_out(runs, tmp_path):
    a, b = score_fusion.read(runs)
    rng = np.random.default_rng(1)
    save(tmp_path / 'noise.npz', rng.normal(size=(40, 4)), a.target[''])
    # Ten times as sure, as a network is that overfits.
    save(tmp_path / 'sure.npz', 10 * b.scores['rgb'][''], a.target[''])
    found = score_fusion.read([runs[0], tmp_path / 'sure.npz', tmp_path / 'noise.npz'])
    weights = score_fusion.fit(found)
    assert min(weights) >= 0
    assert weights[0] == pytest.approx(10 * weights[1], rel=0.5)
    assert weights[2] < 0.5 * weights[0]

    def loss(weights):
        logits = sum(weight * run.scores['rgb'][''] for weight, run in zip(weights, found, strict=True))
        return -log_softmax(logits, 1)[np.arange(40), a.target['']].mean()

    least = loss(weights)
    for change in 0.05 * rng.normal(size=(50, 3)):
        assert loss(np.maximum(0, weights * (1 + change))) > least - 1e-4
    assert score_fusion.fuse(found, weights, 'logits').right(score_fusion.FUSED).mean() > 0.9


def test_runs_that_tell_nothing_of_the_clips_have_no_weights(tmp_path):
    target = np.arange(40) % 4
    for name, logits in (('wrong', -np.eye(4)[target]), ('same', np.ones((40, 4)))):
        save(tmp_path / f'{name}.npz', logits, target)
    with pytest.raises(UserError, match='None of the files tells the classes of these clips better than chance'):
        score_fusion.fit(score_fusion.read([tmp_path / 'wrong.npz', tmp_path / 'same.npz']))


def test_without_targets_nothing_is_fitted(tmp_path):
    path = save(tmp_path / 'a.npz', np.eye(4), np.full(4, -1))
    with pytest.raises(UserError, match='No clip of the files has a target'):
        score_fusion.fit(score_fusion.read([path, path]))


def test_the_table_says_what_it_is_worth(runs):
    scores = score_fusion.read(runs)
    told = score_fusion.table(['rgb', 'flow'], scores, score_fusion.fuse(scores, [1, 1], 'logits'))
    lines = told.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['fused', 'rgb', 'flow']
    assert lines[3:] == ['Accuracies: 95 % CI, Wilson.', 'Differences: 95 % CI, Bonett-Price.']
    assert 'McNemar p' in lines[1]


@pytest.mark.parametrize(('change', 'message'), [
    (dict(clips=['other', *(f'clip{i}' for i in range(1, 40))]), 'they are not the same'),
    (dict(target=np.zeros(40, int)), 'other targets for the same clips'),
    (dict(scores=np.zeros((40, 7))), 'different numbers of classes: 4, 7'),
    (dict(scores=np.full((40, 4), np.nan)), 'NaN'),
    (dict(target=np.zeros((40, 4))), 'no scores of classes'),
])
def test_what_does_not_belong_together_is_refused(runs, tmp_path, change, message):
    known, _ = score_fusion.read(runs)
    made = dict(scores=np.zeros((40, 4)), target=known.target['']) | change
    with pytest.raises(UserError, match=message):
        score_fusion.fuse(score_fusion.read([runs[0], save(tmp_path / 'c.npz', **made)]), [1, 1], 'logits')


@pytest.mark.parametrize('weights', [[1], [1, -1], [0, 0]])
def test_weights_are_one_a_file(runs, weights):
    with pytest.raises(UserError, match='give one a file'):
        score_fusion.fuse(score_fusion.read(runs), weights, 'logits')


def test_weights_are_numbers_or_found_on_another_split(runs):
    scores = score_fusion.read(runs)
    assert score_fusion.chosen_weights([], scores, 'logits') == (1, 1)
    assert score_fusion.chosen_weights(['3', '1'], scores, 'logits') == (3, 1)
    for given, message in ((['3', 'one'], '--weights is 3,one'), (['fit'], '--weights=fit needs --tune')):
        with pytest.raises(UserError, match=message):
            score_fusion.chosen_weights(given, scores, 'logits')
    with pytest.raises(UserError, match='among those that are measured'):
        score_fusion.chosen_weights(['search'], scores, 'logits', runs)
