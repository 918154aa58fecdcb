r"""VGGish: Hershey et al., "CNN Architectures for Large-Scale Audio Classification", 2017; Gemmeke et al., "Audio Set:
An Ontology and Human-Labeled Dataset for Audio Events", 2017.

  vmmjax train --config=experiments/papers/vggish.py:audioset --workdir=runs/papers/vggish/audioset

experiments/papers/README.md has the commands of every row, the published figures and the cost; `ROWS` names the rows.
The network stays as released, and what is trained answers for every 0.96 s of sound, the clip's answer being the mean.

Published are the network, its front end (`vggish`) and the figure of AudioSet; the network was trained on videos that
were not. How the classifier on the embeddings was trained is not published; that it is linear, and all that trains it,
is chosen here. No figure of ESC-50 by the network's authors was found, and none is entered.
"""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

STORES = {
    'stores/audioset_vggish': '--source=audioset:balanced_train_segments.csv,unbalanced_train_segments.csv,'
                              'eval_segments.csv --media=audioset --columns=audio --front_end=vggish',
    'stores/esc50_vggish': '--source=esc50:ESC-50-master/meta/esc50.csv --columns=audio --front_end=vggish',
}
STARTS = {'runs/papers/vggish/released': 'vmmjax convert vggish_model.ckpt --output=runs/papers/vggish/released'}
_DIFFERS = ('The classifier is linear, and not the shallow network of the paper; the embeddings are the released '
            "network's, as it is, and not those of the older one that made AudioSet's.")

ROWS: dict[str, dict[str, Any]] = {
    'audioset': dict(
        classes=527, source='Gemmeke et al. 2017, as Kong et al. 2020 quote it (table IV)', differs=_DIFFERS,
        tests={'whole clip of 10 s': ({}, {'mAP': 31.4, 'AUC': 95.9})}),
    'esc50': dict(classes=50, folds=(1, 2, 3, 4, 5), tests={'whole clip of 5 s, mean of five folds': ({}, {})}),
}


def get_config(arg: str = 'audioset') -> ConfigDict:
    """The config of a row of `ROWS`."""
    if arg not in ROWS:
        raise UserError(f'vggish.py has no row {arg!r}: {did_you_mean(arg, ROWS)}.')
    config = configs.defaults()
    config.log_every = 100
    config.data.store = f'stores/{arg}_vggish'
    config.data.streams = dict(audio=dict(modality='audio'))
    config.model.preprocess = dict(audio='none')
    config.model.encoders = dict(audio=dict(name='vggish'))
    config.model.head.dropout = 0.0
    config.init_from.workdir, config.init_from.skip = 'runs/papers/vggish/released', ('head',)
    config.freeze = ('encoders_audio',)
    if arg == 'audioset':
        config.task.name = 'multi_label'
        del config.task.label_smoothing
        config.steps, config.batch_size, config.data.window.seconds = 100_000, 256, 10.0
    else:
        config.steps, config.data.window.seconds, config.data.fold_validates = 2000, 5.0, False
    config.evaluate_every, config.checkpoint_every = 0, 1000
    return configs.lock(config)
