"""The config of the golden run: three shipped encoders, as narrow as they come, and most parts of a state."""

from vmmjax import config as configs


def get_config():
    config = configs.defaults()
    config.steps, config.batch_size = 2, 4
    config.log_every, config.evaluate_every, config.checkpoint_every = 1, 2, 2
    config.optimizer.lr.warmup_steps = 0
    config.ema_decay = 0.5
    config.data.target = 'tone'
    config.data.window.seconds = 1.6
    config.data.streams = dict(rgb=dict(modality='rgb', frames=4, size=16), audio=dict(modality='audio'),
                               text=dict(modality='text:label', tokenizer='characters', length=16, mask_rate=0.5))
    config.data.augment.flip = 0.5
    config.data.dropout = dict(rgb=0.3, audio=0.3)
    config.model.preprocess = dict(rgb='signed', audio='none', text='ids')
    config.model.encoders = dict(
        rgb=dict(name='patches', size=(1, 8, 8), hidden_size=8),
        audio=dict(name='conv2d_audio', widths=(4,), features=8, bn_momentum=0.5),
        text=dict(name='lstm', vocab_size=24, embedding_size=4, hidden_size=8))
    return configs.lock(config)
