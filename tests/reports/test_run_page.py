import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.evaluation.pages import Page, opened
from vmmjax.errors import UserError
from vmmjax.evaluation import training_log
from vmmjax.evaluation.config_diff import Difference
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import read, write
from vmmjax.reports import run_page
from vmmjax.tasks import Classification

SIDES = ['left', 'left', 'right', 'right']
CLASSES = ['<b>bold</b>', 'a & "b"', 'gr\u00fcn\u7d05', 'plain']


def result_of(classes=CLASSES, parts=None, split='test', clips=40):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(classes), clips).astype(np.int32)
    present = {'rgb': np.ones(clips, bool), 'audio': np.arange(clips) % 10 > 0}
    predictions = {}
    for name in ('rgb+audio', 'rgb', 'audio'):
        scores = rng.normal(size=(clips, len(classes))).astype(np.float32)
        scores[np.arange(clips), targets] += len(name) / 3
        predictions[name] = Predictions(np.arange(clips, dtype=np.int32), targets, scores, present)
    parts = {'side': SIDES} if parts is None else parts
    task = Classification(target='label', facts={'classes': list(classes), 'parts': parts})
    return task.result(predictions, split=split, step=200, store=SimpleNamespace(has_values=lambda name: False))


def log_to(workdir, steps=10):
    with (workdir / 'log.jsonl').open('w') as file:
        for step in range(20, 20 * steps + 1, 20):
            file.write(json.dumps({'step': step, 'train/loss': 2 / step, 'train/accuracy': 1 - 1 / step,
                                   'clips_per_second': 100 + step % 3}) + '\n')
        file.write(json.dumps({'step': 200, 'validation/loss': .5, 'validation/accuracy': .75,
                               'validation/side': .8}) + '\n')


@pytest.fixture
def workdir(tmp_path):
    write(tmp_path, result_of())
    write(tmp_path, result_of(split='validation'))
    log_to(tmp_path)
    return tmp_path


def written(workdir, **options):
    return Page(run_page.write(workdir, **options).read_text(encoding='utf-8'))


def test_the_page_names_the_store(workdir):
    write(workdir, dataclasses.replace(result_of(), store='stores/other'))
    page = run_page.write(workdir).read_text(encoding='utf-8')
    assert 'test split · 40 clips · 4 classes · step 200 · stores/other' in page


def test_the_page_tells_what_was_measured(workdir):
    page = written(workdir, title='pictures & sound', config='seed: 0', command='vmmjax train --config=x')
    result = result_of()
    for said in ('pictures & sound', 'test split · 40 clips · 4 classes · step 200', 'rgb + audio', 'side',
                 f'{100 * result.metrics["accuracy"]:.1f}', f'{result.metrics["loss"]:.3f}',
                 'validation split', 'seed: 0', 'vmmjax train --config=x'):
        assert said in page.text
    assert page.tags.count('svg') == 6  # loss, accuracy, clips_per_second, side; the calibration of two splits.
    assert 'train 0.01' in page.text
    assert 'validation 75.0 %' in page.text
    assert 'has not been evaluated' not in page.text


def test_the_page_is_whole_by_itself(workdir):
    text = run_page.write(workdir).read_text(encoding='utf-8')
    page = Page(text)
    assert '//' not in re.sub(r'/\*.*?\*/', '', text)
    assert not {'script', 'img', 'iframe', 'object', 'base'} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in ('src', 'href', 'xlink:href', 'action', 'data'):
            assert value.startswith('#') or (tag, value) == ('link', 'data:,')
    ids = [value for _, name, value in page.attributes if name == 'id']
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert used
    assert set(used) <= set(ids)


def test_the_same_input_gives_the_same_bytes(workdir):
    first = run_page.write(workdir).read_bytes()
    assert run_page.write(workdir).read_bytes() == first


def test_names_are_escaped(workdir):
    page = written(workdir, title='<script>alert(1)</script>', config='<i>x</i>', command='a < b')
    assert 'script' not in page.tags
    # The classes stand in the matrix twice and in the table, for both splits.
    assert page.text.count('<b>bold</b>') == 6
    assert page.text.count('grün紅') == 6
    assert '<i>x</i>' in page.text
    assert page.tags.count('b') == 4  # Only the captions of the curves.


