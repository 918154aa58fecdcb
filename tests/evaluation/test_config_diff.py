import json

import pytest

from vmmjax import config as configs
from vmmjax.evaluation.config_diff import differing, without_paths


def config_of(**data):
    config = configs.defaults()
    config.data.update(data)
    return configs.to_json(configs.lock(config))


def test_every_key_that_differs_is_told_with_both_values(tmp_path):
    one = config_of(store=f'{tmp_path}/my clips/grid', streams={'rgb': {'modality': 'rgb', 'frames': 8}})
    other = config_of(store='stores/grid', streams={'rgb': {'modality': 'rgb', 'frames': 16},
                                                    'audio': {'modality': 'audio', 'snr': (0.0, 5.0)}})
    found = {key: values for key, *values in differing(one, other)}
    assert found == {'data.store': ["'…/grid'", "'stores/grid'"], 'data.streams.rgb.frames': ['8', '16'],
                     'data.streams.audio.modality': ['–', "'audio'"], 'data.streams.audio.snr': ['–', '[0.0, 5.0]']}
    assert not differing(one, one)
    assert 'data.store' not in [key for key, *_ in differing(one, other, left_out=('data.store',))]


def test_a_config_of_an_older_version_has_the_defaults_of_what_came_later():
    older = json.loads(config_of())
    del older['data']['views']['average']
    assert not differing(json.dumps(older), config_of())
    later = config_of(views=dict(clips=1, crops=1, average='probabilities'))
    assert differing(json.dumps(older), later) == [('data.views.average', "'logits'", "'probabilities'")]


@pytest.mark.parametrize(('text', 'shown'), [
    ('--store=/home/me/store --x=1', '--store=…/store --x=1'),
    ("{'store': '/home/me/my clips/store', 'n': 1/2}", "{'store': '…/store', 'n': 1/2}"),
    ('gs://bucket/store and https://host/a/b', 'gs://bucket/store and https://host/a/b'),
    ('runs/one ../up/two ~/three', 'runs/one ../up/two ~/three'),
    ("freeze: ('encoders/rgb/.*', '.*/bias')", "freeze: ('encoders/rgb/.*', '.*/bias')"),
])
def test_absolute_paths_are_shortened(text, shown):
    assert without_paths(text) == shown
