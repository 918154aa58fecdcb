import json

import pytest

from tests.training import tiny
from vmmjax.errors import UserError
from vmmjax.training.early_stopping import Evaluations, best_step

METRIC = 'validation/accuracy'


def begin(folder, start=0, older=None, **settings):
    best = tiny.config(**{f'best.{key}': value for key, value in {'metric': METRIC, **settings}.items()}).best
    return Evaluations(best, folder, start, older)


def add(evaluations, figures):
    for step, value in figures.items():
        evaluations.add(step, {METRIC: value})
    return evaluations


@pytest.mark.parametrize(('mode', 'step', 'since'), [('max', 4, 2), ('min', 2, 3)])
def test_the_first_of_equally_good_ones_is_the_best(tmp_path, mode, step, since):
    found = add(begin(tmp_path, mode=mode, patience=3), {2: .1, 4: .5, 6: .1, 8: .5})
    assert (found.step, found.since, found.exhausted) == (step, since, since == 3)
    assert best_step(tmp_path) == step


def test_what_is_not_finite_is_no_figure(tmp_path):
    found = add(begin(tmp_path), {2: float('inf'), 4: .5, 6: float('nan')})
    assert (found.best, found.since) == ((4, .5), 1)
    json.loads((tmp_path / 'best.json').read_text(), parse_constant=pytest.fail)


def test_later_evaluations_are_forgotten_when_a_run_goes_on_from_an_earlier_step(tmp_path):
    add(begin(tmp_path), {2: .1, 4: .5, 6: .9})
    again = begin(tmp_path, start=5)
    assert (again.best, again.has(4), again.has(6)) == ((4, .5), True, False)
    assert add(again, {6: .4}).best == (4, .5)
    assert begin(tmp_path, start=6).best == (4, .5)


def test_without_a_figure_it_is_known_what_was_evaluated(tmp_path):
    found = begin(tmp_path, metric='', patience=1)
    found.add(2, {'validation/loss': 1.0})
    assert (found.best, found.exhausted, begin(tmp_path, start=2, metric='').has(2)) == (None, False, True)
    assert best_step(tmp_path) is None


def test_figures_of_another_metric_are_none(tmp_path):
    add(begin(tmp_path), {2: .1})
    other = begin(tmp_path, start=2, metric='validation/loss')
    assert (other.best, other.has(2)) == (None, True)


def test_a_run_of_an_older_version_keeps_its_best(tmp_path):
    found = begin(tmp_path, start=16, older={'step': 8, 'value': .6, 'since': 4}, patience=4)
    assert (found.best, found.since, found.exhausted, found.has(16)) == ((8, .6), 4, True, True)
    assert begin(tmp_path, start=16, older={}).best is None


@pytest.mark.parametrize('text', ['', '{', '[]', '3', '{"metric": "x"}', '{"evaluations": [3]}',
                                  '{"evaluations": [["2", 0.5]]}', '{"evaluations": [[2, "0.5"]]}'])
def test_a_damaged_file_is_one_sentence(tmp_path, text):
    (tmp_path / 'best.json').write_text(text)
    for read in (begin, best_step):
        with pytest.raises(UserError, match=r'best\.json is damaged .*delete it'):
            read(tmp_path)


def test_a_figure_that_no_evaluation_has_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no config.best.metric 'validation/accuracy': .*validation/loss"):
        begin(tmp_path).add(2, {'validation/loss': 1.0})
    with pytest.raises(UserError, match=r"no config.best.mode 'most'"):
        begin(tmp_path, mode='most')
