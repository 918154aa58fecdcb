import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline import inputs
from vmmjax.pipeline.text_streams import TextConfig, TextStream
from vmmjax.store.store import Store

STREAMS = {'rgb': {'modality': 'rgb', 'frames': 4, 'size': 16}, 'slow': {'modality': 'rgb', 'frames': 2, 'size': 20},
           'audio': {'modality': 'audio'}, 'ramp': {'modality': 'ramp'},
           'words': {'modality': 'text:name', 'hide': ('label',)}}


@pytest.fixture(scope='module')
def store(store_path: Path) -> Store:
    return Store(store_path)


@pytest.fixture
def described(store: Store) -> dict[str, Any]:
    return json.loads(json.dumps(inputs.describe(store, {'streams': STREAMS})))


def test_a_run_describes_the_columns_that_its_streams_read(described: dict[str, Any]) -> None:
    assert described.keys() == {'format', 'columns', 'texts'}
    assert described['columns'].keys() == {'rgb', 'audio', 'ramp'}
    assert described['columns']['rgb'] == {'kind': 'picture', 'rate': 10.0, 'chunk': 1, 'shape': [],
                                           'options': {'fps': 10, 'short_side': 24}, 'builder': '',
                                           'version': 2}
    audio = described['columns']['audio']
    assert (audio['kind'], audio['rate'], audio['chunk'], audio['shape']) == ('array', 100.0, 100, [16])
    assert audio['options']['front_end'] == 'log_mel'
    assert audio['options']['audio_rate'] == 8000
    assert described['columns']['ramp']['builder'] == 'tests.fakes:Ramp'


def test_texts_have_the_recorded_vocabulary_whatever_split_there_is(store: Store, described: dict[str, Any]) -> None:
    counted = TextStream('words', TextConfig('text:name', hide=('label',)), store)
    assert described['texts'] == {
        'words': {'column': 'name', 'hide': ['label'], 'vocabulary': list(counted.vocabulary)}}
    assert len(counted.vocabulary) == 3 + 70
    other = Store(store.path)
    del other.splits['train']
    other.vocabularies = {'words': described['texts']['words']['vocabulary']}
    recorded = TextStream('words', TextConfig('text:name', hide=('label',)), other)
    rows = np.arange(len(store))

    def no_draw(name: str, numbers: int) -> np.ndarray:
        raise AssertionError('Nothing is to be drawn.')

    for one, two in zip(counted.tokens(rows, no_draw, False), recorded.tokens(rows, no_draw, False), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_came_back_is_checked(described: dict[str, Any]) -> None:
    assert inputs.checked(described, 'runs/a') == described
    with pytest.raises(UserError, match=r'runs/a was trained by an older vmmjax'):
        inputs.checked(None, 'runs/a')
    with pytest.raises(UserError, match=r'format 2, .* reads format 1'):
        inputs.checked(described | {'format': 2}, 'runs/a')
    for damaged in ('text', {}, {'format': '1'}):
        with pytest.raises(UserError, match=r'runs/a .* damaged'):
            inputs.checked(damaged, 'runs/a')
    del described['columns']['rgb']['options']
    with pytest.raises(UserError, match=r'runs/a says of the columns .* damaged'):
        inputs.checked(described, 'runs/a')


def test_a_modality_that_is_not_there(store: Store) -> None:
    with pytest.raises(UserError, match="no column 'depth'"):
        inputs.describe(store, {'streams': {'depth': {'modality': 'depth'}}})
