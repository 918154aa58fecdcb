"""Every key a command reads, with its default; loading and comparing configs."""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from vmmjax import renamed
from vmmjax.errors import UserError, did_you_mean


def defaults() -> ConfigDict:
    """The keys every experiment has; a config file fills in `data`, `model` and what differs.

    A config file defines `get_config(arg='')`, starts from here and returns the locked result.
    """
    return ConfigDict(dict(
        seed=0,  # Initialisation, data order, augmentation and dropout derive from it and the step.
        steps=1000,
        batch_size=32,  # Clips a step over all devices and processes.
        microbatches=1,  # Parts of a batch that are computed one after another; BatchNorm sees each part alone.
        log_every=20,
        evaluate_every=200,  # 0: at the end only.
        checkpoint_every=200,
        keep_checkpoints=2,
        # The best by a figure of the evaluations, such as 'validation/accuracy', is kept beside them; the run ends
        # after `patience` evaluations without a better one, 0: never.
        best=dict(metric='', mode='max', patience=0),
        max_skipped=10,  # Steps in a row without finite gradients; after that many the run stops.
        profile=(),  # First and last step of a trace for TensorBoard's profiler.
        wandb='',  # Project of Weights & Biases to log to, beside TensorBoard.
        # Parameters of another run, or of several with commas between them; path patterns that stay as initialised;
        # ((pattern of a path here, what stands there in its place), ...), of which the first that matches counts; and
        # ((pattern of a path here, how), ...) of what has another shape there, see `fitting.fitted`. With `classes`
        # the outputs are those of the (first) run, with its weights, and behind them the classes that it lacks.
        init_from=dict(workdir='', skip=(), rename=(), fit=(), classes=False),
        # Low-rank adaptation of a network from `init_from`: rank 0 for none; path patterns of the kernels that get
        # factors, and of what else is trained. All other parameters and running statistics stay as they are.
        lora=dict(rank=0, alpha=8.0, kernels=('kernel$',), train=('^head',)),
        freeze=(),  # Path patterns of parameters and running statistics that stay as they are.
        mesh=dict(data=-1, fsdp=1, model=1),  # Devices an axis; -1 takes what is left.
        # (path pattern, (axis name or None, ...)), and 'tensor_parallel' for the axis model; the rest by fsdp.
        sharding=(),
        optimizer=dict(
            name='adamw',
            options=dict(weight_decay=1e-4),  # Keyword arguments of the optax optimizer.
            clip=1.0,  # Global gradient norm; 0 clips nothing.
            # Schedules: constant, cosine, or step: times `factor` at each of the milestones, which are steps.
            lr=dict(peak=1e-3, warmup_steps=50, schedule='cosine', milestones=(), factor=0.1),
            multipliers=(),  # ((path pattern, of the learning rate, of the weight decay), ...); the first that matches.
            # Path patterns of the network's layers, from the input on. The last is learned at `layer_decay` times the
            # learning rate, the one before at its square, and so on; what is in none at the whole. The last begins to
            # learn after `unfreeze_every` steps, the one before after twice as many; 0: all from the start.
            layers=(), layer_decay=1.0, unfreeze_every=0,
        ),
        ema_decay=0.0,  # 0 keeps no moving average of the parameters.
        # Of a task with several losses: name -> who minimises each, see `training.optimizer.players`.
        players=dict(),
        task=dict(name='classification', label_smoothing=0.0),
        data=dict(
            store='',  # Folder written by `vmmjax prepare`.
            # ((folder of another store, share of every batch), ...): its training clips are learned from, too, such as
            # those of a run that this one goes on from.
            replay=(),
            target=FieldReference('label', field_type=object),  # Catalog column, or a tuple of several.
            # Cross-validation: this fold (catalog column `fold`) is tested, the next validates, the others train.
            fold=placeholder(int),
            labels_share=1.0,  # Of the training clips that are labelled, the same of each class; others are left out.
            labels_seed=0,  # Of which these are; a smaller share is part of a larger one.
            fold_validates=True,  # False: the next fold trains, too, as in published cross-validations.
            parts=(),  # Catalog columns that name parts of the target, for evaluation.
            window=dict(seconds=2.0, start=placeholder(tuple)),  # 0 seconds: the whole clip.
            streams=dict(),
            augment=dict(crop='random', color=0.0, flip=0.0, flip_pairs=(), rand_augment=(0, 0.0), erase=0.0,
                         mixup=0.0, cutmix=0.0, time_shift=0.0, spec_augment=(0, 0, 0, 0), strong=()),
            dropout=dict(),  # Modality dropout: rate a stream.
            views=dict(clips=1, crops=1, average='logits'),  # Test views of a clip, and what of them is averaged.
            on_damage='stop',  # Or skip the clips of damaged records.
        ),
        model=dict(
            preprocess=dict(),
            encoders=dict(),
            fixed=(),  # Streams whose encoders only give features: they run as in evaluation, and stay as they are.
            fusion=dict(name='concat'),
            head=dict(name='consensus'),
            stream_head=dict(),  # Such as dict(name='consensus'): a head of its own for every stream; empty for none.
            dtype='float32',  # Of computations, or bfloat16, float16; parameters and statistics are float32.
            debug=False,  # Whether every batch is looked at for values that were not normalised.
        ),
    ))


