"""Tasks by the commands."""

import json

import numpy as np
import pytest

from tests.cli.conftest import TOY, refused, vmmjax


@pytest.mark.slow
def test_several_targets_from_training_to_the_page(tmp_path, store):
    found = vmmjax('train', TOY, f'--workdir={tmp_path}', f'--config.data.store={store}', '--config.data.parts=()',
                   "--config.data.target=('motion', 'tone')", '--config.steps=10')
    assert found.returncode == 0, found.stderr
    assert 'motion: 4 classes, tone: 2 classes' in found.stdout
    found = vmmjax('evaluate', f'--workdir={tmp_path}')
    assert found.returncode == 0, found.stderr
    assert 'word_error_rate' in found.stdout
    result = json.loads((tmp_path / 'eval' / 'test.json').read_text())
    assert list(result['classes']) == ['motion', 'tone']
    assert {'accuracy_motion', 'accuracy_tone', 'all_right'} <= result['subsets']['audio'].keys()
    with np.load(tmp_path / 'eval' / 'test.npz') as scores:
        assert scores['scores/audio+rgb/tone'].shape == (21, 2)
    assert 'all right' in (tmp_path / 'report.html').read_text()


def test_a_run_that_was_never_trained_gives_no_weights(tmp_path):
    assert 'log.jsonl is not there' in refused('blend', f'rgb={tmp_path}')


def test_a_video_is_neither_written_over_its_source_nor_under_another_ending(tmp_path):
    video, weights = tmp_path / 'a.mp4', f'--weights={tmp_path}'
    line = refused('generate', video, weights, f'--output={video}')
    assert 'a.mp4 is the video itself; name another --output' in line
    line = refused('summarize', video, weights, f'--output={tmp_path / "s.txt"}')
    assert 's.txt; a video is written as .mp4' in line
