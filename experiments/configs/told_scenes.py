r"""Captions of the embedded data set whose every word one stream tells, questions, and summaries of joined scenes.

  vmmjax prepare --source=synthetic:told_scenes --store=stores/told_scenes --columns=rgb,audio --short_side=56 \
      --fps=12.5
  vmmjax train --config=experiments/configs/told_scenes.py --workdir=runs/captions
  vmmjax train --config=experiments/configs/told_scenes.py:questions --workdir=runs/questions \
      --config.init_from.workdir=runs/captions
  vmmjax evaluate --workdir=runs/questions

  vmmjax prepare --source=synthetic:joined_scenes --store=stores/joined_scenes --columns=rgb,audio --short_side=56 \
      --fps=12.5 --sizes=train=160,validation=20,test=60
  vmmjax train --config=experiments/configs/told_scenes.py:summaries --workdir=runs/summaries \
      --config.init_from.workdir=runs/captions

Questions begin with the encoders of the captions, since a quarter of the clips has a question of each kind, and
summaries with that of the pictures. `experiments/told_scenes.py` does all of it and prints what is said of every
attribute by which streams; `experiments/results/told_scenes.md` has what they reach and what it costs.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

ARGUMENTS = ('questions', 'summaries')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty for captions, or one of `ARGUMENTS`."""
    chosen = configs.choices(arg, ARGUMENTS, 'told_scenes.py')
    config = configs.defaults()
    config.steps, config.batch_size = 720, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 180, 60
    config.optimizer.lr.peak = 3e-3
    config.data.augment.color = 0.1
    config.model.preprocess.rgb = 'signed'
    config.model.encoders.rgb = dict(name='i3d', width_multiplier=0.125, bn_momentum=0.9)
    if 'summaries' in chosen:
        return _summaries(config)
    config.data.store = 'stores/told_scenes'
    config.data.streams = dict(rgb=dict(modality='rgb', frames=8, sampling='dense', size=48),
                               audio=dict(modality='audio'))
    config.data.dropout = dict(rgb=0.15, audio=0.15)
    config.model.preprocess.audio = 'none'
    config.model.encoders.audio = dict(name='conv2d_audio', widths=(8, 16, 32, 64), bn_momentum=0.9)
    if 'questions' in chosen:
        config.steps, config.evaluate_every = 480, 160
        config.data.target = 'answer'
        config.data.streams.question = dict(modality='text:question', length=8)
        config.model.preprocess.question = 'ids'
        config.model.encoders.question = dict(name='gru', embedding_size=32, hidden_size=64, num_layers=1)
        config.model.fusion = dict(name='transformer', features=64)
        config.init_from.skip = ('fusion', 'question')
        config.task = dict(name='question_answering', kinds='kind', decoder=dict(name='gru', hidden_size=64))
    else:
        config.data.target = 'caption'
        config.task = dict(name='captioning', decoder=dict(name='lstm', hidden_size=128))
    return configs.lock(config)


def _summaries(config: ConfigDict) -> ConfigDict:
    """Pictures alone tell the events: 32 of them in 3.2 s, a token each .8 s."""
    config.steps, config.batch_size, config.evaluate_every = 600, 12, 200
    config.optimizer.lr.peak = 2e-3
    config.data.store, config.data.target = 'stores/joined_scenes', ('from', 'to')
    config.data.window.seconds, config.data.views.clips = 3.2, 18
    config.data.streams.rgb = dict(modality='rgb', frames=32, sampling='dense', size=48)
    config.model.fusion, config.model.head = dict(name='concat'), dict(name='per_token')
    config.task = dict(name='summarization', share=0.15, segment=0.8)
    config.init_from.skip = ('head',)
    return configs.lock(config)
