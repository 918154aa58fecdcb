"""What another run says of the clips that this one is trained on."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vmmjax.convert.saved_run import SavedRun
from vmmjax.errors import UserError
from vmmjax.parts import Parts
from vmmjax.training import sharding
from vmmjax.training.distributed import say
from vmmjax.training.objective import Context
from vmmjax.training.state import evaluated


def answers(student: Parts) -> Callable[[dict[str, jax.Array]], dict[str, jax.Array]]:
    """A function that adds to a batch on the devices what the teacher of a run says of it, see `Task.teacher`.

    Args:
      student: the run, whose task names the teacher's.

    Raises:
      UserError: where the teacher's run is not there, tells none of the classes, or reads what the batches lack.
    """
    task = student.task
    run = SavedRun.open(task.teacher)
    config = run.config
    config.mesh.update(student.config.mesh)
    teacher = Parts(config, run_inputs=run.run_inputs)
    taught, classes = teacher.task.classes, student.task.classes
    if not isinstance(taught, list) or not set(taught) & set(classes):
        raise UserError(f'The teacher {task.teacher} knows none of the {len(classes)} classes of this run.')
    for name, (shape, dtype) in teacher.run_inputs['spec'].items():
        own = student.run_inputs['spec'].get(name)
        if not name.startswith('target/') and not name.startswith('view') and own != [shape, dtype]:
            raise UserError(f'The teacher {task.teacher} reads {name} as {dtype} {tuple(shape)}, and the clips of this '
                            f'run have {f"{own[1]} {tuple(own[0])}" if own else "none"}; set config.data as it was '
                            f'there.')
    state = evaluated(run.checkpoints, run.step, config, teacher.init, sharding.replicated(student.mesh))
    say(f'The teacher is {task.teacher} at step {run.step}, for {len(set(taught) & set(classes))} of {len(classes)} '
        f'classes.')
    places = np.array([taught.index(name) if name in taught else len(taught) for name in classes])
    key = f'teacher/{task.columns[0]}'

    def answer(params: Any, model_state: Any, batch: Any) -> Any:
        told = teacher.task.compute(Context(teacher.apply, params, model_state, batch, config.seed))
        return jax.numpy.pad(told, ((0, 0), (0, 1)), constant_values=-np.inf)[:, places]

    step = jax.jit(answer, out_shardings=student.batch_sharding)
    return lambda batch: {**batch, key: step(state.params, state.model_state, batch)}
