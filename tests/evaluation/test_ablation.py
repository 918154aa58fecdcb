import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pages import opened
from vmmjax.evaluation import ablation, noise_sweep
from vmmjax.evaluation.ablation import Line, Measured
from vmmjax.evaluation.config_diff import Difference
from vmmjax.evaluation.statistics import Scores
from vmmjax.reports import ablation_page, curves

RNG = np.random.default_rng(0)
CLASSES = 4


def run(name: str, clips: range, rate: float, *, groups: int = 0, seed: int = 0) -> Measured:
    """A run that is right on about so many clips; which are hard is the same for all."""
    numbers = np.array(clips)
    target = numbers % CLASSES
    right = (numbers * 0.618 % 1 + 0.02 * seed) % 1 < rate
    scores = np.eye(CLASSES)[np.where(right, target, (target + 1) % CLASSES)]
    group = np.array([f'g{number % groups}' if groups else '' for number in numbers])
    present = {'audio': numbers % 5 > 0, 'rgb': np.ones(len(clips), bool)}
    found = Scores(np.array([f'c{number}' for number in numbers]), group, {'': target},
                   {'audio+rgb': {'': scores}, 'audio': {'': np.roll(scores, -1, 1)}, 'rgb': {'': scores}}, present)
    return Measured(name, float(right.mean()), found, None, seconds=60.0, parameters=1_500_000)


def folds(rate: float, **options: int) -> tuple[Measured, ...]:
    return tuple(run(f'fold{i}', range(i * 40, i * 40 + 40), rate, **options) for i in range(5))


def test_folds_are_measured_clip_by_clip() -> None:
    line = ablation.line('both', folds(0.8), 'one', {'one': folds(0.6)})
    assert line.mean is not None
    assert line.difference is not None
    assert line.clips == 200
    assert line.mean.mean == pytest.approx(np.mean([run.value for run in folds(0.8)]))
    assert line.deviation == pytest.approx(np.std([run.value for run in folds(0.8)], ddof=1))
    assert line.difference.mean == pytest.approx(0.2, abs=0.03)
    assert line.difference.low > 0
    assert line.p < 1e-6
    assert line.chance == 0.25
    assert line.beats_chance
    assert list(line.subsets) == ['audio', 'rgb']
    assert line.subsets['audio'].mean == pytest.approx(0.2, abs=0.05)  # Where rgb is wrong, by one class.
    assert (line.seconds, line.parameters) == (60, 1_500_000)


def test_only_clips_that_both_were_tested_on_are_compared() -> None:
    some = folds(0.8)[:2]
    line = ablation.line('both', some, 'one', {'one': folds(0.6)})
    assert line.difference is not None
    expected = np.mean([a.value - b.value for a, b in zip(some, folds(0.6), strict=False)])
    assert line.difference.mean == pytest.approx(expected)
    others = [dataclasses.replace(each, scores=dataclasses.replace(
        each.scores, clip=np.char.add('x', each.scores.clip))) for each in folds(0.6) if each.scores]
    assert ablation.line('both', some, 'other clips', {'other clips': others}).difference is None


def test_what_was_asked_something_else_is_not_compared() -> None:
    others = [dataclasses.replace(each, scores=dataclasses.replace(each.scores, target={'': np.arange(40) % 3}))
              for each in folds(0.6) if each.scores]
    line = ablation.line('command', folds(0.8), 'digit', {'digit': others})
    assert line.difference is None
    assert np.isnan(line.p)


def test_a_stream_is_compared_with_the_row_that_the_fusion_began_with() -> None:
    def alone(rate: float) -> list[Measured]:
        return [dataclasses.replace(each, scores=dataclasses.replace(
            each.scores, scores={'audio': each.scores.scores['audio+rgb']})) for each in folds(rate) if each.scores]

    measured = {'other': alone(0.5), 'own': alone(0.6), 'both': folds(0.8)}
    for begin, wanted in (((), 'other'), (('own',), 'own')):
        related = ablation.related(measured['both'], '', measured, begin)
        assert ablation.line('both', measured['both'], '', related).alone['audio'][0] == wanted


def test_several_seeds_are_one_value_a_clip() -> None:
    seeds = [run(f'seed{i}', range(100), 0.7, seed=i) for i in range(3)]
    line = ablation.line('seeds', seeds, 'one', {'one': seeds[:1]})
    assert line.mean is not None
    assert line.clips == 100
    assert line.mean.mean == pytest.approx(np.mean([each.value for each in seeds]))
    assert np.isnan(line.p)  # Clips are right in two of three runs.


