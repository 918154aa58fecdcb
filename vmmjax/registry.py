"""Finds what a config names: one of ours, or a user's own as `package.module:Name`."""

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

from vmmjax.errors import UserError, did_you_mean


def find(name: str, known: Mapping[str, Any], what: str) -> Any:
    """Returns `known[name]`, or imports `package.module:Name` from the current folder or Python's path.

    Args:
      name: a key of `known`, or an import path with a colon before the last part.
      known: our own entries; a text is the import path of one that is imported when it is asked for.
      what: what is looked for, for the message: 'encoder', 'fusion'.

    Raises:
      UserError: where neither is found; it names the nearest known name. What a user's module raises besides
        ImportError when it is imported is raised here.
    """
    if name in known:
        found = known[name]
        return find(found, {}, what) if isinstance(found, str) else found
    module_name, _, attribute = name.partition(':')
    if not attribute or not all(part.isidentifier() for part in module_name.split('.')):
        raise UserError(f'There is no {what} {name!r}: {did_you_mean(name, known)}; '
                        f'name your own as package.module:Name.')
    try:
        module = _import(module_name)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and f'{module_name}.'.startswith(f'{error.name}.')
        reason = f'there is no module {error.name!r} in {os.getcwd()} or on the Python path' if absent else str(error)
        raise UserError(f'The {what} {name!r} could not be imported: {reason.rstrip(".")}.') from error
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if getattr(value, '__module__', None) == module_name]
        raise UserError(f'The {what} {name!r} could not be imported: {module_name} '
                        f'({getattr(module, "__file__", None)}) has no {attribute!r}: {did_you_mean(attribute, own)}.')
    return getattr(module, attribute)


def _import(module: str) -> Any:
    """Imports a user's module from the current folder first, which the console script does not have on its path."""
    sys.path.insert(0, '')
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove('')


def build(config: Mapping[str, Any], known: Mapping[str, Any], what: str, **given: Any) -> Any:
    """Calls what `config['name']` names with the other entries of `config` as keyword arguments.

    Args:
      config: `name` and keyword arguments.
      known: our own entries, see `find`.
      what: what is built, for the message.
      **given: arguments that the caller sets and a config may not. Each is passed if it is a parameter of what is
        called, and left out otherwise.

    Raises:
      UserError: for an unknown name, something that cannot be called, a keyword that it does not take, or a required
        argument that is missing.
    """
    options = dict(config)
    if 'name' not in options:
        raise UserError(f'The config of the {what} has no name; name one of {", ".join(sorted(known))}.')
    name = options.pop('name')
    factory = find(name, known, what)
    if not callable(factory):
        raise UserError(f'The {what} {name!r} is {factory!r}; name a class or a function that returns the {what}.')
    declared = {key: parameter for key, parameter in inspect.signature(factory).parameters.items()
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)}
    accepted = declared.keys() - {'parent', 'name', *given}
    for key in options:
        if key not in accepted:
            raise UserError(f'The {what} {name!r} takes no option {key!r}: {did_you_mean(key, accepted)}.')
    options |= {key: value for key, value in given.items() if key in declared}
    missing = [key for key, parameter in declared.items()
               if parameter.default is parameter.empty and key not in options]
    if missing:
        raise UserError(f'The {what} {name!r} needs {", ".join(missing)}: write dict(name={name!r}, {missing[0]}=...).')
    return factory(**options)
