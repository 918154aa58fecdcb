"""Runs as they lie on the disk: the folder of a training, what `vmmjax convert` writes like one, and a bundle."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from vmmjax import atomic, models
from vmmjax import config as configs
from vmmjax.convert.bundle import Bundle, is_bundle
from vmmjax.convert.report import Entry, Loaded, Report
from vmmjax.training import lora
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.players import averaged
from vmmjax.training.state import TrainState
from vmmjax.training.workdir import num_classes


def opened(path: Path) -> Checkpoints | Bundle:
    """What a run has kept.

    Raises:
      UserError: for a bundle that is none.
    """
    return Bundle(path) if is_bundle(path) else Checkpoints(path)


def read(path: Path) -> Loaded:
    """The newest whole checkpoint of a run; moving averages in place of the parameters that have one.

    Low-rank factors are merged.

    Raises:
      UserError: where none is whole.
    """
    run = opened(path)
    step, meta = run.newest_meta()
    config = configs.from_json(meta['config'])
    variables = (unflatten_dict(run.weights, sep='/') if isinstance(run, Bundle) else
                 lora.merged(_variables(run, step), config.lora))
    report = Report(str(path), 'vmmjax', f'step {step}', tuple(
        Entry('loaded', name, name, value.shape, value.shape)
        for name, value in flatten_dict(variables, sep='/').items()))
    model = models.create(config.model, num_classes(meta['classes']))
    return Loaded(model, variables, report, config.model.to_dict(), meta['classes'])


def _variables(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    shapes = checkpoints.shapes(step)
    names = [name for name in shapes if name.partition('/')[0] in ('params', 'ema', 'model_state')]
    if all(f'ema/{name.removeprefix("params/")}' in shapes for name in names if name.startswith('params/')):
        names = [name for name in names if not name.startswith('params/')]  # Every parameter has an average.
    tree = unflatten_dict(checkpoints.restore_arrays(
        step, {name: jax.ShapeDtypeStruct(shapes[name], jnp.float32) for name in names}), sep='/')
    params = averaged(tree['params'], tree.get('ema')) if 'params' in tree else tree['ema']
    return {'params': params, **tree.get('model_state', {})}


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
