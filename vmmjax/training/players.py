"""Who updates which parameters: one player usually, several where they minimise different losses."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from vmmjax.errors import UserError, did_you_mean
from vmmjax.training import path_patterns

ONLY = ''
"""The name of the player where there is one."""

Patterns = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Player:
    """Updates some of the parameters to minimise a loss of its own.

    Attributes:
      optimizer: from `optimizer.create`; it sees the player's parameters alone.
      params: patterns of the paths of its parameters; not read where there is one player, who has all.
      ema_decay: of the moving average of its parameters; 0 keeps none.
      every: it moves once in so many steps, in the first of them. In the others its parameters, slots and moving
        average stand still.
    """

    optimizer: optax.GradientTransformation
    params: tuple[str, ...] = ()
    ema_decay: float = 0.0
    every: int = 1
    patterns: Patterns = dataclasses.field(default_factory=dict)


class Players:
    """The players of a training, and which of a tree of parameters is whose.

    Of one player every tree is as it is. Of several the slots and moving averages are dicts by player, of trees that
    hold the player's parameters alone.

    Attributes:
      by_name: the players.
    """

    def __init__(self, players: Player | Mapping[str, Player], patterns: Patterns | None = None):
        """Takes the players.

        Args:
          players: one, or several by name.
          patterns: path patterns by config key, which are for all players; each must match a parameter.
        """
        self._patterns = patterns or {}
        self.by_name: dict[str, Player] = {ONLY: players} if isinstance(players, Player) else dict(players)
        self._alone = isinstance(players, Player)

    def parts(self, params: Any) -> dict[str, Any]:
        """The parameters of each player.

        Args:
          params: a tree of nested dicts like the parameters.

        Raises:
          UserError: for a pattern that matches nothing, a parameter that is nobody's, and a player who has none.
        """
        if self._alone:
            return {ONLY: params}
        flat = traverse_util.flatten_dict(params)
        names = [name for name, player in self.by_name.items() for _ in player.params]
        patterns = [pattern for player in self.by_name.values() for pattern in player.params]
        owners = traverse_util.flatten_dict(path_patterns.first_match(patterns, params, 'config.players'))
        found: dict[str, dict[Any, Any]] = {name: {} for name in self.by_name}
        for path, leaf in flat.items():
            if owners[path] < 0:
                raise UserError(f'The parameter {"/".join(path)} belongs to no player of config.players: name a '
                                f'pattern of its path in one of {", ".join(self.by_name)}.')
            found[names[owners[path]]][path] = leaf
        for name, leaves in found.items():
            if not leaves:
                raise UserError(f'The player {name!r} of config.players has no parameter that is not another\'s: '
                                f'the first player with a matching pattern has it.')
        return {name: traverse_util.unflatten_dict(leaves) for name, leaves in found.items()}

    def slots(self, params: Any) -> Any:
        """The first slots of the optimizers.

        Raises:
          UserError: for a pattern that matches nothing, besides what `parts` raises.
        """
        parts = self.parts(params)
        for tree, by_key in [(params, self._patterns), *((parts[name], player.patterns)
                                                         for name, player in self.by_name.items())]:
            for key, patterns in by_key.items():
                path_patterns.first_match(patterns, tree, key)
        found = {name: self.by_name[name].optimizer.init(part) for name, part in parts.items()}
        return found[ONLY] if self._alone else found

    def averages(self, params: Any) -> Any:
        """The first moving averages; None where no player keeps one."""
        found = {name: jax.tree.map(jnp.copy, part) for name, part in self.parts(params).items()
                 if self.by_name[name].ema_decay > 0}
        return found.get(ONLY) if self._alone else found or None

    def update(self, gradients: Mapping[str, Any], params: Any, slots: Any, ema: Any, step: jax.Array
               ) -> tuple[Any, Any, Any]:
        """Moves every player's parameters along its own gradients.

        Args:
          gradients: by player, of its parameters.
          params: all of them.
          slots: of the optimizers.
          ema: the moving averages, or None.
          step: int32 scalar, steps done.

        Returns:
          Parameters, slots and moving averages after the step.
        """
        moved, filled, averaged = {}, {}, {}
        for name, part in self.parts(params).items():
            player, old = self.by_name[name], slots if self._alone else slots[name]
            average = None if ema is None else ema if self._alone else ema.get(name)
            updates, new = player.optimizer.update(gradients[name], old, part)
            found = optax.apply_updates(part, updates)
            after = (found, new, None if average is None else
                     optax.incremental_update(found, average, 1 - player.ema_decay))
            if player.every > 1:
                due = step % player.every == 0
                after = jax.tree.map(lambda a, b, due=due: jnp.where(due, a, b), after, (part, old, average))
            moved[name], filled[name], averaged[name] = after
        if self._alone:
            return moved[ONLY], filled[ONLY], averaged[ONLY]
        return (_merged(*moved.values()), filled,
                {name: average for name, average in averaged.items() if average is not None} or None)

    def check(self, losses: Mapping[str, Any]) -> None:
        """Raises a UserError where a task's losses are not those of the players."""
        for name in losses:
            if name not in self.by_name:
                who = f'config.players has {", ".join(self.by_name)}' if not self._alone else 'config.players is empty'
                raise UserError(f'The task has a loss of the player {name!r}, and {who}: '
                                f'{did_you_mean(name, self.by_name)}.')
        for name in self.by_name:
            if name not in losses:
                raise UserError(f'The player {name!r} of config.players minimises nothing: the task has losses of '
                                f'{", ".join(map(repr, losses))}.')


def averaged(params: Any, ema: Any) -> Any:
    """The parameters with their moving averages in place of those that have one.

    Args:
      params: nested dicts.
      ema: of `TrainState`: a tree like the parameters, or by player trees of some of them; None where there is none.
    """
    if ema is None:
        return params
    if same_leaves(ema, params):
        return ema
    return _merged(params, *ema.values())


def same_leaves(a: Any, b: Any) -> bool:
    """Whether two trees have leaves in the same places."""
    return str(jax.tree.structure(a)) == str(jax.tree.structure(b))


def _merged(*trees: Any) -> Any:
    """One tree of nested dicts, in which a later one's leaves stand in place of an earlier one's."""
    found: dict[Any, Any] = {}
    for tree in trees:
        found |= traverse_util.flatten_dict(tree)
    return traverse_util.unflatten_dict(found)
