r"""The words of a GRID sentence, from sound in noise and the lips that say it.

  vmmjax ablate --rows=experiments/ablations/noise.py --workdir=runs/noise --snr=10,5,0,-5,-10 --noise=white,babble

Every row is measured in both noises, those that were trained in one as well. The accuracy is that of all six words,
one less the word error rate; with --metric=accuracy_digit the same command makes the tables of the digit alone. What
fuses both begins with the encoders of the rows of one stream, which stay as they are: a network that learns both at
once from so few sentences learns each of them worse. The store is stores/grid, as experiments/configs/grid_noise.py
says.
"""

QUESTION = 'Do the lips help where the sound is noisy, and what does training in noise change?'

_CONFIG, _FOLDS = 'experiments/configs/grid_noise.py', (0, 1, 2, 3, 4)


def _sound(noise: str) -> dict:
    return dict(config=f'{_CONFIG}:{noise}', folds=_FOLDS, changes=dict(streams='waveform'))


def _both(noise: str) -> dict:
    return dict(config=f'{_CONFIG}:{",".join(filter(None, ["fused", noise]))}', folds=_FOLDS,
                begin=(f'sound, {noise or "clean"}', 'pictures'), against=f'sound, {noise or "clean"}')


ROWS = {
    'sound, clean': _sound(''),
    'sound, white': _sound('white'),
    'sound, babble': _sound('babble'),
    'pictures': dict(config=_CONFIG, folds=_FOLDS, changes=dict(streams='rgb')),
    'both, clean': _both(''),
    'both, white': _both('white'),
    'both, babble': _both('babble'),
}
