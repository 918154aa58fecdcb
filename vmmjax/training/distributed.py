"""Several processes as one run: how they find each other, agree, and stop together."""

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vmmjax.errors import UserError


def initialize(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
               ) -> None:
    """Makes this process one of a run's; to be called before JAX is asked for its devices.

    What is not given is looked for in the environment of a cluster: a TPU pod, SLURM (`srun`), Open MPI. Where
    neither says anything, or there is one process only, the run stays alone.

    Args:
      coordinator: `host:port` of process 0, the same for all.
      num_processes: of the run.
      process_id: 0 to num_processes - 1.

    Raises:
      UserError: where only a part is given, or they do not find each other.
    """
    given = (coordinator, num_processes, process_id)
    if num_processes == 1:
        return
    try:
        jax.distributed.initialize(*given)
    except (ValueError, RuntimeError) as error:
        # No cluster says that there are others; or a config file has used JAX already, as one alone may.
        alone = isinstance(error, ValueError) or 'must be called before' in str(error)
        if given != (None, None, None) or not alone:
            raise UserError(f'The processes do not find each other: {str(error).splitlines()[0]} Give each the '
                            f'same --coordinator=HOST:PORT (of process 0) and --num_processes, and a '
                            f'--process_id of its own, from 0 on; or --num_processes=1 to stay alone.') from error


@contextlib.contextmanager
def joined(coordinator: str | None = None, num_processes: int | None = None,
           process_id: int | None = None) -> Iterator[None]:
    """`initialize`, for the block. A process that fails leaves at once: the others notice, and do not wait for it."""
    initialize(coordinator, num_processes, process_id)
    try:
        yield
    except BaseException as error:
        if jax.distributed.is_initialized():
            # Runs before JAX's own handler, which would wait minutes for processes that wait for this one.
            atexit.register(_leave, 2 if isinstance(error, UserError) else 1)
        raise


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def agreed(decide: Callable[[], Any]) -> Any:
    """What process 0 decides, on every process; all wait for it.

    Args:
      decide: called on process 0 only; gives a JSON value.

    Raises:
      UserError: on every process, where `decide` does.
    """
    if not jax.distributed.is_initialized():
        return decide()
    answer: dict[str, Any] = {}
    if jax.process_index() == 0:
        try:
            answer['value'] = decide()
        except UserError as error:
            answer['error'] = str(error)
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(text.size)))
    answer = json.loads(bytes(multihost_utils.broadcast_one_to_all(np.resize(text, size))))
    if 'error' in answer:
        raise UserError(answer['error'])
    return answer['value']


def say(text: str) -> None:
    """Prints a line, once a run."""
    if jax.process_index() == 0:
        print(text, flush=True)


class Preempted(Exception):
    """The run was asked to stop, and its state is saved: the same command goes on from there."""


@contextlib.contextmanager
def preemption() -> Iterator[Callable[[int], bool]]:
    """Gives a function that says after each step whether to save and stop there, as a SIGTERM came.

    Any of several processes may get it. JAX tells all of them the same step, the next that none has passed, without a
    word between the devices; so each must ask at every step.
    """
    if jax.distributed.is_initialized():
        yield multihost_utils.reached_preemption_sync_point
        return
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python hands signals to that one only.
        yield lambda step: asked.is_set()
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    try:
        yield lambda step: asked.is_set()
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
