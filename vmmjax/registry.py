"""Finds what a config names: one of ours, or a user's own as `package.module:Name`."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from vmmjax.errors import UserError, did_you_mean


def find(name: str, known: Mapping[str, Any], what: str) -> Any:
    """Returns `known[name]`, or imports `package.module:Name`.

    Args:
      name: a key of `known`, or an import path with a colon before the last part.
      known: our own entries; a text is the import path of one that is imported when it is asked for.
      what: what is looked for, for the message: 'encoder', 'fusion'.

    Raises:
      UserError: where neither is found; it names the nearest known name.
    """
    if name in known:
        found = known[name]
        return find(found, {}, what) if isinstance(found, str) else found
    if ':' not in name:
        raise UserError(f'There is no {what} {name!r}: {did_you_mean(name, known)}; '
                        f'name your own as package.module:Name.')
    module_name, _, attribute = name.partition(':')
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f'The {what} {name!r} could not be imported: {error}.') from error


def build(config: Mapping[str, Any], known: Mapping[str, Any], what: str, **given: Any) -> Any:
    """Calls what `config['name']` names with the other entries of `config` as keyword arguments.

    Args:
      config: `name` and keyword arguments.
      known: our own entries, see `find`.
      what: what is built, for the message.
      **given: arguments that the caller sets and a config may not.

    Raises:
      UserError: for an unknown name, or a keyword that the thing named does not take.
    """
    options = dict(config)
    if 'name' not in options:
        raise UserError(f'The config of the {what} has no name; name one of {", ".join(sorted(known))}.')
    name = options.pop('name')
    factory = find(name, known, what)
    accepted = {key for key, parameter in inspect.signature(factory).parameters.items()
                if parameter.kind is not parameter.VAR_KEYWORD and key not in ('parent', 'name', *given)}
    for key in options:
        if key not in accepted:
            raise UserError(f'The {what} {name!r} takes no option {key!r}: {did_you_mean(key, accepted)}.')
    return factory(**options, **given)
