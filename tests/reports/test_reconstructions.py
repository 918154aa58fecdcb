import base64
import io
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.reports.test_run_page import result_of
from tests.serving.test_made_video import run_of
from vmmjax.evaluation.result import write
from vmmjax.reports import overlays, reconstructions, run_page
from vmmjax.tasks import Classification


def test_closeness():
    truth = np.full((2, 4, 4, 3), 100, np.uint8)
    assert reconstructions.closeness(truth + 10, truth) == '28.1 dB'
    assert reconstructions.closeness(truth, truth) == 'the same'
    assert reconstructions.closeness(np.ones((3, 2)), np.full((3, 2), 3.0)) == '2'


def test_clips_beside_each_other():
    film = overlays.beside({'a': np.zeros((3, 10, 12, 3), np.uint8), 'b': np.full((3, 10, 12, 3), 200, np.uint8)})
    assert film.shape == (3, 22 + 230, 2 * 276, 3)
    assert film[0, 100, 100, 0] == 0
    assert film[0, 100, 400, 0] == 200


@pytest.mark.slow
def test_the_page_shows_what_was_made(tmp_path):
    found = reconstructions.shown(run_of('interpolation'), 'train')
    assert len(found) == 4
    (stream,) = found[0]['streams']
    assert list(stream['figures']) == ['shown', 'made', 'mean of the neighbours', 'mean picture']
    kind, text = stream['video'].split(';base64,')
    assert kind == 'data:video/mp4'
    with av.open(io.BytesIO(base64.b64decode(text))) as container:
        pictures = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(pictures) == 5
    assert pictures[0].shape == (22 + 224, 5 * 224, 3)
    write(tmp_path, result_of())
    page = run_page.write(tmp_path, made=found).read_text()
    assert 'What was made' in page
    assert page.count('<video') == 4
    assert 'What was made' not in run_page.write(tmp_path).read_text()


def test_a_clip_is_shown_once_however_often_it_is_looked_at():
    run = run_of('interpolation')
    with run.config.unlocked():
        run.config.data.views.clips, run.config.data.window.seconds, run.config.batch_size = 3, 1.2, 8
    found = reconstructions.shown(run, 'train')
    assert [each['clip'] for each in found] == [run.store.clip(row) for row in range(4)]


def test_a_task_that_makes_nothing():
    assert reconstructions.shown(SimpleNamespace(task=Classification(target='label')), 'test') == []
