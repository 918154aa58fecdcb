r"""A sentence finds the GRID clip in which it is said, by sound or by lips: towers of one run, for `vmmjax index`.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_sentence.py:audio,local,grammar --workdir=runs/sentence
  vmmjax train --config=experiments/configs/grid_search.py --workdir=runs/search \
      --config.init_from.workdir=runs/sentence
  vmmjax evaluate --workdir=runs/search
  vmmjax index stores/grid --weights=runs/search --output=indexes/grid --split=test
  vmmjax search indexes/grid 'place red at a four now'

`grid_search.py:rgb` searches by the lips, from a run of `grid_sentence.py:rgb,local,grammar`. The encoder is that of a
run of grid_sentence.py, whose docstring says how it is trained, and stays as it is; what is learned is the text tower
and both projections, in a minute on 2 cores. `experiments/find_sentences.py` does all of it. Expected: recall@1 of 100
test clips 95 to 98 % by sound, 53 to 58 % by lips, see `experiments/results/search.md` for the controls.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is `audio`, also if empty, or `rgb`."""
    stream = 'rgb' if 'rgb' in configs.choices(arg, ('audio', 'rgb'), 'grid_search.py') else 'audio'
    sentence = configs.load(Path(__file__).with_name('grid_sentence.py')).get_config(f'{stream},local')
    config = configs.defaults()
    config.steps, config.batch_size = 160, 50
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 80, 80
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 5e-3, 20
    config.optimizer.options.weight_decay = 1e-2
    config.task = dict(name='contrastive', streams=(stream, 'text'))
    config.data.store = 'stores/grid'
    config.data.window = sentence.data.window
    config.data.augment.crop = 'centre'
    config.data.streams = {stream: sentence.data.streams[stream], 'text': dict(modality='text:text', length=6)}
    config.model.head = {}
    config.model.preprocess = {stream: sentence.model.preprocess[stream], 'text': 'ids'}
    config.model.encoders = {stream: sentence.model.encoders[stream],
                             'text': dict(name='gru', embedding_size=128, hidden_size=128)}
    config.model.fixed = (stream,)
    config.init_from.skip = ('text', 'fusion')
    return configs.lock(config)