def choices(argument: str, known: Iterable[str], file: str) -> set[str]:
    """The parts of a config file's argument, such as `full,concat` behind `path.py:`.

    Args:
      argument: what `get_config` was given.
      known: the parts that the file takes.
      file: its name, for the message.

    Raises:
      UserError: for a part that it does not take.
    """
    parts = {part for part in argument.split(',') if part}
    for part in sorted(parts - set(known)):
        raise UserError(f'{file} has no argument {part!r}: {did_you_mean(part, known)}.')
    return parts


def load(path: Path) -> Any:
    """A Python file, such as one of experiments/, as a module; a config reads what it shares with others so.

    Raises:
      UserError: where it is not there.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f'{path} is not there, or no Python file; those that are shipped stand in experiments/.')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lock(config: ConfigDict) -> ConfigDict:
    """Checks that the config has the keys of `defaults()` and no other, and locks it.

    Raises:
      UserError: names a key that no command reads, and the nearest right one; or a count below 1.
    """
    _check_keys(config.to_dict(), defaults().to_dict(), '')
    for key in ('steps', 'batch_size', 'microbatches', 'log_every', 'checkpoint_every', 'keep_checkpoints',
                'max_skipped'):
        if config[key] < 1:
            raise UserError(f'config.{key} is {config[key]}; it must be at least 1.')
    return config.lock()


# Here a config names its own streams and the arguments of what it builds; their readers check the keys.
_OPEN = ('data.streams', 'data.dropout', 'model.preprocess', 'model.encoders', 'model.fusion',
         'model.head', 'model.stream_head', 'optimizer.options', 'players', 'task')


def _check_keys(given: dict[str, Any], known: dict[str, Any], prefix: str) -> None:
    for key, value in given.items():
        path = prefix + key
        if key not in known:
            raise UserError(f'The config has a key {path!r} that nothing reads: '
                            f'{did_you_mean(path, [prefix + name for name in known])}.')
        if isinstance(value, dict) and path not in _OPEN:
            _check_keys(value, known[key], path + '.')


def to_json(config: ConfigDict) -> str:
    """The config as JSON text with sorted keys; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def from_json(text: str) -> ConfigDict:
    """The config from `to_json`; sequences are lists, which every reader takes like tuples.

    A key that was not there yet when the text was written has its default, which leaves an older run as it was; modules
    have today's names.
    """
    return lock(ConfigDict(_filled(json.loads(renamed.current(text)), defaults().to_dict(), '')))


def _filled(given: dict[str, Any], known: dict[str, Any], prefix: str) -> dict[str, Any]:
    found = dict(given)
    for key, value in known.items():
        if isinstance(value, dict) and key in given and prefix + key not in _OPEN:
            found[key] = _filled(given[key], value, f'{prefix}{key}.')
        elif key not in given:
            found[key] = value
    return found


def differences(a: dict[str, Any], b: dict[str, Any], prefix: str = '') -> dict[str, tuple[Any, Any]]:
    """Dotted keys at which two JSON configs differ, each with both values (None where absent)."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found |= differences(left, right, f'{prefix}{key}.')
        elif left != right:
            found[prefix + key] = (left, right)
    return found


def differences_of(a: str, b: str) -> dict[str, tuple[Any, Any]]:
    """`differences` of two configs as JSON text, of any version: a key that one has not yet has its default."""
    left, right = (json.loads(to_json(from_json(text))) for text in (a, b))
    return differences(left, right)
