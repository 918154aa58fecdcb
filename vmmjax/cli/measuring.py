"""What `vmmjax evaluate` tells of a run beside its metrics: the worst clips and maps of them, the cost, noise."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from vmmjax.errors import UserError
from vmmjax.evaluation import attention, noise_sweep
from vmmjax.evaluation.predictions import Predictions
from vmmjax.experiment import Experiment
from vmmjax.pipeline import options
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.planning.counting import macs
from vmmjax.reports import results_page, worst_clips
from vmmjax.serving.explain import Explainer
from vmmjax.serving.explanation import Explanation
from vmmjax.store.store import Store
from vmmjax.tasks.writing import Writes
from vmmjax.training.objective import Context
from vmmjax.training.state import parameters


def worst(run: Experiment, rows: Predictions) -> list[dict[str, Any]]:
    """The clips with the greatest losses, and of texts what their words rest on."""
    listed = worst_clips.listed(run.task, rows, run.store)
    if not isinstance(run.task, Writes) or jax.process_count() > 1:
        return listed
    found = attention.attended(run, [each['clip'] for each in listed])
    return [{**each, 'attention': found[each['clip']]} if each['clip'] in found else each for each in listed]


def explainer(run: Experiment) -> Callable[[Store, int], Explanation]:
    """What draws maps of a clip, by its row in a store.

    Raises:
      UserError: where several processes evaluate together.
    """
    if jax.process_count() > 1:
        raise UserError('--explain draws maps in one process; leave it out, and evaluate once more in one for them.')
    return Explainer(run, methods=('hirescam',)).of_row


def cost(run: Experiment, split: str) -> dict[str, Any]:
    """What `evaluation.cost.facts` reads, from the shapes of a split; nothing is compiled for it."""
    shapes = run.pipeline(split, train=False).spec
    view = {name: jax.ShapeDtypeStruct((1, *shape[1:]), dtype) for name, (shape, dtype) in shapes.items()}
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), run.variables)

    def forward(variables: Any, view: Any) -> Any:
        rest = {name: values for name, values in variables.items() if name != 'params'}
        return run.task.compute(Context(run.apply, variables['params'], rest, view))

    operations: int | None
    try:
        operations = macs(forward, variables, view)
    except ValueError:  # A loop of a user's own, of any number of turns.
        operations = None
    devices = jax.devices()
    return {'parameters': parameters(run.variables['params']), 'macs': operations,
            'views': len(options.read(ViewsConfig, run.config.data.views, 'data.views')),
            'batch_size': run.config.batch_size,
            'machine': f'{len(devices)} x {devices[0].device_kind}: {results_page.hardware()}'}


def with_noise(run: Experiment, folder: Path, ratios: Sequence[float], split: str, kinds: Sequence[str]
               ) -> dict[str, Any]:
    """The figures of a split in noise, see `noise_sweep.sweep`; the scores are written into the folder."""
    config = run.config

    def measure(changed: ConfigDict) -> tuple[Any, Any]:
        run.config = changed
        predictions = run.predictions(split)
        return predictions, run.result(predictions, split)

    scores = folder / 'eval' / f'{split}{noise_sweep.SUFFIX}' if jax.process_index() == 0 else None
    found = noise_sweep.sweep(config, run.store, measure, kinds=kinds, ratios=ratios, folder=scores)
    run.config = config
    return found
