"""Held-out clips as a run was given them, as it made them, and as they were, to be looked at."""

import base64
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vmmjax.experiment import Experiment
from vmmjax.pipeline import options
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.reports import overlays, players
from vmmjax.tasks.base import Task
from vmmjax.training import sharding
from vmmjax.training.objective import Context
from vmmjax.training.step import make_eval_step

_CLIPS = 4
_RATE = 5.0  # Pictures a second, at most: slower than life, so that they can be compared.
TRUTH, MEAN = 'truth', 'mean picture'
GIVEN = ('noisy', 'shown')


def shown(run: Experiment, split: str) -> list[dict[str, Any]]:
    """What a page shows of the first clips of a split, the first view of each, see `run_page.html`.

    All processes of a run call it together.

    Args:
      run: with parameters.
      split: of its store.

    Returns:
      Nothing of a task that makes no clips (`Task.panels`); else of each clip its name as `clip`, and as `streams` of
      each stream its `name`, the source of a `video` or a `picture`, and `figures`: caption -> how close it is to the
      truth as text, the clip's own mean picture among them.
    """
    if type(run.task).panels is Task.panels:
        return []
    views = len(options.read(ViewsConfig, run.config.data.views, 'data.views'))
    # As many batches in every process as hold the clips that are shown, each in all of its views.
    batches = itertools.islice(run.pipeline(split, train=False).batches(rows=run.rows),
                               -(-_CLIPS * views // run.config.batch_size))
    step = make_eval_step(run.apply, run.mesh, functools.partial(_seen, run.task), seed=run.config.seed)
    params, rest = (run.variables['params'], {key: each for key, each in run.variables.items() if key != 'params'})
    found: list[dict[str, Any]] = []
    for batch in batches:
        panels, rows = jax.device_get(step(params, rest, sharding.put(batch, run.batch_sharding)))
        first = (rows['mask'] > 0) & (rows.get('view', np.zeros_like(rows['id'])) == 0)
        for place in np.flatnonzero(first)[:_CLIPS - len(found)].tolist():
            streams = [_stream(name, {caption: np.asarray(x[place]) for caption, x in of_stream.items()})
                       for name, of_stream in panels.items() if rows[f'present/{name}'][place]]
            found.append({'clip': run.store.clip(int(rows['id'][place])), 'streams': streams})
    return found


def _seen(task: Task, ctx: Context) -> tuple[dict[str, dict[str, jax.Array]], dict[str, jax.Array]]:
    """The panels, and what says whose they are: of the rows of all processes, as the panels."""
    panels = task.panels(ctx)
    keys = ('id', 'mask', 'view', *(f'present/{name}' for name in panels))
    return panels, {key: ctx.batch[key] for key in keys if key in ctx.batch}


def _stream(name: str, panels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    truth = panels[TRUTH]
    mean = np.broadcast_to(truth.mean(0, keepdims=True), truth.shape).astype(truth.dtype)
    # What was given, what was made of it, and then what it is compared with.
    captions = sorted(panels, key=lambda caption: (caption not in GIVEN, caption != 'made', caption))
    every = {**{caption: panels[caption] for caption in captions if caption != TRUTH}, MEAN: mean, TRUTH: truth}
    figures = {caption: closeness(x, truth) for caption, x in every.items() if caption != TRUTH}
    if truth.ndim == 2:
        pictures = [overlays.spectrum(x) for x in every.values()]
        return {'name': name, 'figures': figures, 'pictures': [
            {'caption': caption, 'source': f'data:image/png;base64,{base64.b64encode(content).decode()}'}
            for caption, content in zip(every, pictures, strict=True)]}
    return {'name': name, 'figures': figures,
            'video': players.video(overlays.beside(every), _RATE, None, 16000)}


def closeness(made: np.ndarray, truth: np.ndarray) -> str:
    """The peak signal-to-noise ratio of pictures, the root of the mean squared error of anything else, as text."""
    error = float(np.square(made.astype(np.float64) - truth).mean())
    if truth.dtype == np.uint8:
        return 'the same' if error == 0 else f'{10 * np.log10(255 ** 2 / error):.1f} dB'
    return f'{error ** 0.5:.3g}'
