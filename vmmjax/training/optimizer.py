"""The optimizer of a config: schedule, clipping, decay of kernels only, multipliers by path, freezing."""

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from vmmjax.errors import UserError, did_you_mean
from vmmjax.registry import find
from vmmjax.training import path_patterns
from vmmjax.training.players import Player, Players
from vmmjax.training.scalars import computed_once

_OF_A_PLAYER = ('params', 'optimizer', 'ema_decay', 'every')
# What optax's optimizers call the parameters that weight decay, and the trust ratio of LARS, act on.
_MASKS = ('mask', 'weight_decay_mask', 'trust_ratio_mask')


def sgd(learning_rate: Any, momentum: float | None = None, nesterov: bool = False, weight_decay: float = 0.0,
        mask: Any = None) -> optax.GradientTransformation:
    """Stochastic gradient descent with weight decay in the gradient, before the momentum, as in PyTorch."""
    descent = optax.sgd(learning_rate, momentum, nesterov)
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), descent) if weight_decay else descent


OPTIMIZERS = {'adamw': optax.adamw, 'lamb': optax.lamb, 'lars': optax.lars, 'sgd': sgd}
SCHEDULES = ('constant', 'cosine', 'step')


def learning_rate(lr: Any, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `lr.peak`, then constant, a cosine to 0 at the last step, or in steps.

    In steps it is multiplied by `lr.factor` once `lr.milestones[i]` steps are done.

    Raises:
      UserError: for a schedule that there is not, and for a warm-up or milestones that are not within `steps`.
    """
    if lr.schedule not in SCHEDULES:
        raise UserError(f'There is no schedule {lr.schedule!r}: {did_you_mean(lr.schedule, SCHEDULES)}.')
    if not 0 <= lr.warmup_steps < steps:
        raise UserError(f'config.optimizer.lr.warmup_steps = {lr.warmup_steps} must be less than the '
                        f'{steps} steps of config.steps.')
    milestones = list(lr.milestones)
    if bool(milestones) != (lr.schedule == 'step'):
        raise UserError(f"config.optimizer.lr has schedule {lr.schedule!r} and milestones {tuple(milestones)}; the "
                        f"schedule 'step' needs milestones, and the others take none.")
    if any(before >= after for before, after in itertools.pairwise([lr.warmup_steps, *milestones, steps])):
        raise UserError(f'config.optimizer.lr.milestones = {tuple(milestones)} must rise, from more than the '
                        f'{lr.warmup_steps} steps of the warm-up to less than the {steps} of config.steps.')
    rest = steps - lr.warmup_steps
    if lr.schedule == 'step':
        main = optax.piecewise_constant_schedule(lr.peak, {step - lr.warmup_steps: lr.factor for step in milestones})
    else:
        main = (optax.constant_schedule(lr.peak) if lr.schedule == 'constant'
                else optax.cosine_decay_schedule(lr.peak, rest))
    if lr.warmup_steps == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, lr.peak, lr.warmup_steps), main],
                                [lr.warmup_steps])


def frozen(config: Any) -> list[str]:
    """Path patterns of what stays as it is: `config.freeze`, the encoders that `config.model.fixed` names, and with
    `config.lora` all but its factors and what it trains.
    """
    found = [*config.freeze, *(rf'\bencoders_{re.escape(name)}/' for name in config.model.fixed)]
    if not config.lora.rank:
        return found
    from vmmjax.training import lora

    return [*found, lora.frozen(config.lora)]


def players(config: Any) -> Players:
    """Who trains the parameters: one player by `config.optimizer`, or those of `config.players`.

    An entry of `config.players` is a dict: `params`, patterns of the paths of its parameters; `optimizer`, keys of
    `config.optimizer` that differ from those there; `ema_decay`, that of the config unless given; `every`, in how many
    steps it moves once.

    Raises:
      UserError: see `create`; for a key that nothing reads, and a player without patterns.
    """
    if not config.players:
        return Players(Player(create(config), ema_decay=config.ema_decay), _shared(config))
    found = {}
    for name, given in config.players.items():
        options = dict(given)
        for key in options:
            if key not in _OF_A_PLAYER:
                raise UserError(f'The config has a key players.{name}.{key} that nothing reads: '
                                f'{did_you_mean(key, _OF_A_PLAYER)}.')
        patterns = options.get('params', ())
        patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        every = options.get('every', 1)
        if not patterns or every < 1:
            raise UserError(f'config.players.{name} has params {patterns} and every {every}; give patterns of the '
                            f'paths of its parameters, and 1 or more steps.')
        own = ConfigDict(config.to_dict())
        own.optimizer.update(options.get('optimizer', {}))
        transformation, key = create(own), f'config.players.{name}.optimizer.multipliers'
        found[name] = Player(transformation, patterns, options.get('ema_decay', config.ema_decay), every,
                             {key: _patterns(own)} if 'multipliers' in options.get('optimizer', {}) else {})
    return Players(found, _shared(config))


def create(config: Any) -> optax.GradientTransformation:
    """The optax transformation of `config.optimizer`, for what is not `frozen`.

    Weight decay, where the optimizer has it, acts on kernels (two axes or more), not on biases and
    normalisation; so does the trust ratio of LARS. `config.optimizer.multipliers` are `(path pattern, of the learning
    rate, of the weight decay)`: a parameter takes those of the first pattern that matches, 1 where none does, as
    PyTorch's parameter groups. `config.optimizer.layers` are path patterns from the input on: of n layers the i-th is
    learned at `layer_decay ** (n - i)` times that rate (Clark et al. 2020, section A; Bao et al. 2021), and not before
    `(n - i) * unfreeze_every` steps (Howard and Ruder 2018, section 3.3; its slots see gradients from the start), with
    i from 0 and what is in no layer as i = n. Frozen parameters have no slots and do not count towards the clipped
    norm.

    A pattern may match nothing, as a player has only some of the paths: `Players` looks for those of no use.

    Raises:
      UserError: for an unknown optimizer, schedule or option.
    """
    settings = config.optimizer
    factory: Callable[..., optax.GradientTransformation] = find(settings.name, OPTIMIZERS, 'optimizer')
    accepted = dict(inspect.signature(factory).parameters)
    masks = {name: _kernels for name in _MASKS if accepted.pop(name, None)}
    accepted.pop('learning_rate', None)
    options = dict(settings.options)
    for key in options:
        if key not in accepted:
            raise UserError(f'The optimizer {settings.name!r} takes no option {key!r}: '
                            f'{did_you_mean(key, accepted)}.')
    schedule = learning_rate(settings.lr, config.steps)

    def descent(of_rate: float, of_decay: float, begin: int = 0) -> optax.GradientTransformation:
        own = dict(options)
        rate = schedule if of_rate == 1 else lambda step: of_rate * schedule(step)
        if begin:
            rate = _from(begin, rate)
        if of_decay != 1:
            if 'weight_decay' not in accepted:
                raise UserError(f'The optimizer {settings.name!r} has no weight decay that '
                                f'config.optimizer.multipliers could multiply by {of_decay}; set 1 there.')
            own['weight_decay'] = of_decay * own.get('weight_decay', accepted['weight_decay'].default)
        return factory(lambda step: computed_once(rate(step)), **own, **masks)

    chain = [_by_path(settings, descent) if settings.multipliers or settings.layers else descent(1, 1)]
    if settings.clip:
        chain.insert(0, optax.clip_by_global_norm(settings.clip))
    transformation = optax.chain(*chain)
    patterns = frozen(config)
    if not patterns:
        return transformation

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: 'freeze' if path_patterns.matches(patterns, path) else 'train', params)

    return optax.multi_transform({'train': transformation, 'freeze': optax.set_to_zero()}, labels)


def _from(begin: int, rate: optax.Schedule) -> optax.Schedule:
    """The rate from a step on, 0 before."""
    return lambda step: jnp.where(step >= begin, rate(step), 0.0)


def _by_path(settings: Any, descent: Callable[..., optax.GradientTransformation]) -> optax.GradientTransformation:
    """A transformation for each of the multipliers and layers that a parameter's path has."""
    groups = [tuple(each) for each in settings.multipliers]
    if any(len(group) != 3 for group in groups):
        raise UserError(f'config.optimizer.multipliers = {tuple(groups)} must be triples (path pattern, of the '
                        f'learning rate, of the weight decay).')
    layers = list(settings.layers)
    if settings.layer_decay <= 0 or settings.unfreeze_every < 0:
        raise UserError(f'config.optimizer.layer_decay is {settings.layer_decay} and unfreeze_every is '
                        f'{settings.unfreeze_every}; give a factor above 0, and 0 or more steps.')

    def label(group: int, layer: int) -> str:
        return f'{group}_{layer}' if layers else str(group)

    def labels(params: Any) -> Any:
        def of(patterns: list[str], path: Any) -> int:
            return next((i for i, pattern in enumerate(patterns) if path_patterns.matches([pattern], path)), -1)

        return jax.tree_util.tree_map_with_path(
            lambda path, _: label(of([pattern for pattern, _, _ in groups], path), of(layers, path)), params)

    made = {}
    for layer in range(-1, len(layers)):
        depth = len(layers) - layer if layer >= 0 else 0
        for group, (_, of_rate, of_decay) in {-1: ('', 1, 1), **dict(enumerate(groups))}.items():
            made[label(group, layer)] = descent(of_rate * settings.layer_decay ** depth, of_decay,
                                                depth * settings.unfreeze_every)
    return optax.multi_transform(made, labels)


def _shared(config: Any) -> dict[str, list[str]]:
    """The path patterns of all players, by config key."""
    return {'config.freeze': frozen(config), 'config.optimizer.multipliers': _patterns(config),
            'config.optimizer.layers': list(config.optimizer.layers)}


def _patterns(config: Any) -> list[str]:
    return [pattern for pattern, _, _ in config.optimizer.multipliers]


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
