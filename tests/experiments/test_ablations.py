"""Every shipped ablation has a question, and a config that can be built for each of its runs."""

from pathlib import Path

import pytest

from vmmjax.cli import rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('path', sorted((ROOT / 'experiments' / 'ablations').glob('*.py')), ids=lambda path: path.stem)
def test_it_has_a_question_and_a_config_for_every_run(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    question, found = rows.of_file(path, '')
    assert question.endswith('?')
    runs = rows.plan(found, Path('runs'), seeds=1, folds=(), overrides={})
    assert len(runs) == sum(max(1, len(row.folds)) for row in found)


def test_noise_is_in_the_rows_that_say_so(monkeypatch):
    monkeypatch.chdir(ROOT)
    _, found = rows.of_file(Path('experiments/ablations/noise.py'), '')
    for run in rows.plan(found, Path('runs'), seeds=1, folds=(0,), overrides={}):
        streams = run.config.data.streams
        assert set(streams) == {'sound': {'waveform'}, 'pictures': {'rgb'}, 'both': {'rgb', 'waveform'}}[
            run.row.name.partition(',')[0]]
        if 'waveform' in streams:
            assert streams.waveform.to_dict().get('noise', 'clean') in run.row.name
