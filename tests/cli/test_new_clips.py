"""Clips that are in no store, and stores of new clips, are measured beside what the run has of its own."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.cli.conftest import refused, vmmjax
from tests.evaluation import runs
from vmmjax.cli import evaluate_source, new_clips
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_source(tmp_path_factory.mktemp('files'), {'train': 4, 'test': 5})


@pytest.fixture(scope='module')
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    folder = tmp_path_factory.mktemp('runs')
    return runs.trained(runs.prepared(source, folder / 'store'), folder / 'run'), folder


def _measure(run: tuple[Experiment, Path], source: Path, *, name: str = '', split: str = '') -> Path:
    experiment, folder = run
    out = new_clips.folder_of(folder / 'run', name, str(source))
    evaluate_source.measure(
        experiment, folder / 'run', str(source), out=out, split=split, media=None, trained_on=str(folder / 'store'),
        config='{}', changes={}, streaming=False)
    return out


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_clips_of_a_manifest(run: tuple[Experiment, Path], source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, folder = run
    out = _measure(run, source)
    assert out == folder / 'run' / 'new_clips' / 'manifest'
    assert not (folder / 'run' / 'eval').exists()
    result = json.loads((out / 'eval' / 'test.json').read_text())
    expected: Any = experiment.evaluate('test')
    assert result['metrics'] == pytest.approx(expected.metrics, rel=1e-5)
    assert list(result['subsets']) == list(expected.subsets)
    assert result['intervals'] == expected.intervals
    assert (result['examples'], len(_rows(out / 'eval' / 'test.csv'))) == (4, 5), 'number 5 has no label'
    assert len((out / 'eval' / 'test.jsonl').read_text().splitlines()) == 5
    page = (out / 'report.html').read_text()
    assert 'run: manifest' in page
    assert page.count('<video') == len(result['worst']) > 0
    assert 'test split' in capsys.readouterr().out
    with pytest.raises(UserError, match=r'4 clips of .*are among those that the run was trained on'):
        _measure(run, source, split='train')
    with pytest.raises(UserError, match=r"has no split 'tset': did you mean 'test'"):
        _measure(run, source, split='tset')


def test_another_manifest_of_the_same_name_is_not_measured_over_it(run: tuple[Experiment, Path], source: Path,
                                                                   tmp_path: Path) -> None:
    out = _measure(run, source, name='one')
    before = (out / 'eval' / 'test.json').read_bytes()
    other = shutil.copytree(source.parent, tmp_path / 'other') / source.name
    with pytest.raises(UserError, match=r'holds results of other clips; .* --name'):
        _measure(run, other, name='one')
    assert (out / 'eval' / 'test.json').read_bytes() == before


def test_files_without_labels(run: tuple[Experiment, Path], source: Path, tmp_path: Path,
                              capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        shutil.copy(source.parent / f'00{number}.mp4', tmp_path)
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    out = _measure(run, tmp_path, name='bare')
    said = capsys.readouterr()
    assert 'No clip has a label, so nothing was measured.' in said.out
    assert '1 of 3 clips could not be read; the first: ' in said.err
    assert sorted(path.name for path in (out / 'eval').iterdir()) == ['bare.csv', 'bare.jsonl']
    first, _, broken = _rows(out / 'eval' / 'bare.csv')
    assert first['predicted'] in fakes.LABELS
    assert 'broken.mp4' in broken['error']


def test_the_folder_is_named_after_the_source() -> None:
    assert [new_clips.folder_of(Path('run'), name, source).name for name, source in (
        ('mine', 'x.csv'), ('', 'a/b c.csv'), ('', 'new/'), ('', 'kinetics:lists/val_*.csv'), ('', '.'))] == [
            'mine', 'b_c', 'new', 'val', 'clips']


@pytest.mark.slow
def test_a_store_of_new_clips_needs_no_training_split(run: tuple[Experiment, Path], source: Path, tmp_path: Path
                                                      ) -> None:
    _, folder = run
    lines = [line for line in source.read_text().splitlines() if ',train,' not in line]
    (source.parent / 'new.csv').write_text('\n'.join(lines))
    store = runs.prepared(source.parent / 'new.csv', tmp_path / 'second_camera')
    found = vmmjax('evaluate', f'--workdir={folder / "run"}', f'--store={store.path}')
    assert found.returncode == 0, found.stderr
    result = folder / 'run' / 'new_clips' / 'second_camera' / 'eval' / 'test.json'
    assert json.loads(result.read_text())['examples'] == 4
    assert not (folder / 'run' / 'eval').exists()
    assert '--snr is for clips of a store' in refused(
        'evaluate', f'--workdir={folder / "run"}', f'--source={source}', '--snr=10')
