"""A run as `vmmjax train` makes it, which says when it came how far; `scripts/bench train` starts it.

At its begin it notes when the modules were imported, the store opened, weights drawn, batches there and the first step
done. Later it stops between two steps now and then, to take bare ones: the same compiled step, on batches of the run
that lie on the device. All goes to `measured.json` in the workdir.
"""

import argparse
import contextlib
import itertools
import json
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp

from vmmjax import xla_flags
from vmmjax.experiment import Experiment
from vmmjax.training import loop, sharding, workdir
from vmmjax.training.state import TrainState

WARM_UP = 20  # Steps before the first that count.
_BATCHES = 8  # That lie on the device.


def clock() -> tuple[float, float]:
    """Seconds of wall clock, and of all cores by this process."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> list[float]:
    """The same since an earlier reading."""
    return [now - then for now, then in zip(clock(), began, strict=True)]


class _Enough(Exception):
    """The first step is done, and no other is wanted."""


class Watch:
    """Looks at a run before each of its steps, in the place of which `train` calls it.

    Attributes:
      marks: when the run came how far, by the clock that all processes share.
      loop: wall clock and CPU seconds of so many `steps` of the loop, once a repeat.
      bare: the same of half as many bare steps, before the first repeat and after each.
    """

    def __init__(self, run: Experiment, steps: int, first: bool) -> None:
        """Has seen nothing yet; `first`: no more than the first step is wanted."""
        self.marks: dict[str, float] = {}
        self.loop: list[list[float]] = []
        self.bare: list[list[float]] = []
        self._run, self._steps, self._first, self._done = run, steps, first, 0
        self._began: tuple[float, float] | None = None
        self._compiled: Any = None
        self._batches: list[Any] = []

    def mark(self, name: str) -> None:
        """It has come so far."""
        self.marks[name] = time.monotonic()

    def batches(self, found: Iterator[Any]) -> Iterator[Any]:
        """The batches, as they are; training begins when the second of them is there."""
        for number, batch in enumerate(found):
            if number == 1:
                self.mark('input')
            yield batch

    def over(self, compile_step: Callable[..., Any]) -> Callable[..., Any]:
        """`loop._compiled`, whose step is this object."""
        def compiled(*arguments: Any) -> Self:
            self._compiled = compile_step(*arguments)
            return self
        return compiled

    def cost_analysis(self) -> Any:
        """The compiled step's."""
        return self._compiled.cost_analysis()

    def __call__(self, state: TrainState, batch: Any) -> Any:
        """A step of the loop, and before it bare ones where a repeat ends."""
        if self._done >= WARM_UP and (self._done - WARM_UP) % self._steps == 0:
            # The loop has just logged, so that no step of it still runs.
            if self._began is not None:
                self.loop.append(since(self._began))
            self.bare.append(self._take(state))
            self._began = clock()
        out = self._compiled(state, batch)
        self._done += 1
        if self._done == 1:
            jax.block_until_ready(out)
            self.mark('step')
            if self._first:
                raise _Enough
        return out

    def _take(self, state: TrainState) -> list[float]:
        run = self._run
        if not self._batches:
            found = itertools.islice(run.pipeline('train', train=True).batches(0, run.rows), _BATCHES)
            self._batches = [sharding.put(batch, run.batch_sharding) for batch in found]
        state = jax.tree.map(jnp.copy, state)  # The step takes its arrays over.
        for count in (2, self._steps // 2):  # The first are not counted.
            jax.block_until_ready((state, self._batches))
            began = clock()
            for batch in itertools.islice(itertools.cycle(self._batches), count):
                state, metrics = self._compiled(state, batch)
            jax.block_until_ready((state, metrics))
        return since(began)


def fetch(feed: Iterator[Any], count: int) -> list[float]:
    """Wall clock and CPU seconds of so many batches, after the first few, which lie ready."""
    for _ in itertools.islice(feed, 10):
        pass
    began = clock()
    for _ in itertools.islice(feed, count):
        pass
    return since(began)


def main() -> None:
    """The command."""
    imported = time.monotonic()
    xla_flags.add(xla_flags.COMPILE_FASTER)  # As every command does.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='file')
    parser.add_argument('store', help='that it trains on')
    parser.add_argument('workdir', type=Path, help='of the run, new')
    parser.add_argument('--began', type=float, required=True, help='when the process was started, time.monotonic()')
    parser.add_argument('--steps', type=int, required=True, help='of a repeat')
    parser.add_argument('--repeats', type=int, required=True, help='how many')
    parser.add_argument('--width', type=float, required=True, help='of the network of pictures, a multiplier')
    parser.add_argument('--first', action='store_true', help='end after the first step of the same program')
    flags = parser.parse_args()
    config = runpy.run_path(str(flags.config))['get_config']()
    config.data.store = flags.store
    config.model.encoders.rgb.width_multiplier = flags.width
    config.steps = WARM_UP + flags.steps * flags.repeats + 1  # Before the last of which the last repeat ends.
    config.evaluate_every = 0
    if flags.steps % config.log_every or flags.steps % 2 or WARM_UP % config.log_every:
        parser.error(f'--steps must be even, and a multiple of {config.log_every}')

    with workdir.hold(flags.workdir):
        run = Experiment(config)
        watch, pipeline = Watch(run, flags.steps, flags.first), run.pipeline('train', train=True)
        watch.mark('store')

        def batches(step: int) -> Iterator[Any]:
            watch.mark('weights')
            return watch.batches(pipeline.batches(step, run.rows))

        loop._compiled = watch.over(loop._compiled)  # Of this process alone.
        with contextlib.suppress(_Enough):
            loop.train(config, flags.workdir, mesh=run.mesh, apply=run.apply, init=run.init, objective=run.task,
                       batches=batches, evaluate=lambda state: {}, identity=run.identity)
    found: dict[str, Any] = {'marks': {'started': flags.began, 'imports': imported, **watch.marks}}
    if not flags.first:
        log = [json.loads(line) for line in (flags.workdir / 'log.jsonl').read_text().splitlines()]
        waits = [entry['input_wait'] for entry in log if 'input_wait' in entry]
        found |= {'loop': watch.loop, 'bare': watch.bare, 'waits': waits, 'log_every': config.log_every,
                  'fetched': fetch(pipeline.batches(0, run.rows), flags.steps)}
    (flags.workdir / 'measured.json').write_text(json.dumps(found))


if __name__ == '__main__':
    main()