def test_groups_make_intervals_wider() -> None:
    def width(**options: int) -> float:
        found = ablation.line('a', folds(0.8, **options), '', {}).mean
        assert found is not None
        return found.high - found.low

    assert width() == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 200), rel=0.1)
    assert width(groups=8) != width()


def test_seeds_are_crossed_with_groups_and_paired_by_seed() -> None:
    seeds = [run(f'fold{fold}_seed{i}', range(fold * 40, fold * 40 + 40), 0.7, groups=8, seed=8 * i)
             for i in range(3) for fold in range(5)]
    base = [dataclasses.replace(each, scores=dataclasses.replace(
        each.scores, scores={'audio+rgb': {'': np.roll(each.scores.scores['audio+rgb'][''], -1, 1)}}))
        for each in reversed(seeds) if each.scores]
    line = ablation.line('seeds', seeds, 'base', {'base': base})
    assert line.mean is not None
    assert line.difference is not None
    assert line.mean.label == '95 % CI, Korn-Graubard, seeds crossed'
    # A clip that is correct in a run of the row is not in the other row's run of the same seed.
    assert line.difference.mean == pytest.approx(2 * line.mean.mean - 1, abs=1e-9)
    # The last seed is not complete: there is a mean over those that are.
    some = ablation.line('seeds', seeds[:-1], '', {}).mean
    assert some is not None
    assert some.method == 'Korn-Graubard'


def test_a_row_of_few_groups_says_that_it_has_no_interval(tmp_path: Path) -> None:
    line = ablation.line('few', folds(0.8, groups=3), '', {})
    ablation_page.write(tmp_path, [line], question='', command='vmmjax ablate', metric='accuracy')
    text = (tmp_path / 'table.md').read_text()
    assert '95 % CI' not in text.splitlines()[0]
    assert 'Confidence intervals (CI) of the metric: no CI: 3 groups, fewer than 5.' in text
    assert 'most frequent class.' not in text  # Nobody knows whether it is better.
    rows = list(csv.DictReader((tmp_path / 'table.csv').read_text().splitlines()))
    assert (rows[0]['low'], rows[0]['high'], rows[0]['interval']) == ('', '', 'no CI: 3 groups, fewer than 5')


def only(runs: tuple[Measured, ...], stream: str) -> tuple[Measured, ...]:
    """Runs of a model of one stream."""
    return tuple(dataclasses.replace(each, scores=dataclasses.replace(
        each.scores, scores={stream: each.scores.scores[stream]})) for each in runs if each.scores)


def test_a_model_with_streams_withheld_is_compared_with_one_that_never_had_them() -> None:
    measured = {'sound': only(folds(0.9), 'audio'), 'pictures': only(folds(0.6), 'rgb'), 'both': folds(0.8),
                'other pictures': only(folds(0.1), 'rgb'), 'not yet': ()}
    others = ablation.related(measured['both'], 'sound', measured)
    assert list(others) == ['sound', 'pictures', 'other pictures']
    line = ablation.line('both', measured['both'], 'sound', others)
    assert {subset: name for subset, (name, _) in line.alone.items()} == {'audio': 'sound', 'rgb': 'pictures'}
    assert line.alone['rgb'][1].mean == pytest.approx(0.2, abs=0.03)
    assert line.alone['rgb'][1].low > 0
    assert not ablation.line('pictures', measured['pictures'], '', {}).alone


def words(clips: range) -> Measured:
    """A run on two targets, of which it always knows the digit, and the letter never; every tenth clip has no digit."""
    numbers = np.array(clips)
    targets = {'digit': np.where(numbers % 10 > 0, numbers % CLASSES, -1), 'letter': numbers % CLASSES}
    scores = {'digit': np.eye(CLASSES)[numbers % CLASSES], 'letter': np.eye(CLASSES)[(numbers + 1) % CLASSES]}
    found = Scores(np.array([f'c{number}' for number in numbers]), np.full(len(numbers), ''), targets,
                   {'audio': scores}, {'audio': np.ones(len(numbers), bool)})
    return Measured('fold0', 0.5, found, None, seconds=1.0, parameters=1)


def test_one_of_several_targets_is_measured_clip_by_clip() -> None:
    run = words(range(40))
    both = ablation.line('words', [run], '', {})
    digit, letter = (ablation.line('words', [dataclasses.replace(run, target=name)], '', {})
                     for name in ('digit', 'letter'))
    assert both.mean is not None
    assert digit.mean is not None
    assert letter.mean is not None
    assert (digit.clips, digit.mean.mean) == (36, 1)
    assert (letter.clips, letter.mean.mean) == (40, 0)
    assert both.mean.mean == pytest.approx(0.45)
    assert digit.chance == pytest.approx(10 / 36)


