"""What a config's training is made of, before anything is computed: the step, its state's shapes, where it lies."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from vmmjax.training import optimizer as optimizers
from vmmjax.training import sharding
from vmmjax.training.objective import Apply, Objective
from vmmjax.training.players import Players
from vmmjax.training.state import TrainState, initializer
from vmmjax.training.step import TrainStep, compile_train_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Built:
    """The parts of a training.

    Attributes:
      players: who train the parameters.
      create: the state from a key.
      abstract: the state's shapes.
      shardings: of every array of it.
      step: jitted over the mesh, with the shardings; compiled where it is first called, or by `step.lower`.
    """

    players: Players
    create: Callable[[jax.Array], TrainState]
    abstract: TrainState
    shardings: TrainState
    step: TrainStep

    @property
    def spec(self) -> TrainState:
        """Shape, dtype and sharding of every array: what a checkpoint is restored to, or a step compiled for."""
        spec: TrainState = jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), self.abstract,
            self.shardings)
        return spec


def build(config: Any, mesh: jax.sharding.Mesh, apply: Apply, init: Callable[[jax.Array], Any],
          objective: Objective) -> Built:
    """Builds them.

    Args:
      config: see `vmmjax.config.defaults`.
      mesh: from `make_mesh`; its devices need not be here.
      apply: the model on a raw clip batch.
      init: the model's variables from a key.
      objective: what is minimised.

    Raises:
      UserError: for whatever of the config does not fit.
    """
    players = optimizers.players(config)
    create = initializer(init, players, scale_loss=config.model.dtype == 'float16')
    abstract = jax.eval_shape(create, jax.random.key(config.seed))
    shardings = sharding.state_shardings(abstract, mesh, config.sharding)
    step = make_train_step(apply, objective, players, seed=config.seed, freeze=optimizers.frozen(config),
                           microbatches=config.microbatches, rows=sharding.batch_sharding(mesh))
    return Built(players, create, abstract, shardings, compile_train_step(step, mesh, shardings))