def test_no_path_of_the_machine(workdir, monkeypatch):
    monkeypatch.chdir(workdir)
    text = run_page.write(workdir, config=f"store: '{workdir}/store'\nother: /srv/data/clips\n",
                        command=f'vmmjax train --workdir={Path.home()}/runs/one').read_text(encoding='utf-8')
    assert str(workdir) not in text
    assert str(Path.home()) + '/' not in text
    assert '/srv/' not in text
    assert '--workdir=…/one' in text


def test_what_is_missing_is_said(tmp_path):
    page = written(tmp_path)
    assert 'The test split has not been evaluated' in page.text
    assert 'There is no log.jsonl' in page.text
    log_to(tmp_path)
    write(tmp_path, result_of(split='validation'))
    page = written(tmp_path)
    assert 'The test split has not been evaluated' in page.text
    assert 'The validation split has not' not in page.text
    assert 'There is no log.jsonl' not in page.text


def test_a_result_that_is_damaged_is_named(workdir):
    (workdir / 'eval' / 'test.json').write_text('{"split":')
    with pytest.raises(UserError, match=r'test\.json is no result'):
        run_page.write(workdir)


def test_a_log_of_a_killed_run(tmp_path):
    (tmp_path / 'log.jsonl').write_text(
        '{"step": 20, "train/loss": 3}\n{"step": 40, "train/lo{"step": 40, "train/loss": 2}\n'
        '{"step": 20, "train/loss": 1}\n{"step": 60, "train/loss": NaN}\n[]\n{"step": 80, "tra')
    series, broken = training_log.read_log(tmp_path / 'log.jsonl')
    assert list(series) == ['train/loss']
    assert list(series['train/loss']) == [20, 60]
    assert series['train/loss'][20] == 1
    assert broken == 3
    assert 'Left out: 3 lines' in written(tmp_path).text


def test_many_classes_give_no_huge_matrix(tmp_path):
    names = [f'class {i}' for i in range(300)]
    write(tmp_path, result_of(names, parts={}, clips=600))
    page = written(tmp_path)
    assert 'Most frequent mistakes' in page.text
    assert 'The 40 of 300 classes' in page.text
    assert len(page.text) < 40_000
    assert len(run_page.terminal_table(result_of(names, parts={}, clips=600)).splitlines()) < 60


def test_the_terminal_table():
    lines = run_page.terminal_table(result_of()).splitlines()
    result = result_of()
    assert lines[0].startswith('test split, step 200: 40 clips, accuracy ')
    assert lines[2].split() == ['streams', 'clips', 'accuracy', 'CI', 'side', 'class_accuracy', 'calibration_error']
    for line, (name, row) in zip(lines[4:], result.subsets.items(), strict=False):
        figures = [f'{100 * row[key]:.1f}' for key in ('accuracy', 'side', 'class_accuracy', 'calibration_error')]
        ends = [f'{100 * row["intervals"]["accuracy"][end]:.1f}' for end in ('low', 'high')]
        assert line.split() == [name, str(row['examples']), figures[0], ends[0], 'to', ends[1], *figures[1:]]
    assert lines[7].startswith('most frequent class')
    assert lines[8] == 'Confidence interval (CI) of accuracy: 95 % CI, Wilson.'
    assert 'precision' in lines[10]
    assert len(lines) == 12 + len(CLASSES)


def test_a_result_of_before_intervals_is_shown_without_them(tmp_path):
    older = dataclasses.replace(result_of(), intervals={})
    for row in older.subsets.values():
        del row['intervals']
    path = write(tmp_path, older)
    assert 'intervals' not in path.read_text()
    assert read(path) == older
    assert 'CI' not in run_page.terminal_table(older)
    assert '<br>CI' not in run_page.write(tmp_path).read_text()


