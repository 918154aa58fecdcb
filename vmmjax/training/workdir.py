"""The folder of a run: held by one process at a time, and of one config for ever."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmmjax import atomic
from vmmjax.config import differences_of
from vmmjax.errors import UserError
from vmmjax.training import distributed

_INPUTS = 'inputs.json'
# May differ between a run and its continuation: they change what is written, not what is computed.
FREE = ('log_every', 'evaluate_every', 'checkpoint_every', 'keep_checkpoints', 'max_skipped', 'profile', 'wandb',
        'data.store')


@contextmanager
def hold(workdir: Path) -> Iterator[None]:
    """Makes the folder and holds it for this run: of several processes the first one does.

    The lock is the kernel's (`flock`), so a killed run leaves none behind.

    Raises:
      UserError: where the folder cannot be written, or another run holds it.
    """
    handles: list[int] = []
    distributed.agreed(lambda: handles.append(_lock(workdir)))
    try:
        yield
    finally:
        for handle in handles:
            os.close(handle)


def _lock(workdir: Path) -> int:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = os.open(workdir / 'lock', os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise UserError(f'The workdir {workdir} cannot be written: {error.strerror}; name another '
                        f'--workdir.') from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f'Another run holds the workdir {workdir}; wait for it, or name another '
                        f'--workdir.') from None
    return handle


def changes(saved: str, current: str) -> dict[str, tuple[Any, Any]]:
    """The dotted keys at which two configs, as JSON text, differ in what is computed, with both values.

    Keys that came with a later version have their defaults in a config from before.
    """
    return {key: values for key, values in differences_of(saved, current).items() if key not in FREE}


def check_same_run(workdir: Path, saved: dict[str, Any], current: dict[str, Any],
                   allowed: Sequence[str]) -> None:
    """Refuses to go on with a checkpoint of another config, data set or class list.

    A store is the same where its catalog is, and the options and versions of the columns that the run reads. A
    checkpoint of an older version does not say what these were; that is said, and taken to be the same.

    Args:
      workdir: named in the message.
      saved: the checkpoint's identity: `config` (JSON text), `fingerprint` of the store, `classes`, `inputs`, and
        `replayed`, the fingerprints of the stores of `data.replay`.
      current: that of this run.
      allowed: dotted config keys that may differ because the user says so.
    """
    changed = {key: values for key, values in changes(saved['config'], current['config']).items()
               if not any(key == name or key.startswith(name + '.') for name in allowed)}
    if changed:
        listing = '; '.join(f'{key} was {old!r}, is {new!r}' for key, (old, new) in changed.items())
        raise UserError(f'The workdir {workdir} is of another config: {listing}. Name another --workdir, or allow '
                        f'the change with --allow_changed={",".join(changed)}.')
    for key, what in (('fingerprint', 'catalog'), ('classes', 'list of classes')):
        if saved[key] != current[key]:
            raise UserError(f'The workdir {workdir} was trained on another store (the {what} differs); '
                            f'name its own store with --config.data.store, or another --workdir.')
    if saved.get('replayed', []) != current.get('replayed', []):
        raise UserError(f'The workdir {workdir} was trained with other stores as data.replay (a catalog differs); name '
                        f'these, or another --workdir.')
    if 'inputs' not in current:
        return
    recorded = run_inputs(workdir, saved)
    if recorded is None:
        distributed.say(f'The checkpoint in {workdir} is of an older vmmjax, which did not record the options of the '
                        f"store's columns: whether they are the same is not checked.")
        return
    differences = column_differences(recorded, current['inputs'])
    if differences:
        raise UserError(f'The workdir {workdir} was trained on a store that was prepared otherwise: '
                        f'{"; ".join(differences)}. Prepare the store with the former, or name another --workdir.')


def column_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How columns that both of two runs read differ, a text each such as `rgb has short_side=64, and had 32`.

    Args:
      before: inputs of a run, see `Experiment.run_inputs`.
      now: likewise.
    """
    found = []
    earlier, later = before['data']['columns'], now['data']['columns']
    for name in [name for name in earlier if name in later]:
        was, is_now = ({'version': 1, **of_run[name], **(of_run[name]['options'] or {})} for of_run in (earlier, later))
        if not (was['builder'] and is_now['builder']):  # An older vmmjax did not record it.
            was['builder'] = is_now['builder']
        found += [f'the column {name} has {key}={is_now.get(key)}, and had {was.get(key)}'
                  for key in dict.fromkeys((*was, *is_now))
                  if key not in ('options', 'chunk') and was.get(key) != is_now.get(key)]
    return found


def run_inputs(workdir: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run has written down of how its streams are read, see `Experiment.run_inputs`.

    Args:
      workdir: of the run.
      meta: saved with a checkpoint; of a run of an older version the file that `write_run_inputs` wrote counts.

    Returns:
      None for a run that has written down nothing.
    """
    found: dict[str, Any] | None = meta.get('inputs')
    file = workdir / _INPUTS
    if found is None and file.is_file():
        try:
            found = json.loads(file.read_text(encoding='utf-8'))
        except ValueError as error:
            raise UserError(f'{file} is damaged ({error}): delete it, and write it again with vmmjax inspect {workdir} '
                            f'--write_inputs --store=STORE.') from error
    return found


def write_run_inputs(workdir: Path, inputs: Mapping[str, Any]) -> Path:
    """Writes them beside the checkpoints of a run of an older version, which do not hold them."""
    atomic.write(workdir / _INPUTS, json.dumps(inputs, indent=1) + '\n')
    return workdir / _INPUTS


def num_classes(classes: Sequence[str] | Mapping[str, Sequence[str]]) -> int | dict[str, int]:
    """How many outputs a run's model has, as `models.create` takes them.

    Args:
      classes: of its identity, the names of the outputs; of several targets by target.
    """
    if isinstance(classes, Mapping):
        return {target: len(names) for target, names in classes.items()}
    return len(classes)
