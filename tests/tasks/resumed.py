"""A run that is killed and goes on, beside one that is not."""

import itertools

import jax
import pytest

from tests.training import tiny
from vmmjax import config as configs
from vmmjax.training import make_mesh, train
from vmmjax.training.workdir import hold


def assert_goes_on_bit_for_bit(folder, *, apply, init, task, clips, **changes):
    """Trains for 6 steps at once, and again with a kill in the fifth after a checkpoint at the fourth.

    Args:
      folder: for both runs.
      apply: the model on a raw clip batch.
      init: its variables, with the task's.
      task: what is minimised.
      clips: the batch of a step.
      changes: of the config.
    """
    config = tiny.config(**{'steps': 6, 'checkpoint_every': 2, **changes})

    def run(name, feed):
        with hold(folder / name):
            return train(config, folder / name, mesh=make_mesh(config.mesh, jax.devices()[:1]), apply=apply, init=init,
                         objective=task, batches=feed, evaluate=lambda state: {},
                         identity={'config': configs.to_json(config), 'fingerprint': 'f', 'classes': []})

    def endless(first):
        return map(clips, itertools.count(first))

    def dying(first):
        yield from map(clips, range(first, 5))
        raise KeyboardInterrupt

    whole = run('whole', endless)
    with pytest.raises(KeyboardInterrupt):
        run('killed', dying)
    tiny.assert_equal(run('killed', endless), whole)
    return whole
