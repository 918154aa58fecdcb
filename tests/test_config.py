import json

import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError


def test_json_round_trip_keeps_every_key():
    config = configs.lock(configs.defaults())
    again = configs.from_json(configs.to_json(config))
    assert configs.to_json(again) == configs.to_json(config)


def test_an_older_text_gets_the_defaults_of_keys_that_are_newer():
    config = configs.defaults()
    config.data.streams = dict(rgb=dict(modality='rgb'))
    text = json.loads(configs.to_json(configs.lock(config)))
    del text['data']['views'], text['data']['augment']['mixup'], text['freeze']
    again = configs.from_json(json.dumps(text))
    assert configs.to_json(again) == configs.to_json(config)
    text['data']['augment']['mixupp'] = 0.1
    with pytest.raises(UserError, match='mixupp'):
        configs.from_json(json.dumps(text))


def test_unknown_key_is_named_with_the_nearest():
    config = configs.defaults()
    config.optimizer.lr.warmup_step = 3
    with pytest.raises(UserError, match=r"optimizer\.lr\.warmup_step.*did you mean 'optimizer\.lr\.warmup_steps'"):
        configs.lock(config)


def test_streams_and_model_options_are_open():
    config = configs.defaults()
    config.data.streams = dict(rgb=dict(modality='rgb', frames=3))
    config.model.encoders = dict(rgb=dict(name='i3d'))
    configs.lock(config)


def test_locked_config_refuses_new_keys():
    config = configs.lock(configs.defaults())
    with pytest.raises((AttributeError, KeyError)):
        config.stepz = 3


def test_differences_are_dotted_and_deep():
    assert configs.differences({'a': {'b': 1, 'c': 2}, 'd': [1]}, {'a': {'b': 1, 'c': 3}, 'e': 0, 'd': [1]}) == {
        'a.c': (2, 3), 'e': (None, 0)}


@pytest.mark.parametrize('key', ['steps', 'batch_size', 'microbatches', 'log_every', 'checkpoint_every',
                                 'keep_checkpoints'])
def test_counts_are_at_least_one(key):
    config = configs.defaults()
    config[key] = 0
    with pytest.raises(UserError, match=f'config.{key} is 0; it must be at least 1'):
        configs.lock(config)
