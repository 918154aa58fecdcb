"""Pages of results: they say how they were made, agree with their runs where these are there, and are counted."""

import json
import re
import shutil
import subprocess

import pytest

from tests.experiments.test_configs import ROOT
from tests.test_readme import PAGES, links_in
from vmmjax import config as configs
from vmmjax.evaluation.result import Result, count_evaluation, write

results = configs.load(ROOT / 'scripts' / 'results.py')
LINKED = sorted({(page.parent / link).resolve() for page in PAGES for link in links_in(page.read_text())
                 if 'experiments/results/' in link and link.endswith('.md')})


@pytest.mark.parametrize('page', LINKED, ids=lambda page: page.name)
def test_a_linked_page_says_how_it_was_made(page):
    text = page.read_text()
    assert re.search(r'\b(vmmjax [a-z]+|scripts/[a-z_]+|experiments/[a-z_]+\.py)\b', text), 'no command'
    assert re.search(r'\b20\d\d-\d\d-\d\d\b', text), 'no date'
    assert re.search(r'\b\d+ (CPU )?cores\b', text), 'no machine'
    if re.search(r'accuracy|word error rate', text):
        assert re.search(r'seed|nothing is random', text, re.IGNORECASE), 'no seed'
        assert re.search(r'interval|\bCI\b', text), 'no interval'


PAGE = """
| row | accuracy, % | 95 % CI | runs | training, s |
|---|---:|---:|---:|---:|
| pictures | 60.0 | – | fold1 50.0, fold2 70.0, fold3 failed | 3 |

Made by `vmmjax ablate --rows=a.py --workdir=runs/a --folds=1,2`.
"""


def test_a_page_is_compared_with_its_runs(tmp_path, capsys):
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    assert results.check([page], tmp_path) == 0
    assert '2 runs, 0 at hand' in capsys.readouterr().out
    for fold, accuracy in ((1, 0.5), (2, 0.7)):
        write(tmp_path / 'runs/a/pictures' / f'fold{fold}', of(accuracy))
    assert results.check([page], tmp_path) == 0
    write(tmp_path / 'runs/a/pictures/fold2', of(0.6))
    assert results.check([page], tmp_path) == 1
    assert 'the page says 70.0, the run 60.0' in capsys.readouterr().out


def of(accuracy, split='test'):
    return Result(split, 10, 4, {'accuracy': accuracy, 'loss': 1.0}, {}, {}, [], store='stores/mine')


def test_the_ledger_counts_what_is_new_and_loses_nothing(tmp_path):
    ledger, run = tmp_path / 'ledger.csv', tmp_path / 'runs' / 'one'
    shutil.copy(results.LEDGER, ledger)
    before = ledger.read_text()
    write(run, of(0.5))
    (run / 'eval' / 'test_noise.json').write_text(json.dumps({'split': 'test'}))
    for times in (1, 2):
        count_evaluation(run, of(0.5))
        results.collect(tmp_path / 'runs', ledger)
        results.collect(tmp_path / 'runs', ledger)
        assert ledger.read_text().startswith(before)
        line, = [line.split() for line in results.totals(ledger) if 'stores/mine' in line]
        assert line == ['stores/mine', 'test', str(times)]


def test_the_ledger_is_only_added_to():
    name = results.LEDGER.relative_to(ROOT).as_posix()
    log = subprocess.run(['git', 'log', '--format=', '--numstat', '--', name], cwd=ROOT, capture_output=True, text=True,
                         check=False).stdout
    assert not [line for line in log.splitlines() if line.split()[1] != '0']
