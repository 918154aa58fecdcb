"""Several real processes on this machine as one run: `tests.training.tiny` in each, on loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as server:
        server.bind(('localhost', 0))
        return server.getsockname()[1]


def environment(devices):
    return os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu',
                         'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}


def start(folder, *, sleep=0.0, patience=100, log=None, **changes):
    """Starts the two processes of a run in a workdir; their output goes to `<log or folder>.<process>.txt`.

    Args:
      folder: the workdir.
      sleep: seconds between steps.
      patience: seconds after which JAX gives up on a process that is silent; 100 unless told otherwise.
      log: with what the names of the outputs begin.
      **changes: of the config.
    """
    return begin('tests.training.processes', log or folder, folder=str(folder), sleep=sleep, patience=patience,
                 changes=changes)


def begin(module, log, *, processes=2, devices=2, **options):
    """Starts the processes of a module that takes its options as JSON; their output goes to `<log>.<process>.txt`."""
    address = {'coordinator': f'localhost:{free_port()}', 'num_processes': processes}
    started = []
    for process in range(processes):
        arguments = [sys.executable, '-m', module, json.dumps(options | address | {'process_id': process})]
        with Path(f'{log}.{process}.txt').open('w') as output:
            started.append(subprocess.Popen(arguments, cwd=ROOT, env=environment(devices), stdout=output,
                                            stderr=subprocess.STDOUT))
    return started


def finish(started, timeout=120):
    """Waits for all; their exit statuses."""
    try:
        return [process.wait(timeout) for process in started]
    finally:
        for process in started:
            process.kill()


def output(folder, process=0):
    return Path(f'{folder}.{process}.txt').read_text()


def main(options):
    import functools
    import time

    import jax
    import numpy as np

    from tests.training import tiny
    from vmmjax.errors import UserError
    from vmmjax.training import sharding
    from vmmjax.training.distributed import Preempted, joined

    jax.config.update('jax_compilation_cache_dir', str(Path(options['folder']).parent / 'compiled'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
    jax.distributed.initialize = functools.partial(jax.distributed.initialize,
                                                   heartbeat_timeout_seconds=options['patience'])
    settings = tiny.config(**options['changes'])
    try:
        with joined(options['coordinator'], options['num_processes'], options['process_id']):
            rows = sharding.local_rows(sharding.batch_sharding(sharding.make_mesh(settings.mesh)), settings.batch_size)

            def feed(start):
                for batch in tiny.batches(start):
                    time.sleep(options['sleep'])
                    yield {key: np.ascontiguousarray(value[rows]) for key, value in batch.items()}

            try:
                tiny.run(Path(options['folder']), settings, devices=jax.devices(), feed=feed)
            except Preempted as stop:
                print(stop, flush=True)
    except UserError as error:
        print(f'vmmjax: {error}', flush=True)
        raise SystemExit(2) from error


if __name__ == '__main__':
    main(json.loads(sys.argv[1]))
