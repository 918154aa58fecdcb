r"""The words of a GRID sentence, from sound in noise and the lips that say it.

  vmmjax ablate --rows=experiments/ablations/noise.py --workdir=runs/noise --snr=10,5,0,-5,-10 --noise=white,babble

Every row is measured in both noises, those that were trained in one as well. The accuracy is that of all six words,
one less the word error rate; with --metric=accuracy_digit the same command makes the tables of the digit alone. The
store is stores/grid, as experiments/configs/grid_noise.py says. Results: experiments/results/noise.md.
"""

QUESTION = 'Do the lips help where the sound is noisy, and what does training in noise change?'

_CONFIG, _FOLDS = 'experiments/configs/grid_noise.py', (0, 1, 2, 3, 4)


def _row(streams: str, noise: str = '', against: str = '') -> dict:
    config = f'{_CONFIG}:{noise}' if noise else _CONFIG
    return dict(config=config, folds=_FOLDS, changes=dict(streams=streams), against=against)


ROWS = {
    'sound, clean': _row('waveform'),
    'pictures': _row('rgb'),
    'both, clean': _row('rgb+waveform', against='sound, clean'),
    'sound, white': _row('waveform', 'white'),
    'both, white': _row('rgb+waveform', 'white', against='sound, white'),
    'sound, babble': _row('waveform', 'babble'),
    'both, babble': _row('rgb+waveform', 'babble', against='sound, babble'),
}
