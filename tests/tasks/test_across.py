import jax
import numpy as np
import pytest

from tests.tasks import across
from tests.training import processes
from tests.training.exact import assert_saved


@pytest.mark.slow
def test_in_two_processes_contrast_and_adversary_move_as_in_one(tmp_path):
    # Negatives are of the global batch, and both players see all of it.
    started = processes.begin('tests.tasks.across', tmp_path / 'run', processes=2, devices=1, folder=str(tmp_path))
    with jax.enable_x64(True):
        setups = {name: make() for name, make in across.SETUPS.items()}
        ones = {name: setup.one(across.STEPS) for name, setup in setups.items()}
    assert processes.finish(started, timeout=900) == [0] * 2, processes.output(tmp_path / 'run')
    for name, one in ones.items():
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, setups[name].start.params)
        for part in moved.keys() & {'encoders_rgb', 'task', 'task_training'}:
            assert max(jax.tree.leaves(moved[part])) > 1e-4, (name, part)
        assert_saved(tmp_path, name, one)
