"""Gradient blending: how much the loss of each stream's head is to weigh, from how it learned alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vmmjax.errors import UserError
from vmmjax.evaluation.training_log import read_log


class Estimate(NamedTuple):
    """How a run went between its first and its last validation.

    Attributes:
      steps: of both.
      generalisation: G, by how much the validation loss fell.
      overfitting: O, by how much the gap from training to validation loss grew.
    """

    steps: tuple[int, int]
    generalisation: float
    overfitting: float


def estimate(workdir: Path) -> Estimate:
    """Measures a run from its log (Wang, Tran and Feiszli 2020, section 3).

    `G = V_0 - V_1` and `O = (V_1 - T_1) - (V_0 - T_0)`, with V the validation loss and T the training loss, that of
    `train/loss` logged last before it, at the first (0) and the last (1) validation.

    Raises:
      UserError: where there is no log, or not two validations in it with a training loss.
    """
    path = workdir / 'log.jsonl'
    if not path.is_file():
        raise UserError(f'{path} is not there; train first: vmmjax train --workdir={workdir} ...')
    series, _ = read_log(path)
    training, validation = (series.get(f'{name}/loss', {}) for name in ('train', 'validation'))
    steps = [step for step in validation if min(training, default=step + 1) <= step]
    if len(steps) < 2:
        raise UserError(f'{path} has {len(steps)} validations with a training loss, and blending needs two; train with '
                        f'a smaller config.evaluate_every.')
    first, last = steps[0], steps[-1]
    gaps = [validation[step] - training[max(at for at in training if at <= step)] for step in (first, last)]
    return Estimate((int(first), int(last)), validation[first] - validation[last], gaps[1] - gaps[0])


def weights(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """`w_k = (G_k / O_k^2) / Z`, which sum to 1 (Wang, Tran and Feiszli 2020, section 3).

    One that did not generalise (G not above 0) has the weight 0.

    Raises:
      UserError: where none generalised, or one shows no overfitting at all, of which no weight follows.
    """
    for name, found in estimates.items():
        if found.overfitting == 0 and found.generalisation > 0:
            raise UserError(f'The run of {name!r} shows no overfitting, of which no weight follows; train it longer.')
    raw = {name: found.generalisation / found.overfitting ** 2 if found.generalisation > 0 else 0.0
           for name, found in estimates.items()}
    total = sum(raw.values())
    if not total:
        raise UserError('None of the runs has a lower validation loss at its end than at its beginning; train with a '
                        'lower learning rate or fewer steps.')
    return {name: value / total for name, value in raw.items()}
