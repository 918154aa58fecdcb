"""Shards made by an Apache Beam pipeline: on a cluster, with the same function and so the same bytes.

The extra `beam` brings the package. There is no cluster code of our own: `--runner` names one of Beam's, and its
options pass through untouched. The workers need this package with its extra `data`, and must see the store and the
source's files under the same paths as the machine that starts the pipeline.
"""

import dataclasses
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.prepare import shards

# Beam finds most of its runners by a short name, this one by its full name only.
_FULL_NAMES = {'DaskRunner': 'apache_beam.runners.dask.dask_runner.DaskRunner'}


@dataclasses.dataclass(frozen=True)
class Beam:
    """A `runners.Runner`; one element of the pipeline is a shard.

    Attributes:
      runner: as Beam names it: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner, DaskRunner ...
      options: the runner's own, as Beam reads them from a command line.
    """

    runner: str
    options: tuple[str, ...] = ()

    def __call__(self, jobs: Sequence[shards.Job], label: str, progress: bool) -> None:
        """Makes the shards that are not there; how a runner shows its progress is its own affair."""
        beam, pipeline_options = _packages()
        # Elements are names of files: a job holds 128 clips, and services bound the size of a pipeline's description.
        files = [_hand_over(job) for job in jobs if shards.read_report(job) is None]
        if not files:
            return
        runner = _FULL_NAMES.get(self.runner, self.runner)
        try:
            with beam.Pipeline(options=pipeline_options([f'--runner={runner}', *self.options])) as pipeline:
                _ = pipeline | beam.Create(files, reshuffle=True) | beam.Map(make_handed_over)
        except (Exception, SystemExit) as error:  # Every runner has its own; a bad option ends in SystemExit.
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(_failure(files) or f'The Beam runner {self.runner} did not make {label}: '
                            f'{said[-1]}; correct --runner or --runner_options.') from error


def make_handed_over(file: str) -> None:
    """In a worker: makes the shard whose job stands in a file; its report says that it is there.

    A sentence about what the user can mend goes into a file beside it, since what comes through a runner of an
    exception is a text with tracebacks.
    """
    path = Path(file)
    job: shards.Job = pickle.loads(path.read_bytes())
    try:
        shards.write(job, lambda: None)
    except UserError as error:
        atomic.write(path.with_suffix('.failure'), str(error))
        raise


def _hand_over(job: shards.Job) -> str:
    path = job.report_file.with_suffix('.job').absolute()
    path.with_suffix('.failure').unlink(missing_ok=True)
    absolute = dataclasses.replace(job, file=job.file.absolute())  # Workers start in other folders.
    atomic.write(path, pickle.dumps(absolute))
    return os.fspath(path)


def _failure(files: Sequence[str]) -> str | None:
    """The sentence of the first shard that has one."""
    said = (Path(file).with_suffix('.failure') for file in files)
    return next((path.read_text(encoding='utf-8') for path in said if path.exists()), None)


def _packages() -> tuple[Any, Any]:
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f'--runner needs Apache Beam ({error}): install vmmjax[beam], or leave --runner out for a '
                        f'pool of processes on this machine.') from error
    return apache_beam, PipelineOptions
