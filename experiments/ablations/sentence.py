"""The words of a GRID sentence, predicted by CTC from sound, from lips, and from both beside other speech.

  vmmjax ablate --rows=experiments/ablations/sentence.py --workdir=runs/sentences --metric=word_error_rate --seeds=3 \
      --snr=0 --noise=babble --page=experiments/results/sequences.md

All folds but the tested one train. Both streams begin with the encoders of the rows above, each alone is compared with
them. The store is stores/grid, as experiments/configs/grid_sentence.py says.
"""

from typing import Any

QUESTION = 'How many words of a sentence are wrong, by sound, by lips, and by both beside other speech?'
_CONFIG, _FOLDS = 'experiments/configs/grid_sentence.py', (3, 4)
_BOTH = 'both, trained in babble'


def _row(arguments: str, *begin: str, new: tuple[str, ...] = (), against: str = '', **options: Any) -> dict[str, Any]:
    """A row without validation, which begins with others but for what is new."""
    changes = {'data.fold_validates': False, 'best.metric': '', 'init_from.skip': new}
    return dict(config=f'{_CONFIG}:{arguments}', folds=_FOLDS, changes=changes, begin=begin, against=against, **options)


_WRITER = ('params/task',)
ROWS = {
    'six words by sound': _row('audio,local,words', pretraining=True),
    'six words by lips': _row('rgb,local,words', pretraining=True),
    'sound': _row('audio,local,grammar', 'six words by sound', new=_WRITER),
    'lips': _row('rgb,local,grammar', 'six words by lips', new=_WRITER, against=_BOTH),
    'sound, trained in babble': _row('audio,local,grammar,babble', 'sound', against=_BOTH),
    _BOTH: _row('audio,rgb,local,grammar,babble', 'sound, trained in babble', 'lips', new=(*_WRITER, 'fusion')),
}
