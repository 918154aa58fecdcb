import json
import shutil

import av
import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from tests.media.files import counting_frames, write_media
from tests.serving import tiny
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_pictures
from vmmjax.serving.explain import Explainer


def test_a_file_is_explained_by_a_run_that_lies_alone(trained, tmp_path):
    moved = shutil.copytree(trained, tmp_path / 'moved')
    tone = np.sin(np.arange(32000) * 0.3).astype(np.float32) / 2
    write_media(tmp_path / 'a.mp4', counting_frames(50), waveform=tone)
    found = vmmjax('explain', tmp_path / 'a.mp4', f'--weights={moved}', f'--output={tmp_path / "why"}',
                   '--methods=streams,hirescam,gradients')
    assert found.returncode == 0, found.stderr
    told = json.loads((tmp_path / 'why' / 'explanation.json').read_text())
    assert told['class'] in found.stdout
    assert told['present'] == {'audio': True, 'rgb': True}
    assert sum(told['streams'][name][0] for name in ('audio', 'rgb')) == pytest.approx(
        told['windows'][0]['logit'], abs=1e-5)
    with np.load(tmp_path / 'why' / 'explanation.npz') as arrays:
        assert arrays['rgb/gradients'].shape == (1, 4, 24, 24)
        seconds = arrays['rgb/gradients/seconds'][0]
        start, end = (told['windows'][0][key] for key in ('from', 'to'))
        np.testing.assert_allclose(seconds, start + (end - start) * (np.arange(4) + 0.5) / 4)
    page = (tmp_path / 'why' / 'explanation.html').read_text()
    assert page.startswith('<!doctype html>')
    assert 'a.mp4' in page
    with av.open(str(tmp_path / 'why' / 'rgb.mp4')) as video:
        assert video.streams.video[0].frames == 4
    assert (tmp_path / 'why' / 'audio_gradients.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_a_split_is_explained(trained, tmp_path):
    found = vmmjax('explain', f'--weights={trained}', '--split=test', f'--output={tmp_path}')
    assert found.returncode == 0, found.stderr
    told = json.loads((tmp_path / 'explanation_test.json').read_text())
    assert (told['clips'], told['streams']['audio']['present'], told['streams']['rgb']['present']) == (21, 19, 21)
    assert told['subsets'].keys() == {'audio+rgb', 'audio', 'rgb'}
    assert not told['subsets_are_heuristic']
    with np.load(tmp_path / 'explanation_test.npz') as arrays:
        assert not arrays['value/audio'][~arrays['present/audio']].any()


def test_a_mistake_is_one_sentence_and_leaves_nothing(trained, tmp_path):
    write_media(tmp_path / 'a.mp4', counting_frames(20))
    line = refused('explain', tmp_path / 'a.mp4', f'--weights={trained}', f'--output={tmp_path / "why"}',
                   '--layer=encoders_rgb/Mixed_5c')
    assert "no layer 'encoders_rgb/Mixed_5c'" in line
    assert not (tmp_path / 'why').exists()


def test_a_file_without_any_stream_of_the_run_says_so(store, tmp_path):
    explainer = Explainer(Experiment.load(tiny.save_run(tmp_path / 'run', store, frames=4, size=24)))
    write_pictures(tmp_path / 'a.mov', [], fps=25, waveform=np.zeros(16000, np.float32))
    with pytest.raises(UserError, match=r'a\.mov: it has nothing that the network reads \(rgb\)'):
        explainer(tmp_path / 'a.mov')
