"""Sentences on a page: errors beside what is true, when words are said, and what they rest on."""

import base64
import dataclasses

import cv2
import numpy as np
import pytest

from tests.evaluation.pages import Page
from tests.reports.test_run_page import result_of
from vmmjax.evaluation import text_metrics
from vmmjax.evaluation.result import write
from vmmjax.reports import run_page, sentences

TOLD = {'target': 'text', 'truth': 'set red at b', 'probability': None,
        'named': [['set blue at', 0.75], ['set red at', 0.125]],
        'aligned': [['equal', 'set', 'set'], ['substitute', 'red', 'blue'], ['equal', 'at', 'at'], ['delete', 'b', '']],
        'words': [{'word': 'set', 'confidence': 0.5, 'share': [0.25, 0.5]}, {'word': 'blue', 'confidence': None,
                                                                            'share': None}]}
EACH = {'clip': 'bbaf2n', 'loss': 2.0, 'told': [TOLD],
        'attention': {'tokens': ['set', 'blue'], 'weights': [[0.0, 0.5, 0.0], [0.0, 0.0, 0.25]]}}


def test_errors_are_aligned():
    pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')
    assert text_metrics.aligned('set red at b', 'set blue at') == TOLD['aligned']
    assert text_metrics.aligned('set red', '') == [['delete', 'set red', '']]
    assert text_metrics.aligned('red', 'a red') == [['insert', '', 'a'], ['equal', 'red', 'red']]


def test_words_and_what_they_rest_on_stand_where_the_window_is():
    said, rests = sentences.lanes(EACH, {'left': 20.0, 'width': 40.0})
    (word,) = said['words']
    assert (word['text'], word['left'], word['width']) == ('set', 30.0, 10.0)
    assert 'confidence 50.0 %' in word['name']
    (late,) = sentences.lanes(EACH, {'left': 70.0, 'width': 80.0})[0]['words']
    assert (late['ends'], late['left']) == (True, 110.0)
    assert (rests['left'], rests['width']) == (20.0, 40.0)
    assert rests['note'].endswith('set, blue')
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(rests['src'].partition(',')[2]), np.uint8), cv2.IMREAD_COLOR)
    brightness = picture.astype(float).sum(2).reshape(2, -1, 3, picture.shape[1] // 3).mean((1, 3))
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (0, 1)
    assert brightness[1, 2] > brightness[1, 0]
    assert sentences.lanes({'told': [{'words': []}]}, {'left': 0.0, 'width': 100.0}) == []


def test_a_page_marks_what_is_wrong(tmp_path):
    write(tmp_path, dataclasses.replace(result_of(), worst=[EACH]))
    page = Page(run_page.write(tmp_path).read_text())
    assert 'errors set red blue at b' in ' '.join(page.text.split())
    assert {'del', 'ins'} <= set(page.tags)
