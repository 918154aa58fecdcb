"""What the systems of this folder share: their training, and the command of a GRID sentence. No config by itself."""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs

MOUTH = (0.56, 0.35, 0.86, 0.65)  # Of a GRID picture, wherever the head is.
WHOLE = dict(size=224, region=(0.0, 0.0, 1.0, 1.0))  # What full-size encoders see of a picture.


def small(steps: int, evaluate_every: int) -> ConfigDict:
    """A config of few steps on a store with folds, without streams and encoders."""
    config = configs.defaults()
    config.steps, config.batch_size = steps, 16
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, evaluate_every, evaluate_every
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.fold_validates = False
    return config


def command(config: ConfigDict) -> None:
    """Makes the command of a GRID sentence the target."""
    config.data.store, config.data.target = 'stores/grid', 'command'
    # The command begins 0.2 to 0.9 s into the clip.
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 0.2)


def mouth(frames: int, modality: str = 'rgb') -> dict[str, Any]:
    """A stream of the mouth in a GRID clip."""
    return dict(modality=modality, frames=frames, size=40, region=MOUTH)


def sentence() -> dict[str, Any]:
    """A stream of the words but the command, each left out at the rate 0.5 in training."""
    return dict(modality='text:text', length=8, hide=('command',), mask_rate=0.5)


def full(config: ConfigDict, peak: float = 1e-3) -> None:
    """Makes training that of the full-size variant, with a learning rate of up to `peak`."""
    config.steps, config.batch_size = 20_000, 64
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = peak, 1000
    config.evaluate_every = config.checkpoint_every = 1000
