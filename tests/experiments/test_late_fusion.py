"""Late fusion measured from the scores of runs that are there already."""

import sys

import numpy as np
import pytest

from tests.experiments.test_configs import ROOT
from vmmjax import config as configs
from vmmjax.evaluation import outside_scores


@pytest.fixture(scope='module')
def late_fusion():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [str(ROOT / 'experiments'), *sys.path])
        return configs.load(ROOT / 'experiments' / 'late_fusion.py')


@pytest.fixture(scope='module')
def workdir(late_fusion, tmp_path_factory):
    """Runs on ESC-10 whose sound is right for nine clips of ten and whose frames say nothing."""
    folder, random = tmp_path_factory.mktemp('late_fusion'), np.random.default_rng(0)
    for fold in (1, 2):
        for split in ('validation', 'test'):
            target, clips = random.integers(0, 10, 80), np.array([f'{split}{fold}_{i}' for i in range(80)])
            for seed in range(3):
                heard = np.where(random.uniform(size=80) < 0.9, target, (target + 1) % 10)
                scores = {'rgb': random.normal(size=(80, 10)), 'audio': 5 * np.eye(10)[heard]}
                for streams, said in {**scores, 'rgb+audio': scores['rgb']}.items():
                    file = folder / 'esc10' / f'{streams}_fold{fold}_seed{seed}' / 'eval' / f'{split}.npz'
                    file.parent.mkdir(parents=True, exist_ok=True)
                    np.savez(file, store='esc10', id=np.arange(80), clip=clips, group=np.full(80, ''), target=target,
                             **{f'scores/{streams}': said}, **{'present/audio': np.ones(80, bool)})
    return folder


def test_fitted_weights_follow_the_stream_that_knows_and_one_network_is_measured_beside(late_fusion, workdir, tmp_path):
    sets = late_fusion._sets(tmp_path)
    measured = {'esc10': late_fusion.measure('esc10', sets['esc10'], workdir)}
    ways = measured['esc10'].right['']
    assert ways['sound'].shape == (3, 160)
    assert np.array_equal(ways[late_fusion.BEST], ways['sound'])
    assert ways['sound'].mean() == pytest.approx(0.9, abs=0.05)
    assert ways['fitted weights'].mean() > ways['equal weights'].mean() - 0.01
    assert ways[late_fusion.JOINT].mean() < 0.2
    assert (measured['esc10'].weights[:, 1] > measured['esc10'].weights[:, 0]).all()
    text = '\n'.join(late_fusion.tables(sets, measured))
    rows = [line.split('|') for line in text.splitlines() if 'fitted weights |' in line or 'one network |' in line]
    assert rows[-2][-3:-1] == [' yes ', ' yes ']
    assert rows[-1][-3:-1] == [' no ', ' no ']


def test_kept_scores_are_measured_beside_those_of_another_framework(late_fusion, workdir, tmp_path):
    late_fusion.keep_scores('esc10', late_fusion._sets(tmp_path)['esc10'], workdir, tmp_path / 'scores')
    files = sorted((tmp_path / 'scores').glob('esc10_audio_seed*.npz'))
    assert len(files) == 3
    with np.load(files[0]) as ours:
        np.savez(tmp_path / 'theirs.npz', clip=ours['clip'], scores=np.eye(10)[ours['target']])
    assert '160' in (table := outside_scores.table([tmp_path / 'theirs.npz'], files))
    assert 'theirs - ours: +' in table
