import json

import pytest

from vmmjax.cli import blend
from vmmjax.errors import UserError
from vmmjax.evaluation import gradient_blending


def log(folder, training, validation, every=10):
    """Training losses every five steps, validation losses every ten."""
    folder.mkdir()
    with (folder / 'log.jsonl').open('w') as file:
        for i, loss in enumerate(training, 1):
            file.write(json.dumps({'step': 5 * i, 'train/loss': loss}) + '\n')
            if i % 2 == 0:
                file.write(json.dumps({'step': 5 * i, 'validation/loss': validation[i // 2 - 1]}) + '\n')
    return folder


def test_what_is_measured_of_a_run(tmp_path):
    found = gradient_blending.estimate(log(tmp_path / 'rgb', [3, 2, 1.5, 1.2, .8, .4], [2.1, 1.8, 1.6]))
    assert found.steps == (10, 30)
    assert found.generalisation == pytest.approx(.5)
    assert found.overfitting == pytest.approx((1.6 - .4) - (2.1 - 2))


def test_what_overfits_twice_as_much_weighs_a_quarter():
    found = gradient_blending.weights({'rgb': gradient_blending.Estimate((0, 9), .5, .2),
                                       'audio': gradient_blending.Estimate((0, 9), .5, -.4),
                                       'text': gradient_blending.Estimate((0, 9), -.1, .2)})
    assert found == pytest.approx({'rgb': .8, 'audio': .2, 'text': 0})


@pytest.mark.parametrize(('estimates', 'message'), [
    ({'rgb': gradient_blending.Estimate((0, 9), .5, 0.)}, "run of 'rgb' shows no overfitting"),
    ({'rgb': gradient_blending.Estimate((0, 9), -.5, .1)}, 'None of the runs'),
])
def test_measurements_of_which_no_weights_follow(estimates, message):
    with pytest.raises(UserError, match=message):
        gradient_blending.weights(estimates)


def test_a_log_that_is_too_short_or_missing(tmp_path):
    with pytest.raises(UserError, match='has 1 validations with a training loss'):
        gradient_blending.estimate(log(tmp_path / 'short', [1, 2], [3]))
    with pytest.raises(UserError, match=r'log\.jsonl is not there'):
        gradient_blending.estimate(tmp_path)


def test_the_command_prints_what_belongs_into_the_config(tmp_path, capsys):
    rgb = log(tmp_path / 'rgb', [2, 2, 1, 1], [2.0, 1.5])
    both = log(tmp_path / 'both', [2, 2, 0.5, 0.5], [2.0, 1.5])
    blend.main([f'rgb={rgb}', f'fused={both}'])
    said = capsys.readouterr().out
    assert "config.task.stream_weights = {'rgb': 0.8000, 'fused': 0.2000}" in said
    with pytest.raises(UserError, match='is no stream and its run'):
        blend.main([str(rgb)])
