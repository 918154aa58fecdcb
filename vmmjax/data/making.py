"""How columns come to be there: begun, their shards made by one or several commands, completed, mended, renewed."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from vmmjax.data import locks, verify
from vmmjax.data.assembly import Item, Plan
from vmmjax.data.columns import Column
from vmmjax.data.runners import Runner
from vmmjax.errors import UserError

State = Literal['made', 'found', 'waiting']
"""Of a column after a call: completed by it, complete before, or with shards left that other workers make."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of the shards that one of several equal commands makes, on as many machines.

    Attributes:
      worker: 0 to workers - 1.
      workers: how many there are.
    """

    worker: int = 0
    workers: int = 1


WHOLE = Share()


@dataclasses.dataclass
class Maker:
    """Makes the columns of one store.

    Attributes:
      folder: the store.
      splits: rows of each split.
      items: the clips in catalog order.
      runner: who makes shards.
      share: which of them.
      threads: threads that compare checksums.
      progress: whether progress bars are shown.
      mended: shards of complete columns that were damaged and are made again.
    """

    folder: Path
    splits: Mapping[str, range]
    items: Sequence[Item]
    runner: Runner
    share: Share
    threads: int
    progress: bool
    mended: int = 0

    def make(self, columns: Sequence[Column], *, force: bool, check: bool) -> dict[str, State]:
        """Makes what is missing of each column.

        Args:
          columns: the columns.
          force: makes complete ones again; one that is not complete goes on if it has the same plan.
          check: compares the shards of complete ones with their checksums, not with their sizes alone.

        Returns:
          How each of them is now, by name.

        Raises:
          UserError: where other options or versions made what is there, or a shard cannot be made; columns of which
            all shards are there are completed all the same.
        """
        plans = {column.name: Plan(column, self.folder, self.splits, self.items) for column in columns}
        with self._turn():
            missing = [plan for plan in plans.values() if plan.begin(force)]
        for plan in plans.values():
            if plan not in missing:
                self._mend(plan, check)
        mine = [job for plan in missing for job in plan.jobs[self.share.worker::self.share.workers]]
        try:
            # All columns at once: no process waits for the last shard of each, no cluster is begun for each.
            self.runner(mine, ', '.join(plan.name for plan in missing), self.progress)
        except UserError:
            self._complete(missing)
            raise
        return self._complete(missing) | {name: 'found' for name, plan in plans.items() if plan not in missing}

    def _complete(self, plans: Sequence[Plan]) -> dict[str, State]:
        with self._turn():
            return {plan.name: 'made' if plan.complete() else 'waiting' for plan in plans}

    def _turn(self) -> AbstractContextManager[None]:
        return locks.turn(self.folder / 'store.json')

    def _mend(self, plan: Plan, check: bool) -> None:
        """Makes the damaged shards of a complete column again; their bytes must be those that were recorded."""
        target = plan.target
        damaged = verify.damaged(target, self.threads if check else 0, self.progress)
        if not damaged:
            return
        again = [job for job in plan.jobs if job.file in damaged]
        names = ', '.join(job.file.name for job in again)
        if self.share.workers > 1:
            raise UserError(f'The store {self.folder} is damaged ({names}): run the command without --worker first, '
                            f'which makes that again.')
        versions = json.loads((target / 'column.json').read_text())['versions']
        if versions != plan.record['versions']:
            raise UserError(f'The column {target} is damaged ({names}) and was made by other versions ({versions}): '
                            f'install those, or renew the column with --force.')
        for job in again:
            job.file.unlink(missing_ok=True)
        (target / 'shards').mkdir(exist_ok=True)
        self.runner(again, plan.name, self.progress)
        if verify.damaged(target, self.threads, self.progress).keys() & damaged.keys():
            raise UserError(f'The damaged shards of the column {target} ({names}) were made again, but with other '
                            f'contents than before, perhaps by another machine: renew the column with --force.')
        plan.remove_parts()
        self.mended += len(again)