def test_another_metric_is_one_value_a_run() -> None:
    values = [0.5, 0.6, 0.7]
    runs = [Measured(f'fold{i}', value, None, None, 9.0, 10) for i, value in enumerate(values)]
    base = [Measured(f'fold{i}', value, None, None, 9.0, 10) for i, value in enumerate([0.4, 0.5, 0.6, 0.9])]
    line = ablation.line('a', runs, 'b', {'b': base})
    assert line.mean is not None
    assert line.mean[:3] == pytest.approx((0.6, 0.6 - 0.2484, 0.6 + 0.2484), abs=1e-4)  # t(2) = 4.303.
    assert line.difference is not None
    assert line.difference.mean == pytest.approx(0.1)
    single = ablation.line('a', runs[:1], '', {}).mean
    assert single is not None
    assert np.isnan(single.low)


LINES = [
    ablation.line('rgb & sound_1', folds(0.8), '', {}),
    dataclasses.replace(ablation.line('finance | rgb', folds(0.3)[:2], 'rgb & sound_1', {'rgb & sound_1': folds(0.8)}),
                        failed={'fold2': 'The loss is nan at step 3.'}, missing=2),
    Line('not yet', missing=5),
]


def test_the_tables_say_what_was_found(tmp_path: Path) -> None:
    paths = ablation_page.write(tmp_path, LINES, question='Does sound help?', command='vmmjax ablate',
                                metric='accuracy')
    assert [path.name for path in paths] == [
        'table.md', 'table.csv', 'table.tex', 'report.html', 'plot.svg']
    text = (tmp_path / 'table.md').read_text()
    assert text.startswith('Does sound help?\n\n| row | accuracy, % |')
    assert re.search(r'fold0 \d+\.\d, fold1 \d+\.\d, fold2 failed, 2 to come', text)
    assert '| finance \\| rgb | 30.' in text
    assert 'finance | rgb, fold2: The loss is nan' in text
    assert '| not yet | – |' in text
    assert '(CI) of the metric: 95 % CI, Wilson. Of the differences: 95 % CI, Bonett-Price.' in text
    assert 'reaches down to the most frequent class: finance | rgb.' in text
    header, *rows = csv.reader((tmp_path / 'table.csv').read_text().splitlines())
    assert rows[0][0] == 'rgb & sound_1'
    whole = {row[0]: dict(zip(header, row, strict=True)) for row in rows if row[1] == 'all'}
    assert float(whole['finance | rgb']['difference']) == pytest.approx(-0.5, abs=0.04)
    assert whole['not yet']['mean'] == whole['rgb & sound_1']['difference'] == ''
    assert len(rows) == 3 + 2 * 2
    latex = (tmp_path / 'table.tex').read_text()
    assert r'rgb \& sound\_1 &' in latex
    assert latex.count(r'\\') == 4
    columns = {line.count('&') - line.count(r'\&') for line in latex.splitlines() if line.endswith(r'\\')}
    assert len(columns) == 1
    picture = (tmp_path / 'plot.svg').read_text()
    assert 'finance | rgb' in picture
    assert '<dc:date>' not in picture
    page = (tmp_path / 'report.html').read_text()
    for text in ('Does sound help?', 'finance | rgb', 'rgb &amp; sound_1', 'streams withheld', 'The loss is nan'):
        assert text in page
    assert 'http' not in page.replace('http-equiv', '').replace('http://www.w3.org', '')
    assert '#0a000' not in page + picture
    ablation_page.write(tmp_path, LINES, question='Does sound help?', command='vmmjax ablate', metric='accuracy')
    assert (tmp_path / 'plot.svg').read_text() == picture


