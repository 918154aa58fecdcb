"""Uploads that wait to be judged: one at a time, in the order they came, each in a folder of its own."""

import contextlib
import dataclasses
import secrets
import shutil
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.media.container import MediaError

RECEIVING, WAITING, RUNNING, DONE, FAILED = 'receiving', 'waiting', 'running', 'done', 'failed'
_UNFINISHED = 8  # Jobs at once; more uploads are sent away.
_KEPT = 20  # Finished ones; older ones are forgotten, with their files.
_LONGEST = 1800.0  # Seconds that one may keep the others waiting.
_LEFT = 10.0  # Seconds in which a job that runs may come to its end when the queue is closed.


@dataclasses.dataclass(frozen=True)
class Found:
    """What is made of a file.

    Attributes:
      view: what the page shows, plain JSON values.
      prediction: what can be downloaded, plain JSON values.
      files: name -> path of what the page shows beside it, such as `rgb.mp4`.
    """

    view: Mapping[str, Any]
    prediction: Mapping[str, Any]
    files: Mapping[str, Path]


Work = Callable[[Path, str, Path], Found]
"""`work(file, name, folder)`: judges a file that the user calls `name`; `folder` is for what it writes."""


@dataclasses.dataclass
class Job:
    """An upload.

    Attributes:
      id: 32 hexadecimal digits that nobody guesses; its folder is called so.
      name: of the file as the user has it; it is shown, and never a path.
      folder: for the upload and what is made of it.
      state: `receiving`, `waiting`, `running`, `done` or `failed`.
      error: the sentence of one that failed.
      found: of one that is done.
    """

    id: str
    name: str
    folder: Path
    state: str = RECEIVING
    error: str = ''
    found: Found | None = None

    @property
    def upload(self) -> Path:
        """The file."""
        return self.folder / 'upload'

    def file(self, name: str) -> Path | None:
        """The path of a file of a job that is done, by its name on the page; None where there is none."""
        if self.found is None:
            return None
        return self.upload if name == 'clip' else self.found.files.get(name)


class Jobs:
    """The queue, and the thread that works on it."""

    def __init__(self, folder: Path, work: Work, say: Callable[[str], None]) -> None:
        """Begins with no job.

        Args:
          folder: for the folders of the jobs; it is there.
          work: is done on one upload at a time.
          say: is told in some lines what failed by no fault of the file.
        """
        self._folder, self._work, self._say = folder, work, say
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._closed = False
        self._thread = self._begin_to_work()

    def begin(self, name: str) -> Job:
        """A job whose upload is to come; `submit` or `discard` must follow.

        Raises:
          UserError: where as many wait as may, or it is closed.
          OSError: where the folder cannot be made, such as one of a full disk.
        """
        with self._changed:
            if self._closed:
                raise UserError('The server ends; start it again.')
            if self._unfinished() >= _UNFINISHED:
                raise UserError(f'{_UNFINISHED} files wait already, which is as many as may; try again when one is '
                                f'done.')
            number = secrets.token_hex(16)
            job = Job(number, name, self._folder / number)
            job.folder.mkdir()
            job.upload.touch()  # It is opened, never made, later: what is removed at the end stays removed.
            self._jobs[number] = job
        return job

    def submit(self, job: Job) -> None:
        """The upload is whole."""
        with self._changed:
            job.state = WAITING
            self._jobs[job.id] = self._jobs.pop(job.id)  # In the order in which they are whole.
            self._changed.notify_all()

    def discard(self, job: Job) -> None:
        """Forgets a job, with its files."""
        with self._changed:
            self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may, so that `begin` refuses."""
        with self._changed:
            return self._unfinished() >= _UNFINISHED

    def get(self, number: str) -> Job | None:
        """The job of an `id`."""
        with self._changed:
            return self._jobs.get(number)

    def listed(self) -> list[dict[str, Any]]:
        """The jobs whose upload is whole, the newest first, as plain JSON values; `place` counts those that wait."""
        with self._changed:
            waiting = [job.id for job in self._jobs.values() if job.state == WAITING]
            return [{'id': job.id, 'name': job.name, 'state': job.state, 'error': job.error,
                     'place': waiting.index(job.id) + 1 if job.state == WAITING else 0}
                    for job in reversed(self._jobs.values()) if job.state != RECEIVING]

    def close(self) -> None:
        """Begins no other job, and waits a while for one that runs, which writes into its folder."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_LEFT)

    def _begin_to_work(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name='jobs', daemon=True)
        thread.start()
        return thread

    def _give_up(self, job: Job) -> None:
        """Lets the others go on: a thread cannot be ended, but another takes its place."""
        with self._changed:
            if self._closed or job.state != RUNNING:
                return
            job.state = FAILED
            job.error = (f'{job.name}: it takes longer than {_LONGEST / 60:g} minutes, and others wait; cut it, or let '
                         f'`vmmjax predict` read it.')
            self._thread = self._begin_to_work()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                job = self._next()
                if self._closed or job is None:
                    return
                job.state = RUNNING
            found, error, fault = None, '', ''
            limit = threading.Timer(_LONGEST, self._give_up, [job])
            limit.daemon = True
            limit.start()
            try:
                found = self._work(job.upload, job.name, job.folder)
            except UserError as failed:
                error = sentence(failed, job)
            except Exception as failed:  # What one file does to the network is nothing to the next.
                error = f'{job.name}: it could not be judged ({type(failed).__name__}); the server has logged why.'
                fault = traceback.format_exc()
            limit.cancel()
            with self._changed:
                if job.state != RUNNING:
                    job.upload.unlink(missing_ok=True)
                    return  # It was given up, and another thread works.
                job.found, job.error, job.state = found, error, FAILED if error else DONE
                finished = [each for each in self._jobs.values() if each.state in (DONE, FAILED)]
            # Neither a log that is closed nor a file that cannot be removed ends the one thread that works.
            with contextlib.suppress(Exception):
                if fault:
                    self._say(fault)
            with contextlib.suppress(OSError):
                if error:
                    job.upload.unlink(missing_ok=True)
            for old in finished[:-_KEPT]:
                self.discard(old)

    def _unfinished(self) -> int:
        return sum(job.state not in (DONE, FAILED) for job in self._jobs.values())

    def _next(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == WAITING), None)


def sentence(error: UserError, job: Job) -> str:
    """What went wrong with a file in one sentence, with the user's name of it in place of its path here.

    Of another file, such as one that cannot be written, there is its name alone.
    """
    text = f'{job.name}: {error.reason}.' if isinstance(error, MediaError) else str(error)
    for path, name in ((job.upload, job.name), (f'{job.folder}/', ''), (job.folder.parent, 'the temporary folder')):
        text = text.replace(str(path), name)
    return text
