import json

import numpy as np
import pytest

from vmmjax.reports import explanation_page
from vmmjax.serving.explanation import Explanation, Map


def explanation(trained):
    random = np.random.default_rng(0)
    maps = [Map('rgb', 'hirescam', 'encoders_rgb/last', random.normal(size=(2, 2, 3, 3)), np.ones(2), np.zeros(2)),
            Map('rgb', 'gradcam', 'encoders_rgb/last', random.normal(size=(2, 2, 3, 3)), np.ones(2), np.full(2, 0.5)),
            Map('audio', 'gradients', 'silence', random.normal(size=(2, 20, 8)), np.ones(2), np.full(2, 0.03), 32),
            Map('text', 'occlusion', 'no word', np.array([[0.5, -0.25, 0.0]] * 2))]
    seen = {'rgb': np.zeros((2, 4, 16, 16, 3), np.uint8), 'audio': np.ones((2, 20, 8), np.float32),
            'text': ['<b>set', 'red']}
    return Explanation('folder/a<b>.mp4', 2.0, '', 'drumming', np.array([0.0, 1.2]), 0.8, np.array([3.0, 4.0]),
                       {'rgb': True, 'audio': True, 'text': True, 'flow': False},
                       np.arange(16.0)[:, None] + np.zeros(2), trained, maps, seen)


def test_the_page_says_what_was_measured_and_how_far_it_holds(tmp_path):
    page = explanation_page.write(tmp_path, explanation(trained=False)).read_text()
    assert '<h1>a&lt;b&gt;.mp4</h1>' in page
    assert '&lt;b&gt;set' in page
    assert '<b>set' not in page
    for words in ('begin at 0.00, 1.20 s of 2.00 s', 'flow (absent)', 'never trained with absent streams',
                  'exact: the values sum', 'the values miss what the layer adds to the logit by 50%',
                  'silence, 32 steps', 'complete to 3.0%', 'a heuristic: what is hidden together', '+0.500'):
        assert words in ' '.join(page.split()), words
    assert {path.name for path in tmp_path.iterdir()} == {'explanation.html', 'rgb.mp4', 'audio_gradients.png'}
    assert 'http' not in page.replace('http-equiv', '').replace('http://www.w3.org', '')


def test_numbers_and_times_are_plain(tmp_path):
    found = explanation(trained=True)
    told = json.loads(json.dumps(found.to_json()))
    assert told['subsets']['none'] == [0.0, 0.0]
    assert told['streams']['flow'] == pytest.approx([8.0, 8.0])
    assert told['maps'][2]['residual'] == [0.03, 0.03]
    assert told['maps'][3]['change'] is None
    np.testing.assert_allclose(found.arrays()['rgb/hirescam/seconds'], [[0.2, 0.6], [1.4, 1.8]])
    assert 'never trained' not in explanation_page.write(tmp_path, found).read_text()
