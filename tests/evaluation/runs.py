"""Small trained runs, and the files, catalogs and stores that they are made from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.store.store import Store

RGB, AUDIO = dict(modality='rgb', frames=3, size=16), dict(modality='audio')
COLUMNS = (Rgb(fps=10, short_side=24), Audio(audio_rate=8000, fmax=3800.0, bands=16))
PER_TOKEN = dict(head=dict(name='per_token'))
ENCODER = dict(name='tests.cli.toy:Average', features=4)


def prepared(manifest: Path, folder: Path, columns: Sequence[Any] = COLUMNS) -> Store:
    """The clips of a manifest in a store."""
    prepare(sources.read(str(manifest)), folder, columns, origin='files', processes=1, progress=False)
    return Store(folder)


def trained(store: Store, folder: Path, *, task: Mapping[str, Any] | None = None, target: Any = 'label', steps: int = 1,
            seconds: float = 0.6, streams: Mapping[str, Any] | None = None, model: Mapping[str, Any] | None = None,
            encoders: Mapping[str, Any] | None = None, **data: Any) -> Experiment:
    """A run of a few steps on one device, as it is loaded from its folder."""
    streams = dict(streams or dict(rgb=RGB, audio=AUDIO))
    config = configs.defaults()
    config.steps, config.batch_size, config.evaluate_every, config.log_every = steps, 8, 0, 1
    config.optimizer.lr.warmup_steps = 0
    config.task = dict(task or dict(name='classification'))
    config.data.update(store=str(store.path), target=target, streams=streams, **data)
    config.data.window.seconds = seconds
    config.model.preprocess = {name: 'signed' if 'size' in stream else 'ids' if stream['modality'].startswith('text:')
                               else 'none' for name, stream in streams.items()}
    config.model.encoders = {name: (encoders or {}).get(name, ENCODER) for name in streams}
    config.model.update(dict(model or {}))
    Experiment(configs.lock(config), devices=jax.devices()[:1]).train(folder)
    return Experiment.load(folder)
