r"""A sentence finds the GRID clip in which it is said, by the sound: towers of one contrastive run, for `vmmjax index`.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=audio
  vmmjax train --config=experiments/configs/grid_search.py --workdir=runs/search
  vmmjax evaluate --workdir=runs/search
  vmmjax index stores/grid --weights=runs/search --output=indexes/grid --split=test
  vmmjax search indexes/grid 'place red at a four now'

The audio encoder is that of grid_sentence.py; `--config.init_from.workdir=runs/sentence` begins with one that has
learned to write words. `experiments/find_sentences.py` prints the recalls beside their controls,
`experiments/results/search.md` has them.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; it has no arguments."""
    configs.choices(arg, (), 'grid_search.py')
    config = configs.defaults()
    config.steps, config.batch_size = 600, 50
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 100, 100
    config.optimizer.lr.peak = 2e-3
    config.optimizer.options.weight_decay = 1e-2
    config.task = dict(name='contrastive', streams=('audio', 'text'), hidden=(256,))
    config.data.store = 'stores/grid'
    config.data.window.seconds = 3.0
    config.data.streams = dict(audio=dict(modality='audio'), text=dict(modality='text:text', length=6))
    config.data.augment.update(dict(time_shift=0.15, spec_augment=(2, 20, 2, 8)))
    config.model.head = {}
    config.model.preprocess = dict(audio='none', text='ids')
    config.model.encoders = dict(
        audio=dict(name='conv2d_audio', widths=(16, 32, 64), halvings=2, features=128, bn_momentum=0.95),
        text=dict(name='gru', embedding_size=128, hidden_size=128))
    config.init_from.skip = ('text', 'task')
    return configs.lock(config)