def test_the_interval_of_the_first_metric_stands_beside_it(tmp_path):
    result = result_of()
    known = {'low': 0.5, 'high': 0.75, 'label': '95 % CI, Korn-Graubard'}
    few = {'low': None, 'high': None, 'label': 'no CI: 4 groups, fewer than 5'}
    for name, interval in (('rgb+audio', known), ('rgb', known), ('audio', few)):
        result.subsets[name]['intervals'] = {'accuracy': interval, 'side': known}
    result = dataclasses.replace(result, intervals={'accuracy': known, 'side': known})
    lines = run_page.terminal_table(result).splitlines()
    assert lines[2].split()[:4] == ['streams', 'clips', 'accuracy', 'CI']
    assert lines[4].split()[3:6] == ['50.0', 'to', '75.0']
    assert lines[6].split()[3] == lines[7].split()[5] == '–'
    said = 'Confidence interval (CI) of accuracy: 95 % CI, Korn-Graubard; no CI: 4 groups, fewer than 5.'
    assert said in lines
    write(tmp_path, result)
    text = ' '.join(written(tmp_path).text.split())
    assert said in text
    assert text.count('CI 50.0 to 75.0') == 2


def test_the_terminal_table_stays_within_100_columns():
    names = ['a very long class name ' * 9, 'one\nwith a line break', 'c', 'd', 'e', 'f']
    parts = {f'part_number_{i}': ['x'] * 6 for i in range(4)}
    lines = run_page.terminal_table(result_of(names, parts)).splitlines()
    assert max(map(len, lines)) <= 100
    assert any('…' in line for line in lines)
    assert any('one with a line break' in line for line in lines)


def test_a_subset_without_clips_is_a_dash(tmp_path):
    result = result_of()
    result.subsets['audio'] = {**dict.fromkeys(result.subsets['audio']), 'examples': 0, 'intervals': {}}
    write(tmp_path, result)
    assert '–' in run_page.terminal_table(result)
    assert '–' in written(tmp_path).text


@pytest.mark.slow
@pytest.mark.parametrize('width', [1200, 390])
def test_the_page_opens_in_a_browser(workdir, tmp_path_factory, width):
    page = run_page.write(workdir, title='Opened in a browser')
    document, log = opened(page, width, tmp_path_factory.mktemp('browser'))
    assert '<h1>Opened in a browser</h1>' in document
    assert document.count('<svg') == 6
    assert 'CONSOLE' not in log


def test_the_page_tells_calibration_cost_and_what_differs_from_another_run(workdir):
    cost = {'parameters': 24_300_000, 'macs': 3.3e10, 'views': 1, 'batch_size': 16, 'machine': 'a chip'}
    write(workdir, dataclasses.replace(result_of(), cost=cost))
    base = ('runs/one', [Difference('model.fusion.name', "'concat'", "'sum'")])
    text = ' '.join(written(workdir, base=base).text.split())
    error = 100 * result_of().metrics['calibration_error']
    for said in (f'the calibration error: {error:.1f} %', '24.3 M', '33 GMACs', 'a chip',
                 'Other than in runs/one', "model.fusion.name'concat''sum'"):
        assert said in text
    assert 'The configs are the same' in written(workdir, base=('runs/one', [])).text
    assert 'Other than in' not in written(workdir).text


def test_a_result_of_an_older_version_is_told_without_what_it_lacks(tmp_path):
    result = dataclasses.replace(result_of(), calibration=[])
    write(tmp_path, result)
    assert 'Calibration' not in written(tmp_path).text


def test_rows_of_another_run_stand_beside_and_say_whose_they_are(tmp_path):
    result, mine, other = result_of(), tmp_path / 'mine', tmp_path / 'shuffled'
    write(mine, result)
    write(other, result)
    rows = run_page.beside(result, [other]).subsets
    assert rows['shuffled: rgb'] == result.subsets['rgb']
    assert 'shuffled: rgb' in run_page.write(mine, others=[other]).read_text()
    with pytest.raises(UserError, match=r'run vmmjax evaluate --workdir=.*missing --split='):
        run_page.beside(result, [tmp_path / 'missing'])
