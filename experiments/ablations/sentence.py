"""The words of a GRID sentence, predicted by CTC from sound, from lips, and from both beside other speech.

  vmmjax ablate --rows=experiments/ablations/sentence.py --workdir=runs/sentences --metric=word_error_rate --seeds=3 \
      --snr=0 --noise=babble --page=experiments/results/sequences.md

All folds but the tested one train. Both streams begin with the encoders of the rows above, each alone is compared with
them; beside them stand classifiers of the six words. The store is stores/grid, as the configs say.
"""

from typing import Any

QUESTION = 'How many words of a sentence are wrong, by sound, by lips, and by both beside other speech?'
_CONFIGS, _FOLDS = 'experiments/configs/', (3, 4)
_BOTH = 'both, trained in babble'


def _row(config: str, *begin: str, against: str = '', **options: Any) -> dict[str, Any]:
    """A row without validation, which begins with the encoders of others."""
    changes = {'data.fold_validates': False, 'best.metric': '', **options.pop('changes', {}),
               **({'init_from.skip': ('params/task',)} if begin else {})}
    return dict(config=_CONFIGS + config, folds=_FOLDS, changes=changes, begin=begin, against=against, **options)


ROWS = {
    'six words by lips': _row('grid_sentence.py:rgb,local,words', pretraining=True),
    'sound': _row('grid_sentence.py:audio,local,grammar'),
    'lips': _row('grid_sentence.py:rgb,local,grammar', 'six words by lips', against=_BOTH),
    'sound, trained in babble': _row('grid_sentence.py:audio,local,grammar,babble', 'sound', against=_BOTH),
    _BOTH: _row('grid_sentence.py:audio,rgb,local,grammar,babble', 'sound, trained in babble', 'lips'),
    'sound, six classifiers': _row('grid_noise.py', changes={'streams': 'waveform'}),
    'lips, six classifiers': _row('grid_noise.py', changes={'streams': 'rgb'}, against='lips'),
}
