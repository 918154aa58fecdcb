"""A store and a run of an early version stay readable: README.md beside this file says how they were made."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.golden_run import observe

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / 'expected.json').read_text())


@pytest.fixture
def folder(tmp_path):
    for name in ('store', 'run'):
        shutil.unpack_archive(HERE / f'{name}.tar.xz', tmp_path, filter='data')
    return tmp_path


def check_close(found, expected):
    """Compares two trees of numbers, to 1e-5 relative or absolute."""
    jax.tree_util.tree_map_with_path(lambda path, value, wanted: np.testing.assert_allclose(
        value, wanted, rtol=1e-5, atol=1e-5, err_msg=jax.tree_util.keystr(path)), found, expected)


def test_its_store_gives_the_same_batches_bit_for_bit(folder):
    found = observe.batches(folder)
    # Later versions may add keys to a batch, such as `row`.
    assert {split: {name: found[split][name] for name in arrays} for split, arrays in EXPECTED['batches'].items()
            } == EXPECTED['batches']


def test_its_checkpoint_is_read_bit_for_bit(folder):
    assert observe.digests(observe.state(folder)) == EXPECTED['state']


def test_it_is_evaluated_and_trains_on(folder):
    found, expected = observe.evaluated(folder), EXPECTED['evaluated']
    # Later versions may add metrics, such as `auc`.
    check_close({**found, 'metrics': {name: found['metrics'][name] for name in expected['metrics']}}, expected)
    check_close(observe.resumed(folder), EXPECTED['resumed'])
