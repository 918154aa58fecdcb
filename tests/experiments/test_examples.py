"""What the README shows: examples are short, and do what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation import clips
from vmmjax.evaluation.result import write
from vmmjax.experiment import Experiment
from vmmjax.prepare.sources.clip import of_file
from vmmjax.reports import run_page

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / 'experiments' / 'examples'


def test_a_task_of_ones_own_in_one_file_is_trained_measured_shown_and_predicts(tmp_path):
    assert len((EXAMPLES / 'ordinal.py').read_text().splitlines()) <= 60
    store = clips.make_store(tmp_path / 'clips')
    config = clips.config_of(store, dict(name='experiments.examples.ordinal:Ordinal'), 'rating',
                             head=dict(name='consensus', dropout=0.0))
    folder = tmp_path / 'run'
    _, logged = clips.trained(config, folder)
    assert logged['validation/mae'] < 0.6
    experiment = Experiment.load(folder)
    result = experiment.evaluate('test')
    assert result.metrics['accuracy'] > 0.7
    assert list(result.subsets) == ['one+two', 'one', 'two']
    assert result.subsets['one']['mae'] < 1.2
    write(folder, result)
    page = run_page.write(folder).read_text()
    assert 'mae' in page
    assert 'mae' in run_page.terminal_table(result)
    # Of a file the rating follows from the number that the sensors of this test take its id for.
    found = experiment.predict([of_file(tmp_path / 'clips' / 'clip.mp4', id=str(number)) for number in (80, 81, 82)])
    named = [float(each.reading[0]['named'][0][0]) for each in found]
    assert sum(abs(name - rating) for name, rating in zip(named, (1, 2, 3), strict=True)) <= 1


@pytest.mark.slow
def test_arrays_are_trained_on_measured_and_predicted(tmp_path):
    text = (EXAMPLES / 'arrays.py').read_text()
    body = [line for line in text.partition('__main__')[2].splitlines()[1:] if line.strip()]
    assert len(body) <= 15
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''}
    found = subprocess.run([sys.executable, EXAMPLES / 'arrays.py'], cwd=tmp_path, env=environment, check=True,
                           capture_output=True, text=True)
    measured, dark, bright = found.stdout.splitlines()[-3:]
    assert "'accuracy': 1.0" in measured
    assert "[['dark', " in dark
    assert "[['bright', " in bright
    assert (tmp_path / 'runs' / 'arrays' / 'checkpoints').is_dir()
