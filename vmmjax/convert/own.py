"""What `vmmjax convert` writes: a folder like that of a training run, so that all that reads runs reads it too."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from vmmjax import atomic, models
from vmmjax import config as configs
from vmmjax.convert.report import Entry, Loaded, Report
from vmmjax.training import lora
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState
from vmmjax.training.workdir import num_classes


def is_run(folder: Path) -> bool:
    """Whether a folder is one that `vmmjax train` or `vmmjax convert` wrote."""
    return (folder / 'checkpoints').is_dir()


def classes(folder: Path) -> list[str]:
    """The names of the classes of a folder's network."""
    _, meta = Checkpoints(folder).newest_meta()
    found: list[str] = meta['classes']
    return found


def read(folder: Path) -> Loaded:
    """The newest whole checkpoint of a folder; where a moving average was kept, that. Low-rank factors are merged.

    Raises:
      UserError: where none is whole.
    """
    checkpoints = Checkpoints(folder)
    step, meta = checkpoints.newest_meta()
    config = configs.from_json(meta['config'])
    params = 'ema' if config.ema_decay > 0 else 'params'
    shapes = {name: shape for name, shape in checkpoints.shapes(step).items()
              if name.startswith((f'{params}/', 'model_state/'))}
    restored = checkpoints.restore_arrays(
        step, {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()})
    values = {name.replace(f'{params}/', 'params/', 1).removeprefix('model_state/'): value
              for name, value in restored.items()}
    variables = lora.merged(unflatten_dict(values, sep='/'), config.lora)
    report = Report(str(folder), 'vmmjax', f'step {step}', tuple(
        Entry('loaded', name, name, value.shape, value.shape)
        for name, value in flatten_dict(variables, sep='/').items()))
    model = models.create(config.model, num_classes(meta['classes']))
    return Loaded(model, variables, report, config.model.to_dict())


def write(folder: Path, loaded: Loaded, classes: Sequence[str]) -> None:
    """Writes a model as a run of no steps, from which `--config.init_from.workdir` goes on.

    Args:
      folder: to be made; there must be nothing yet.
      loaded: from `load`.
      classes: their names.
    """
    config = configs.defaults()
    config.model = json.loads(json.dumps(loaded.config))
    model_state = dict(loaded.variables)
    params = model_state.pop('params')
    state = TrainState(step=jnp.zeros((), jnp.int32), params=params, model_state=model_state, opt_state=())
    partial = folder.with_name(f'.{folder.name}.{os.getpid()}{atomic.SUFFIX}')
    try:
        checkpoints = Checkpoints(partial)
        checkpoints.save(state, {'config': configs.to_json(configs.lock(config)), 'fingerprint': '',
                                 'classes': list(classes)})
        checkpoints.close()
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
