import importlib
import logging
import subprocess
import sys

import pytest

from vmmjax import config as configs
from vmmjax import registry, renamed
from vmmjax.training import workdir


@pytest.mark.parametrize('old', sorted(renamed.MODULES))
def test_every_old_name_is_a_module_of_today(old):
    new = importlib.import_module(renamed.MODULES[old])
    spec = new.__spec__
    assert importlib.import_module(old) is new
    assert new.__name__ == renamed.MODULES[old]
    assert new.__spec__ is spec


def test_an_old_name_in_a_config_is_found_and_the_new_one_named(caplog):
    sys.modules.pop('vmmjax.data.cached', None)
    with caplog.at_level(logging.WARNING):
        found = registry.find('vmmjax.data.cached:Features', {}, 'column')
    assert found.__module__ == 'vmmjax.prepare.feature_column'
    assert 'vmmjax.data.cached is called vmmjax.prepare.feature_column now' in caplog.text


def test_configs_are_compared_by_todays_names():
    old, new = configs.defaults(), configs.defaults()
    old.model.fusion.name, new.model.fusion.name = 'vmmjax.models.fusion.simple:Concat', (
        'vmmjax.models.fusion.concat_sum:Concat')
    old, new = (configs.to_json(configs.lock(each)) for each in (old, new))
    assert workdir.changes(old, new) == {}


def test_a_users_own_class_may_begin_from_an_old_import():
    code = ('from vmmjax.data.cached import Features\nfrom vmmjax.data import labels\n'
            'print(Features.__module__, labels.__name__)')
    found = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ['vmmjax.prepare.feature_column', 'vmmjax.pipeline.targets']
