"""The optimizer of a config: schedule, clipping, decay of kernels only, freezing."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import optax

from vmmjax.errors import UserError, did_you_mean
from vmmjax.registry import find
from vmmjax.training import paths

OPTIMIZERS = {'adamw': optax.adamw, 'sgd': optax.sgd}
SCHEDULES = ('constant', 'cosine')


def learning_rate(lr: Any, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `lr.peak`, then constant, or a cosine to 0 at the last step."""
    if lr.schedule not in SCHEDULES:
        raise UserError(f'There is no schedule {lr.schedule!r}: {did_you_mean(lr.schedule, SCHEDULES)}.')
    if not 0 <= lr.warmup_steps < steps:
        raise UserError(f'config.optimizer.lr.warmup_steps = {lr.warmup_steps} must be less than the '
                        f'{steps} steps of config.steps.')
    rest = steps - lr.warmup_steps
    main = (optax.constant_schedule(lr.peak) if lr.schedule == 'constant'
            else optax.cosine_decay_schedule(lr.peak, rest))
    if lr.warmup_steps == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, lr.peak, lr.warmup_steps), main],
                                [lr.warmup_steps])


def create(config: Any) -> optax.GradientTransformation:
    """The optax transformation of `config.optimizer` and `config.freeze`.

    Weight decay, where the optimizer has it, acts on kernels (two axes or more), not on biases and
    normalisation. Frozen parameters have no slots and do not count towards the clipped norm.

    Raises:
      UserError: for an unknown optimizer, schedule or option; on `init`, for a pattern that matches nothing.
    """
    settings = config.optimizer
    factory: Callable[..., optax.GradientTransformation] = find(settings.name, OPTIMIZERS, 'optimizer')
    accepted = inspect.signature(factory).parameters
    options = dict(settings.options)
    for key in options:
        if key not in accepted:
            raise UserError(f'The optimizer {settings.name!r} takes no option {key!r}: '
                            f'{did_you_mean(key, accepted)}.')
    if 'mask' in accepted:
        options['mask'] = lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
    chain = [factory(learning_rate(settings.lr, config.steps), **options)]
    if settings.clip:
        chain.insert(0, optax.clip_by_global_norm(settings.clip))
    transformation = optax.chain(*chain)
    if not config.freeze:
        return transformation

    def labels(params: Any) -> Any:
        matches = paths.first_match(list(config.freeze), params, 'config.freeze')
        return jax.tree.map(lambda match: 'freeze' if match >= 0 else 'train', matches)

    return optax.multi_transform({'train': transformation, 'freeze': optax.set_to_zero()}, labels)
