"""Every system of the mission, beside its streams alone.

  vmmjax ablate --rows=experiments/ablations/systems.py --workdir=runs/systems

The stores are stores/grid, stores/fights and stores/esc10, as the configs under experiments/configs/systems/ say. With
--folds=1,2 it takes two fifths of the time. A run takes one to seven minutes on one core;
experiments/results/systems.md has the table.
"""

from typing import Any

QUESTION = ('Does every system beat the most frequent class on real clips it was not trained on, and does fusion beat '
            'the best of its streams?')

_SYSTEMS = 'experiments/configs/systems/'
_GRID = _FIGHTS = (0, 1, 2, 3, 4)
_ESC10 = (1, 2, 3, 4)


def _row(config: str, folds: tuple[int, ...], streams: str = '', against: str = '', **changes: Any) -> dict:
    return dict(config=_SYSTEMS + config, folds=folds, changes={**({'streams': streams} if streams else {}), **changes},
                against=against)


# Words are learned slowly and cost nothing. What joins them with pictures begins with encoders that were trained alone,
# in rows above: in as many steps as pictures need, words would be left half learned.
_LONG = dict(steps=1500, evaluate_every=500, checkpoint_every=500)
# Three networks that know their part are soon joined.
_SHORT = dict(steps=150, evaluate_every=75, checkpoint_every=75)
_DIGIT = ('digit: pictures, I3D', 'digit: motion, TSM', 'digit: sound')


def _joined(config: str, *alone: str, **changes: Any) -> dict:
    """A row that begins with these, and is compared with the last of them."""
    return dict(config=_SYSTEMS + config, folds=_GRID, changes={'init_from.skip': ('head', 'fusion'), **changes},
                begin=alone, against=alone[-1])


ROWS = {
    # The command of a GRID sentence: each stream alone, then what joins them.
    'command: pictures, I3D': _row('i3d_tsm.py', _GRID, 'i3d'),
    'command: pictures, TSM': _row('i3d_tsm.py', _GRID, 'tsm'),
    'command: motion, TSM': _row('i3d_tsm_audio.py', _GRID, 'tsm'),
    'command: sound': _row('i3d_tsm_audio.py', _GRID, 'audio'),
    'command: pictures, ResNet': _row('resnet_lstm.py', _GRID, 'rgb'),
    'command: pictures, VGG': _row('bert_vgg.py', _GRID, 'rgb'),
    'command: pictures, CNN': _row('cnn_bilstm.py', _GRID, 'rgb'),
    'command: pictures, video transformer': _row('video_transformer_audio.py', _GRID, 'rgb'),
    'command: sound, Conv1D': _row('vgg_lstm_conv1d.py', _GRID, 'waveform'),
    'command: text, LSTM': _row('resnet_lstm.py', _GRID, 'text', **_LONG),
    'command: text, BiLSTM': _row('cnn_bilstm.py', _GRID, 'text', **_LONG),
    'command: text, BERT': _row('bert_vgg.py', _GRID, 'text', **_LONG),
    'command: I3D + TSM, average': _row('i3d_tsm.py', _GRID, against='command: pictures, I3D'),
    'command: I3D + TSM, concatenation': _row('i3d_tsm.py:concat', _GRID, against='command: pictures, I3D'),
    'command: I3D + TSM + sound, attention': _row('i3d_tsm_audio.py', _GRID, against='command: sound'),
    'command: I3D + TSM + sound, bottleneck': _row('i3d_tsm_audio.py:bottleneck', _GRID, against='command: sound'),
    'command: ResNet-18 + LSTM, concatenation': _joined('resnet_lstm.py', 'command: pictures, ResNet',
                                                        'command: text, LSTM'),
    'command: VGG16 + LSTM + Conv1D, additive': _joined('vgg_lstm_conv1d.py', 'command: pictures, VGG',
                                                        'command: text, LSTM', 'command: sound, Conv1D'),
    'command: BERT + VGG16, concatenation': _joined('bert_vgg.py', 'command: pictures, VGG',
                                                     'command: text, BERT'),
    'command: CNN + BiLSTM, tanh-concatenation': _joined('cnn_bilstm.py', 'command: pictures, CNN',
                                                         'command: text, BiLSTM'),
    'command: video transformer + audio, bottleneck': _row('video_transformer_audio.py', _GRID,
                                                           against='command: sound'),
    # The digit, which the text does not tell.
    'digit: pictures, I3D': _row('i3d_tsm_audio.py:digit', _GRID, 'i3d'),
    'digit: motion, TSM': _row('i3d_tsm_audio.py:digit', _GRID, 'tsm', 'digit: pictures, I3D'),
    'digit: sound': _row('i3d_tsm_audio.py:digit', _GRID, 'audio', 'digit: pictures, I3D'),
    'digit: I3D + TSM + sound, attention': _joined('i3d_tsm_audio.py:digit', *_DIGIT, **_SHORT),
    'digit: I3D + TSM + sound, bottleneck': _joined('i3d_tsm_audio.py:digit,bottleneck', *_DIGIT, **_SHORT),
    # Fights of surveillance cameras; folds are grouped by source video.
    'fights: pictures, I3D': _row('two_stream_i3d.py', _FIGHTS, 'rgb'),
    'fights: motion, I3D': _row('two_stream_i3d.py', _FIGHTS, 'flow', 'fights: pictures, I3D'),
    'fights: pictures, TSM': _row('i3d_tsm.py:fights', _FIGHTS, 'tsm', 'fights: pictures, I3D'),
    'fights: two-stream I3D, sum of logits': _row('two_stream_i3d.py', _FIGHTS, against='fights: pictures, I3D'),
    'fights: I3D + TSM, average': _row('i3d_tsm.py:fights', _FIGHTS, against='fights: pictures, I3D'),
    'fights: I3D + TSM, concatenation': _row('i3d_tsm.py:fights,concat', _FIGHTS, against='fights: pictures, I3D'),
    # ESC-10.
    'ESC-10: Cnn10': _row('audio.py:cnn10', _ESC10),
    'ESC-10: Cnn14': _row('audio.py:cnn14', _ESC10, against='ESC-10: Cnn10'),
    'ESC-10: VGGish': _row('audio.py:vggish', _ESC10, against='ESC-10: Cnn10'),
    'ESC-10: ResNet22': _row('audio.py:resnet', _ESC10, against='ESC-10: Cnn10'),
}
