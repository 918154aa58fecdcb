r"""A sentence finds the GRID clip in which it is said, by the sound: towers of one contrastive run, for `vmmjax index`.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=audio
  vmmjax train --config=experiments/configs/grid_sentence.py:audio --workdir=runs/sentence
  vmmjax train --config=experiments/configs/grid_search.py --workdir=runs/search \
      --config.init_from.workdir=runs/sentence
  vmmjax evaluate --workdir=runs/search
  vmmjax index stores/grid --weights=runs/search --output=indexes/grid --split=test
  vmmjax search indexes/grid 'place red at a four now'

The audio encoder is that of a run of grid_sentence.py, which has learned to write words, and stays as it is; what is
learned is the text tower and both projections, in a minute on 2 cores. `experiments/find_sentences.py` prints the
recalls beside their controls. Expected: recall@1 84 % of 100 test clips (`experiments/results/search.md`).
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; it has no arguments."""
    configs.choices(arg, (), 'grid_search.py')
    config = configs.defaults()
    config.steps, config.batch_size = 160, 50
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 80, 80
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 5e-3, 20
    config.optimizer.options.weight_decay = 1e-2
    config.task = dict(name='contrastive', streams=('audio', 'text'))
    config.data.store = 'stores/grid'
    config.data.window.seconds = 3.0
    config.data.streams = dict(audio=dict(modality='audio'), text=dict(modality='text:text', length=6))
    config.model.head = {}
    config.model.preprocess = dict(audio='none', text='ids')
    config.model.encoders = dict(
        audio=dict(name='conv2d_audio', widths=(16, 32, 64), halvings=2, features=128, bn_momentum=0.95),
        text=dict(name='gru', embedding_size=128, hidden_size=128))
    config.model.fixed = ('audio',)
    config.init_from.skip = ('text', 'fusion')
    return configs.lock(config)
