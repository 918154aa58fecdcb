"""`vmmjax generate` on runs of two steps."""

import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from vmmjax.media.video import stored_pictures
from vmmjax.media.writer import write_clip

VIDEO = 'experiments/configs/motion_video.py'
SMALL = ('--config.steps=2', '--config.batch_size=4', '--config.optimizer.lr.warmup_steps=0',
         '--config.data.window.seconds=0.48', '--config.data.streams.rgb.frames=3', '--config.data.streams.rgb.size=24',
         '--config.model.encoders.rgb.depth=1')


@pytest.mark.slow
def test_a_file_gets_twice_the_pictures_and_the_page_shows_clips(tmp_path, store):
    trained = vmmjax('train', f'--config={VIDEO}', f'--workdir={tmp_path / "run"}', f'--config.data.store={store}',
                     *SMALL)
    assert trained.returncode == 0, trained.stderr
    frames = np.random.default_rng(0).integers(0, 256, (7, 9, 17, 3)).repeat(3, 1).repeat(2, 2)[:, :27].astype(np.uint8)
    write_clip(tmp_path / 'a.mp4', frames[:, :26], fps=10)
    made = vmmjax('generate', tmp_path / 'a.mp4', f'--weights={tmp_path / "run"}', f'--output={tmp_path / "b.mp4"}')
    assert made.returncode == 0, made.stderr
    assert '20 pictures a second' in made.stdout
    pictures = np.stack(list(stored_pictures(tmp_path / 'b.mp4')))
    assert pictures.shape == (13, 26, 34, 3)
    measured = vmmjax('evaluate', f'--workdir={tmp_path / "run"}')
    assert measured.returncode == 0, measured.stderr
    assert 'mean of the neighbours' in measured.stdout
    assert 'What was made' in (tmp_path / 'run' / 'report.html').read_text()
    told = refused('generate', f'--weights={tmp_path / "run"}', f'--output={tmp_path / "c.npy"}')
    assert 'video_to_video, which draws no clips' in told
    assert not (tmp_path / 'c.npy').exists()


def test_where_to_write(tmp_path):
    assert 'a video is written as .mp4' in refused('generate', 'a.mp4', '--weights=runs/none', '--output=b.avi')
    assert 'clips are written as' in refused('generate', '--weights=runs/none', '--output=b.avi')
    told = refused('generate', '--weights=runs/none', f'--output={tmp_path / "missing" / "x.npy"}')
    assert f'no folder {tmp_path / "missing"}' in told
