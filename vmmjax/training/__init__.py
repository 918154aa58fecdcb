"""Mesh and sharding, state, optimizer, the step, the loop, device prefetch, checkpoints."""

from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.loop import train
from vmmjax.training.objective import Context, Loss, Objective
from vmmjax.training.players import Player, Players
from vmmjax.training.sharding import make_mesh, state_shardings
from vmmjax.training.state import TrainState
from vmmjax.training.step import make_eval_step, make_train_step

__all__ = ['Checkpoints', 'Context', 'Loss', 'Objective', 'Player', 'Players', 'TrainState', 'make_eval_step',
           'make_mesh', 'make_train_step', 'state_shardings', 'train']
