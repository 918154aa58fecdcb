from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.evaluation import clips
from tests.tasks import asked
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.prepare.array_store import ArrayStore
from vmmjax.training.objective import mean_of, total


def test_the_distance_is_that_of_the_classes_the_teacher_knows_and_zero_where_both_agree():
    told = np.array([[1.0, -2.0, -np.inf], [0.5, 0.0, -np.inf], [0.0, 3.0, -np.inf]], np.float32)
    own = np.array([[0.5, 1.0, 9.0], [1.5, 1.0, -4.0], [7.0, 7.0, 7.0]], np.float32)
    task = asked.task(dict(name='distillation', workdir='runs/old', weight=0.5, temperature=2.0), 'label',
                      classes=['a', 'b', 'c'])
    batch = {'target/label': jnp.array([2, 2, -1]), 'mask': jnp.array([1.0, 1.0, 0.0]), 'teacher/label': told}

    def apply(variables, batch, train, rngs=None, mutable=()):
        return SimpleNamespace(logits=variables['params'], stream_logits={}, present={'x': jnp.ones(3, bool)}), {}

    loss = asked.loss(task, apply, own, batch)

    def share(x):
        return np.exp(x / 2) / np.exp(x / 2).sum(-1, keepdims=True)

    p, q = share(told[:2, :2]), share(own[:2, :2])  # The second row differs by a constant.
    wanted = 0.5 * 4 * (p * np.log(p / q)).sum(-1).mean()
    np.testing.assert_allclose(mean_of(loss.terms['distilled']), wanted, rtol=1e-5)
    assert mean_of(loss.metrics['as_taught']) == 0.5
    slopes = jax.grad(lambda z: mean_of(asked.loss(task, apply, z, batch).terms['distilled']))(own)
    # The gradient of the cross-entropy with soft targets: T (q - p), of the mean, by weight.
    np.testing.assert_allclose(slopes[:2, :2], 0.5 * 2 * (q - p) / 2, atol=1e-6)
    assert not np.any(slopes[2])
    assert not np.any(slopes[:, 2])
    assert np.isfinite(total(loss))
    with pytest.raises(UserError, match='training alone asks for'):
        asked.loss(task, apply, own, {key: batch[key] for key in ('target/label', 'mask')})


@pytest.mark.parametrize(('given', 'message'), [
    (dict(), 'needs a teacher'),
    (dict(workdir='runs/old', temperature=0.0), 'temperature above 0'),
    (dict(workdir='runs/old', weight=-1.0), 'weight of 0 or more'),
])
def test_what_a_config_gets_wrong(given, message):
    with pytest.raises(UserError, match=message):
        asked.task(dict(name='distillation', **given), 'label')


def test_replay_that_is_no_pair_is_refused():
    store = ArrayStore({'train': {'x': np.zeros((4, 2, 1), np.float32), 'label': list('abab')}}, {'x': 2})
    config = configs.defaults()
    config.data.streams, config.data.replay = dict(x=dict(modality='x')), ('stores/old', 0.2)
    with pytest.raises(UserError, match='give pairs of a store and its share'):
        Experiment(config, store)


@pytest.mark.slow
def test_going_on_with_further_classes_keeps_the_old_ones_with_a_teacher_or_old_clips(tmp_path):
    old, new = (clips.make_store(tmp_path / letters, letters) for letters in ('ab', 'c'))
    config = clips.config_of(old, dict(name='classification'), 'letter', steps=60)
    first = Experiment(config, devices=jax.devices()[:1]).train(tmp_path / 'first')

    def gone_on(folder, task, **data):
        config = clips.config_of(new, task, 'letter', steps=40)
        with config.unlocked():
            config.init_from.workdir, config.init_from.classes = str(tmp_path / 'first'), True
            config.data.update(data)
        return Experiment(config, devices=jax.devices()[:1]).train(tmp_path / folder)

    def told(experiment, of=first):
        """Of the test clips of a run's store: which are right, and the probability of a where a or b is."""
        pipeline = of.pipeline('test', train=False)  # All runs give a and b the same numbers.
        found = next(iter(experiment.predictions_of(pipeline.batches(), 'letter', subsets=False).values()))
        return (found.scores.argmax(1) == found.target).mean(), special.softmax(found.scores[:, :2], 1)[:, 0]

    assert told(first)[0] == 1
    naive = gone_on('naive', dict(name='classification'))
    taught = gone_on('taught', dict(name='distillation', workdir=str(tmp_path / 'first'), weight=10.0))
    replayed = gone_on('replayed', dict(name='classification'), replay=((str(old), 0.25),))
    assert naive.task.classes == Experiment.load(tmp_path / 'taught').task.classes == ['a', 'b', 'c']
    assert told(naive)[0] < 0.2  # Without any clip of a or b the network says c of them, too.
    # A teacher keeps what is said of the new clips.
    moved = [np.abs(told(one, naive)[1] - told(first, naive)[1]).mean() for one in (taught, naive)]
    assert moved[0] < moved[1] / 2
    assert told(replayed)[0] > 0.9
    assert replayed.evaluate('test').metrics['accuracy'] > 0.9  # Of the new store alone.
    config = clips.config_of(new, dict(name='distillation', workdir=str(tmp_path / 'first')), 'letter', steps=1)
    with pytest.raises(UserError, match='knows none of the 1 classes'):
        Experiment(config, devices=jax.devices()[:1]).train(tmp_path / 'other')
