import dataclasses
import importlib.util
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training import tiny
from vmmjax.planning import Compiled, Topology, compile_step, largest_batch, table
from vmmjax.planning.compiling import refused
from vmmjax.tasks import Classification
from vmmjax.training import sharding
from vmmjax.training.build import build


def init(key: jax.Array) -> Any:
    return tiny.Tiny().init(key, {'x': jnp.zeros((1, 8))}, train=False)


def planned(name: str, rows: int, microbatches: int = 1, **mesh: int) -> Compiled:
    topology, config = Topology.parse(name), tiny.config(microbatches=microbatches)
    over = sharding.make_mesh({'data': -1, **mesh}, topology.devices())
    built = build(config, over, tiny.Tiny().apply, init, Classification(target='label'))
    spec = {key: (value.shape, value.dtype) for key, value in next(tiny.batches(0, rows)).items()}
    return compile_step(built, over, topology, spec, microbatches)


def test_a_step_is_compiled_as_it_is_trained() -> None:
    one, four = planned('cpu:1', 8), planned('cpu:4', 32)
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(init(jax.random.key(0))['params']))
    assert one.parameters == four.parameters == count
    assert one.state['parameters'] == 4 * count
    assert one.state['optimizer'] >= 8 * count  # Two moments.
    assert one.needs > sum(one.state.values())
    assert not one.exchanges
    # As many clips a device, as many operations; and the gradients are summed.
    assert four.flops == pytest.approx(one.flops, rel=0.05)
    assert four.sent >= 2 * 3 / 4 * 4 * count
    assert math.isnan(four.seconds)


def test_microbatches_are_all_counted() -> None:
    whole, parts = planned('cpu:1', 4096), planned('cpu:1', 4096, microbatches=4)
    assert parts.flops == pytest.approx(whole.flops, rel=0.1)
    assert parts.accessed > whole.accessed / 2  # One of four is a quarter.


def test_what_is_sharded_takes_its_share() -> None:
    whole, split = planned('cpu:4', 32), planned('cpu:4', 32, data=1, fsdp=4)
    assert split.state['parameters'] < 0.6 * whole.state['parameters']
    assert {each.kind for each in split.exchanges} & {'all-gather', 'all-reduce', 'reduce-scatter'}


@pytest.mark.parametrize(('message', 'needs'), [
    ('RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.5G of 15.75G hbm.', 17.5 * 2 ** 30),
    ('RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO '
     'temporaries (58.10G) exceeds available HBM (15.75G). HLO module: jit_train_step.', 58.1 * 2 ** 30 + 1000),
    ('INVALID_ARGUMENT: no such option', None)])
def test_what_the_compiler_refuses_for_want_of_memory_says_how_much_it_needs(message: str, needs: float | None) -> None:
    assert refused(message, state=1000) == needs


@pytest.mark.parametrize(('room', 'first', 'expected'), [(100, 4, 96), (100, 100, 100), (3, 8, 2), (7, 1, 7)])
def test_the_largest_batch_is_found_to_an_eighth(room: int, first: int, expected: int) -> None:
    tried = []

    def compile_at(clips: int) -> Compiled:
        tried.append(clips)
        return dataclasses.replace(EMPTY, batch=clips, fits=clips <= room)

    found = largest_batch(compile_at, first)
    assert found.fits
    assert found.batch <= room
    assert found.batch >= room * 7 / 8 - 1
    assert len(tried) == len(set(tried)) < 12


def test_where_nothing_fits_the_smallest_is_told() -> None:
    found = largest_batch(lambda clips: dataclasses.replace(EMPTY, batch=clips, fits=False), 4)
    assert (found.batch, found.fits) == (1, False)


EMPTY = Compiled(Topology.parse('v5e:2x2'), batch=8, parameters=1, state={'parameters': 4}, needs=2e9, flops=197e9,
                 accessed=819e6, exchanges=(), fits=True, compiling=3.0)


def test_bounds_are_those_of_the_published_rates() -> None:
    assert EMPTY.bounds == pytest.approx({'compute': 1e-3, 'memory': 1e-3, 'links': 0})
    assert EMPTY.seconds == pytest.approx(1e-3)


def test_the_table_says_what_it_takes() -> None:
    lines = table([EMPTY, dataclasses.replace(EMPTY, fits=False, flops=math.nan, accessed=math.nan)], steps=3600,
                  core_seconds=0.01).splitlines()
    header, first, second = ([cell.strip() for cell in lines[i].split('|')[1:-1]] for i in (0, 2, 3))
    cells = dict(zip(header, first, strict=True))
    assert cells['clips/s'] == '8,000'  # Of 8 clips in a millisecond.
    assert cells['cores a host'] == '80'
    assert (cells['hours'], cells['chip-hours']) == ('0.001', '0.004')
    assert dict(zip(header, second, strict=True)) == cells | {
        'fits': 'no', **dict.fromkeys(('TFLOPs', 'memory, GB', 'sent, MB', 'compute, ms', 'memory, ms', 'clips/s',
                                       'clips/s a host', 'cores a host', 'hours', 'chip-hours'), '–')}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason="the extra 'plan' is not installed")
def test_the_compiler_for_tpus_needs_no_tpu() -> None:
    found = planned('v5e:2x2', 32)
    assert found.fits
    assert 0 < found.seconds < 1
    assert found.sent > 0
