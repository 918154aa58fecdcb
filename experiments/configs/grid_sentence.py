r"""The sentence of a GRID clip, from the lips and the sound.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio,waveform --short_side=160
  vmmjax train --config=experiments/configs/grid_sentence.py:audio --workdir=runs/sentence --config.data.fold=0
  vmmjax evaluate --workdir=runs/sentence --split=validation
  vmmjax predict clip.mp4 --weights=runs/sentence

`audio` or `rgb` trains one stream alone. Words are written by CTC over 75 moments of the clip; `letters` writes letters
in their place, `joint` has a GRU with attention beside CTC, and a beam of 10. The vocabulary is that of the training
split, and no word order is given: the 51 words and their order are learned.

`local` leaves out the recurrent layers, so that a word is predicted from the frames around it, and has times, and the
silence before and after the sentence, where CTC would learn to say the most frequent words. `grammar` lets only
sentences be found that GRID has (`task.generation.grammar`). `babble` adds other clips to the sound, of the column
waveform. A stream alone begins with an encoder that classifies the six words (`words`), both with runs of each:

  vmmjax train --config=experiments/configs/grid_sentence.py:rgb,local,words --workdir=runs/words
  vmmjax train --config=experiments/configs/grid_sentence.py:rgb,local,grammar --workdir=runs/lips \
      --config.init_from.workdir=runs/words --config.init_from.skip="('params/task',)"

`experiments/ablations/sentence.py` does all of this. Expected of folds 3 and 4, three seeds: a word error rate of 2.6 %
by sound and 27.4 % by lips, in 3 and 8 minutes of a core; in babble at 0 dB 23.6 % by both, 27.0 % by sound, see
`experiments/results/sequences.md`.

Cost on 2 cores: `audio` takes 40 minutes beside other work (1200 steps of about 2 s). Expected, of talker s1, 500
training sentences, seed 0, the split of the manifest and no fold: a word error rate of 17.5 % (95 % interval 15.2 to
20.0) on 100 test sentences, see `experiments/results/sequences.md`. Both streams, `letters` and `joint` were not
trained.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError

STREAMS = ('audio', 'rgb')
ARGUMENTS = (*STREAMS, 'letters', 'joint', 'local', 'words', 'grammar', 'babble')
WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
GRAMMAR = ('(bin|lay|place|set) (blue|green|red|white) (at|by|in|with) '
           '(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|x|y|z) '
           '(zero|one|two|three|four|five|six|seven|eight|nine) (again|now|please|soon)')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `ARGUMENTS`, with commas between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'grid_sentence.py')
    config = configs.defaults()
    config.steps, config.batch_size = 1200, 20
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 200, 200
    config.best.metric, config.best.mode = 'validation/word_error_rate', 'min'
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 2e-3, 100
    config.optimizer.options.weight_decay = 1e-2
    config.task = dict(name='transcription', tokenizer='characters' if 'letters' in chosen else 'words',
                       ctc=0.3 if 'joint' in chosen else 1.0, context=dict(hidden_size=128, num_layers=1))
    if 'joint' in chosen:
        config.task.decoder = dict(name='gru', hidden_size=128)
        config.task.generation = dict(name='beam', beam=10)
    config.data.store, config.data.target = 'stores/grid', 'text'
    config.data.window.seconds = 3.0
    streams = [name for name in STREAMS if name in chosen] or STREAMS
    read = dict(rgb=dict(modality='rgb', frames=75, size=40, region=(0.56, 0.35, 0.86, 0.65)),
                audio=dict(modality='audio'))
    encoders = dict(
        # Both keep time: 25 tokens a second, one a picture.
        rgb=dict(name='tdnn', pool=2, widths=(128, 128), strides=(1, 1), per_frame=True),
        audio=dict(name='conv2d_audio', widths=(16, 32, 64), halvings=2, features=128, bn_momentum=0.95))
    config.data.streams = {name: read[name] for name in streams}
    config.model.preprocess = {name: dict(rgb='centred', audio='none')[name] for name in streams}
    config.model.encoders = {name: encoders[name] for name in streams}
    config.data.augment.crop = 'centre'
    if 'local' in chosen:
        _local(config)
    if 'grammar' in chosen:
        config.task.generation = dict(name='beam', beam=10, grammar=GRAMMAR)
    if 'babble' in chosen:
        _babble(config)
    if len(streams) > 1:
        config.model.fusion = dict(name='over_time', steps=50 if 'local' in chosen else 75, join=dict(name='concat'))
        config.data.dropout = {name: 0.2 if name == 'rgb' else 0.4 for name in config.data.streams}
    else:
        config.model.fusion = dict(name='concat')
    if 'words' in chosen:
        config.steps, config.evaluate_every, config.checkpoint_every = 500, 500, 500
        config.task = dict(name='classification', label_smoothing=0.05)
        config.data.target, config.best.metric = WORDS, ''
    return configs.lock(config)


def _local(config: ConfigDict) -> None:
    """Removes the recurrent layers and most of the silence; the encoders see about .3 s."""
    config.steps = 1000 if 'rgb' in config.data.streams else 600
    config.task.context = {}
    # Of 20 sentences 19 begin by .9 s and end by 2.4 s. In silence CTC learns to say the most frequent words.
    config.data.window.seconds, config.data.window.start = 2.0, (0.4, 0.5)
    if 'rgb' in config.data.streams:
        config.data.streams.rgb.frames = 50
        config.data.augment.update(dict(crop='random', flip=0.5))
        config.model.encoders.rgb.convolutions = (16, 32)
    if 'audio' in config.model.encoders:
        config.data.augment.spec_augment = (2, 8, 2, 8)
        config.model.encoders.audio = dict(name='conv2d_audio', widths=(16, 32, 64, 128), halvings=2, features=128,
                                           bn_momentum=0.95, dropout=0.2)


def _babble(config: ConfigDict) -> None:
    """Adds other clips to the sound; sound alone is initialised from a run on stored spectrograms without them."""
    if 'audio' not in config.data.streams:
        raise UserError("grid_sentence.py:babble adds other clips to the sound, and 'rgb' alone has none; add 'audio'.")
    for part, changed in ((config.data.streams, dict(modality='waveform', noise='babble', snr=(-10.0, 20.0))),
                          (config.model.preprocess, 'log_mel'),
                          (config.model.encoders, config.model.encoders.audio)):
        del part['audio']
        part.waveform = changed
    if 'rgb' in config.model.encoders:
        # Trained on, beside a fusion that is new, CTC sticks, and both are worse than each alone.
        config.model.fixed = ('rgb', 'waveform')
        config.steps, config.optimizer.lr.peak = 600, 1e-2
    else:
        config.steps = 300
        config.init_from.rename = (('encoders_waveform/', 'encoders_audio/'),)
