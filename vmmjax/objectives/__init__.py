"""What is minimised. Every objective is `(apply, params, model_state, batch, rng) -> Loss`."""

from typing import Any

from vmmjax.objectives.base import Loss, Objective, mean_of, total
from vmmjax.objectives.classification import Classification
from vmmjax.registry import build

__all__ = ['Classification', 'Loss', 'Objective', 'create', 'mean_of', 'total']

OBJECTIVES = {'classification': Classification}


def create(task: Any, target: str) -> Objective:
    """The objective of `config.task`, for the catalog column `target`."""
    return build(task, OBJECTIVES, 'task', target=target)
