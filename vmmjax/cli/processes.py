"""Flags of commands that several processes may run together."""

import functools
from collections.abc import Callable

from absl import flags

COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, where several processes are one run.')
NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many they are; 1 asks no cluster.', lower_bound=1)
PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0 on.', lower_bound=0)


def several_processes(main: Callable[[], None]) -> Callable[[], None]:
    """The command as one that several processes may run together; see the flags above and `distributed.joined`."""
    @functools.wraps(main)
    def together() -> None:
        from vmmjax.training import distributed

        with distributed.joined(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value):
            main()

    return together
