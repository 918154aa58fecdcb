import jax
import numpy as np
import pytest

from tests.serving.live import reading
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.serving import bundle
from vmmjax.serving.live.judge import Judge, rules_of
from vmmjax.serving.live.windows import Window


def test_sound_that_is_frozen_is_sound_that_is_absent(films, judge):
    found, _, _ = reading.windows_of(films / 'film.mp4')
    window = found[1]
    deaf = Window(window.start, {'rgb': window.frames['rgb']}, window.sizes)
    (whole, present, _), (frozen, left, _) = judge([window, deaf])
    assert (present, left) == (['audio', 'rgb'], ['rgb'])
    batch = judge._batches.of([window, window], judge._sizes[-1])
    run = judge._run
    batch['present/audio'][:] = False
    batch['audio'][:] = np.nan
    scores = jax.device_get(run.apply(run.variables, batch, train=False).logits)
    (level,) = frozen['from to to']
    np.testing.assert_allclose(level.values[0], 1 / (1 + np.exp(-scores[0, :, 0])), atol=1e-6)
    assert np.abs(whole['from to to'][0].values - level.values).max() > 1e-3


def test_rules_are_those_of_the_task_unless_told_otherwise(judge):
    (rules,) = rules_of(judge, [], {}).values()
    assert rules == (0.7, 0.4, 0.5, 0.0)
    (rules,) = rules_of(judge, ['from to to'], {'high': 0.3, 'cool_down': 5.0}).values()
    assert rules == (0.3, 0.3, 0.5, 5.0)
    with pytest.raises(UserError, match="names 'fight'"):
        rules_of(judge, ['fight'], {})
    with pytest.raises(UserError, match=r'--low=0.9 is above --high=0.7'):
        rules_of(judge, [], {'low': 0.9})


@pytest.mark.slow
def test_a_bundle_judges_as_the_run_that_it_was_made_of(films, lights_run, judge, tmp_path):
    bundle.write(lights_run, tmp_path / 'lights.vmmjax', say=lambda _: None)
    packed = Judge(Experiment.load(tmp_path / 'lights.vmmjax'), 2)
    assert (packed.names, packed.window, packed.rules) == (judge.names, judge.window, judge.rules)
    found, _, _ = reading.windows_of(films / 'film.mp4')
    for windows in (found[:2], found[2:3]):
        for (levels, present, _), (expected, there, _) in zip(packed(windows), judge(windows), strict=True):
            assert present == there
            np.testing.assert_allclose(levels['from to to'][0].values, expected['from to to'][0].values, atol=1e-6)
