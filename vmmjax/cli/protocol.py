"""The test protocol of `vmmjax evaluate --change`: keys of a run's config that are other than in training."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.errors import UserError


def changes(text: str) -> dict[str, Any]:
    """The keys with their values, of a text such as `data.views.clips=10;data.views.crops=3`.

    Raises:
      UserError: for what is not of this form, and for a key that makes it another question, not another look.
    """
    found = {}
    for part in filter(None, rows.apart(text, ';')):
        key, equals, value = (side.strip() for side in part.partition('='))
        of_data = key.startswith('data.') and key not in ('data.store', 'data.target', 'data.fold')
        if not equals or not (of_data or key == 'task.generation'):
            raise UserError(f"--change has {part!r}, where key=value of config.data is meant, such as "
                            f"--change='data.views.clips=10;data.streams.rgb.size=256'.")
        found[key] = rows.literal(value)
    return found


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """The config with these keys.

    Raises:
      UserError: for a key that the config has not.
    """
    values = config.to_dict()
    for key, value in changes.items():
        rows.put(values, key, value, '--change')
    return configs.lock(ConfigDict(values))
