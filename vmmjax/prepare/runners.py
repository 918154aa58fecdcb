"""Who makes the shards by `shards.write`: here processes of this machine, in `beam` a cluster."""

import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, Self

from tqdm import tqdm

from vmmjax.errors import UserError
from vmmjax.parallel import begin_worker
from vmmjax.prepare import shards

_JOBS_A_PROCESS = 2  # Submitted at a time.


class Runner(Protocol):
    """Makes shards; their reports are in `Job.report_file` afterwards."""

    def __call__(self, jobs: Sequence[shards.Job], label: str, progress: bool) -> None:
        """Makes those that are not there yet.

        Args:
          jobs: shards, made or not.
          label: names of their columns.
          progress: whether there may be a progress bar.

        Raises:
          UserError: where a shard cannot be made; those that are finished stay.
        """


class Local:
    """Spawned processes, which begin at the first need and end with this context.

    A file is read by a process of theirs (`media.limits`), so that starting one is starting two: they probe the files
    and then make the shards of all columns. At an error the running ones stop at their next clip.
    """

    def __init__(self, processes: int) -> None:
        """Takes the number of processes."""
        self._processes = processes
        self._context = multiprocessing.get_context('spawn')  # A fork of a process with TensorFlow's threads hangs.
        self._clips, self._stop = self._context.Value('q', 0), self._context.Event()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(cancel_futures=True)

    @property
    def pool(self) -> ProcessPoolExecutor:
        """The processes."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, mp_context=self._context, initializer=_begin,
                                             initargs=(self._clips, self._stop))
        return self._pool

    def __call__(self, jobs: Sequence[shards.Job], label: str, progress: bool) -> None:
        """See `Runner`; the progress bar counts clips. After an error nothing else is to be made here."""
        missing = [job for job in jobs if shards.read_report(job) is None]
        if not missing:
            return
        total = sum(len(job.clips) for job in jobs)
        before = total - sum(len(job.clips) for job in missing)
        self._clips.value = 0
        bar = tqdm(total=total, initial=before, desc=label, unit='clip', disable=not progress, mininterval=0.5)
        waiting, running = iter(missing), set[Future[None]]()
        try:
            while True:
                while len(running) < self._processes * _JOBS_A_PROCESS and (job := next(waiting, None)) is not None:
                    running.add(self.pool.submit(_make_shard, job))
                if not running:
                    return
                finished, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                bar.update(before + self._clips.value - bar.n)
        except BrokenProcessPool as error:
            raise UserError(f'A process was killed while making {label} (out of memory?): the same command '
                            f'goes on with what is missing; try fewer --processes.') from error
        finally:
            bar.close()
            if running := {future for future in running if not future.cancel()}:
                self._stop.set()
                wait(running)  # Before what they have made is looked at.


class _Stopped(Exception):
    """Another process failed, or the user stopped the command."""


_shared: dict[str, Any] = {}  # In a process of the pool: the counter of clips and the event that stops it.


def _begin(clips: Any, stop: Any) -> None:
    begin_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent gets it too, and says when to stop.
    _shared.update(clips=clips, stop=stop)


def _make_shard(job: shards.Job) -> None:
    def done() -> None:
        with _shared['clips'].get_lock():
            _shared['clips'].value += 1
        if _shared['stop'].is_set():
            raise _Stopped
    shards.write(job, done)