def test_noise_has_tables_of_its_own(tmp_path: Path) -> None:
    def at(rate: float) -> list[Line]:
        base = only(folds(rate), 'audio')
        return [ablation.line('sound', base, '', {}),
                ablation.line('both', folds(0.8), 'sound', {'sound': base}), Line('not yet', missing=5)]

    levels = {None: at(0.9), 0.0: at(0.6), -10.0: at(0.1)}
    paths = ablation_page.write(tmp_path, at(0.9), question='', command='vmmjax ablate', metric='accuracy_digit',
                         noisy={'white': levels, 'babble': levels})
    assert paths[-2].name == 'noise.csv'
    text = (tmp_path / 'table.md').read_text()
    assert ('accuracy_digit, %, in white noise, by the ratio of sound to noise:\n\n'
            '| row | given | clean | 0 dB | -10 dB |') in text
    title, *table = text[text.index('Differences in babble noise'):].split('\n')[:6]
    assert title == 'Differences in babble noise, paired by clip:'
    cells = [cell.strip() for cell in table[3].split('|')[1:-1]]
    assert cells[:2] == ['both', 'sound']
    assert [cell[0] for cell in cells[2:]] == ['+', '+', '-']  # Alone it is right where all are wrong.
    rows = list(csv.DictReader((tmp_path / 'noise.csv').read_text().splitlines()))
    found = {(row['row'], row['streams'], row['noise'], row['ratio']): row for row in rows}
    assert len(found) == len(rows) == 2 * 3 * 4
    worst = {key: float(value) for key, value in found['both', 'audio+rgb', 'white', '-10'].items()
             if key in ('mean', 'low', 'high', 'difference', 'difference_low', 'difference_high')}
    assert worst['low'] < worst['mean'] < worst['high']
    assert worst['difference_low'] < worst['difference'] < worst['difference_high'] < 0
    assert 'in white noise' in (tmp_path / 'report.html').read_text()


def test_the_page_shows_how_rows_learned_and_where_their_configs_differ(tmp_path: Path) -> None:
    def logged(loss: float, steps: tuple[float, ...] = (10, 20, 30)) -> dict[str, dict[float, float]]:
        return {'train/loss': {step: loss / step for step in steps}, 'validation/accuracy': {30: loss / 10}}

    panels = curves.compared({'a': [logged(4), logged(6, (20, 30, 40))], 'not yet': [], 'b & c': [logged(2)]},
                             ('train/loss', 'validation/loss', 'validation/accuracy'), ['accuracy'])
    assert [panel.name for panel in panels] == ['train/loss', 'validation/accuracy']
    loss, accuracy = panels
    assert [(curve.name, curve.steps) for curve in loss.curves] == [('a', [20, 30]), ('b & c', [10, 20, 30])]
    assert loss.curves[0].values == pytest.approx([5 / 20, 5 / 30])
    assert accuracy.curves[0].last == '50.0 %'
    many = curves.compared({f'row {i}': [logged(i)] for i in range(17)}, ('train/loss',), [])
    assert len(set(re.findall(r'stroke: var\(--curve\d\)', many[0].svg))) == 8
    assert 'stroke-dasharray' in many[0].svg
    ablation_page.write(tmp_path, LINES, question='', command='vmmjax ablate', metric='accuracy', panels=panels,
                 differences={'finance | rgb': [Difference('model.fusion.name', "'concat'", "'sum'")]})
    page = (tmp_path / 'report.html').read_text()
    assert page.count('<svg') == 3
    for said in ('Other than in rgb &amp; sound_1', '1 key', 'model.fusion.name', '<li>', 'train, loss'):
        assert said in page


def test_nothing_measured_is_a_table_without_a_picture(tmp_path: Path) -> None:
    ablation_page.write(tmp_path, LINES[2:], question='', command='vmmjax ablate', metric='accuracy')
    assert not (tmp_path / 'plot.svg').exists()
    assert '5 to come' in (tmp_path / 'table.md').read_text()


@pytest.mark.slow
@pytest.mark.parametrize('width', [1200, 390])
def test_the_page_opens_in_a_browser(tmp_path, tmp_path_factory, width):
    ablation_page.write(tmp_path, LINES, question='Does sound help?', command='vmmjax ablate', metric='accuracy')
    document, log = opened(tmp_path / 'report.html', width, tmp_path_factory.mktemp('browser'))
    assert 'Does sound help?' in document
    assert document.count('<svg') == 1
    assert 'CONSOLE' not in log


def test_a_figure_a_run_is_that_of_the_noise(tmp_path: Path) -> None:
    row = {'kind': 'babble', 'subset': 'rgb+sound', 'values': [0.1, 0.4]}
    alone = {'kind': 'babble', 'subset': 'rgb', 'values': [0.6, 0.6]}
    noise_sweep.write(tmp_path, {'split': 'test', 'metric': 'word_error_rate', 'ratios': [None, 0],
                                 'rows': [row, alone]})
    hears = Measured('fold1', 0.1, None, None, seconds=60.0, parameters=1)
    for level, expected in ((None, 0.1), (0.0, 0.4)):
        name = noise_sweep.condition('babble', level)
        assert ablation.in_noise(hears, tmp_path, 'test', 'word_error_rate', name).value == expected
    deaf = ablation.in_noise(hears, tmp_path / 'other', 'test', 'word_error_rate', 'babble_0dB')
    assert deaf is hears
