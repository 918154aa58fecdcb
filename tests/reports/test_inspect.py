"""What `vmmjax inspect` says of runs of any task."""

import jax.numpy as jnp
import pytest

from vmmjax import config as configs
from vmmjax.reports import inspect
from vmmjax.training import Checkpoints, TrainState


@pytest.fixture
def run(tmp_path):
    """Makes the folder of a run, of some classes and head, whose log ends with half a line."""
    def make(classes, head):
        config = configs.defaults()
        config.data.streams = dict(rgb=dict(modality='rgb'))
        config.model.encoders, config.model.head = dict(rgb=dict(name='i3d', width=4)), head
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(TrainState(jnp.int32(40), {'kernel': jnp.zeros((3, 500))}, {}, ()), {
            'config': configs.to_json(configs.lock(config)), 'fingerprint': 'f' * 64, 'classes': classes})
        checkpoints.close()
        (tmp_path / 'log.jsonl').write_text(
            '{"step": 20, "train/loss": 2.5, "validation/loss": 3}\n{"step": 40, "train/loss": 1.25}\n{"step": 60, "tr')
        return inspect.describe(str(tmp_path)).splitlines()

    return make


def test_a_half_written_line_of_the_log_is_left_out(run):
    lines = run(['a', 'b', 'c'], dict(name='consensus'))
    assert 'label: 3 classes, a, b, c' in lines
    assert [line.split() for line in lines if 'loss' in line] == [
        ['train/loss', '1.25', '40'], ['validation/loss', '3', '20']]
    assert any(line.startswith('fusion concat, head consensus, optimizer adamw') for line in lines)


def test_the_classes_of_several_targets(run):
    lines = run({'verb': ['cut', 'stir'], 'noun': list('abcdefghijklmno')}, dict(name='consensus'))
    assert 'verb: 2 classes, cut, stir' in lines
    assert 'noun: 15 classes, a, b, c, d, e, f, g, h, i, j, k, l, ...' in lines


def test_a_model_without_a_head(run):
    lines = run(['dimension 0'], {})
    assert any(line.startswith('fusion concat, no head, optimizer adamw') for line in lines)
