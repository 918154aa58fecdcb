import time

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.training import tiny
from vmmjax.tasks import Classification
from vmmjax.training import Player, Players, make_train_step, throughput
from vmmjax.training.state import initializer


@pytest.mark.parametrize(('kind', 'peak'), [
    ('TPU v5 lite', 197e12), ('TPU v5p', 459e12), ('TPU v6 lite', 918e12), ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA H100 80GB HBM3', 989e12), ('NVIDIA H200', 989e12), ('cpu', None)])
def test_published_peaks(kind, peak):
    assert throughput.peak_flops(kind) == peak


@pytest.fixture
def step():
    """2 x 64 x 64 x 64 FLOPs."""
    return jax.jit(jnp.dot).lower(*[jnp.zeros((64, 64))] * 2).compile()


def test_utilisation_is_the_steps_flops_over_the_peak(monkeypatch, step):
    monkeypatch.setitem(throughput.PEAK_FLOPS, 'cpu', 1e6)
    measured = throughput.Meter(8, step, time.monotonic())
    for _ in range(4):
        with measured.waiting():
            time.sleep(0.01)
    values = measured.interval()
    assert values['mfu'] == pytest.approx(2 * 64**3 / 1e6 * values['clips_per_second'] / 8, rel=0.05)


def test_flops_of_microbatches_are_those_of_the_batch(monkeypatch):
    monkeypatch.setitem(throughput.PEAK_FLOPS, 'cpu', 1.0)
    model, who, batch = tiny.Tiny(width=64), Players(Player(optax.sgd(0.1))), next(tiny.batches(0, 512))
    state = initializer(lambda key: model.init(key, batch, train=False), who)(jax.random.key(0))
    found = []
    for count in (1, 2, 8):
        train_step = make_train_step(model.apply, Classification(target='label'), who, seed=0, microbatches=count)
        compiled = jax.jit(train_step).lower(state, batch).compile()
        measured = throughput.Meter(512, compiled, time.monotonic(), microbatches=count)
        with measured.waiting():
            pass
        values = measured.interval()
        found.append(values['mfu'] / values['clips_per_second'])
    assert found[1:] == pytest.approx([found[0]] * 2, rel=0.05)


def test_nobody_waits_while_the_device_works(step):
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 2000, lambda _, y: y @ x, x)).lower(jnp.eye(300)).compile()
    measured = throughput.Meter(8, step, time.monotonic())
    working = slow(jnp.eye(300))
    with measured.waiting({'loss': working}):
        time.sleep(0.01)
        assert not working.is_ready()
    jax.block_until_ready(working)
    assert measured.interval()['input_wait'] == 0
    with measured.waiting({'loss': working}):
        time.sleep(0.3)
    assert measured.interval()['input_wait'] > 0.5


def test_goodput_leaves_out_waiting_evaluation_and_what_came_before(step):
    measured = throughput.Meter(8, step, began=time.monotonic() - 0.2, elapsed=0.2, goodput=0.5)
    with measured.waiting():
        time.sleep(0.1)
    with measured.apart():
        time.sleep(0.2)
    time.sleep(0.1)
    values = measured.interval()
    assert values['input_wait'] == pytest.approx(0.5, abs=0.2)
    assert values['elapsed'] == pytest.approx(0.8, abs=0.2)
    assert values['goodput'] == pytest.approx((0.1 + 0.1) / 0.8, abs=0.1)
