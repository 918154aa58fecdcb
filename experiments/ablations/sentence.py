"""The words of a GRID sentence, predicted by CTC from sound and from lips, without recurrent layers.

  vmmjax ablate --rows=experiments/ablations/sentence.py --workdir=runs/sentences --metric=word_error_rate --seeds=3

All folds but the tested one train. The store is stores/grid, as experiments/configs/grid_sentence.py says.
"""

QUESTION = 'How many words of a sentence are written wrong, by sound and by lips?'
_CONFIG, _FOLDS = 'experiments/configs/grid_sentence.py', (1, 2)
_ALL = {'data.fold_validates': False, 'best.metric': ''}

ROWS = {
    'six words': dict(config=f'{_CONFIG}:audio,local,words', folds=_FOLDS, changes=_ALL, pretraining=True),
    'sound': dict(config=f'{_CONFIG}:audio,local,grammar', folds=_FOLDS, begin=('six words',),
                  changes={**_ALL, 'init_from.skip': ('params/task',)}),
    'lips': dict(config=f'{_CONFIG}:rgb,local,grammar', folds=_FOLDS, changes=_ALL, against='lips'),
}
