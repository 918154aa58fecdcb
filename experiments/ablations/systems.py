"""Every system of the mission, beside its streams alone.

  vmmjax ablate --rows=experiments/ablations/systems.py --workdir=runs/systems

The stores are stores/grid, stores/fights and stores/esc10, as the configs under experiments/configs/systems/ say. With
--folds=1,2 it takes two fifths of the time. A run takes one to four minutes on one core; experiments/results/systems.md
has the table.
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


# Words are learned slowly and cost nothing.
_LONG = dict(steps=1500, evaluate_every=500, checkpoint_every=500)


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
    'command: ResNet-18 + LSTM, concatenation': _row('resnet_lstm.py', _GRID, against='command: text, LSTM'),
    'command: VGG16 + LSTM + Conv1D, additive': _row('vgg_lstm_conv1d.py', _GRID, against='command: sound, Conv1D'),
    'command: BERT + VGG16, concatenation': _row('bert_vgg.py', _GRID, against='command: text, BERT'),
    'command: CNN + BiLSTM, tanh-concatenation': _row('cnn_bilstm.py', _GRID, against='command: text, BiLSTM'),
    'command: video transformer + audio, bottleneck': _row('video_transformer_audio.py', _GRID,
                                                           against='command: sound'),
    # The digit, which the text does not tell.
    'digit: pictures, I3D': _row('i3d_tsm_audio.py:digit', _GRID, 'i3d'),
    'digit: motion, TSM': _row('i3d_tsm_audio.py:digit', _GRID, 'tsm'),
    'digit: sound': _row('i3d_tsm_audio.py:digit', _GRID, 'audio'),
    'digit: I3D + TSM + sound, attention': _row('i3d_tsm_audio.py:digit', _GRID, against='digit: sound'),
    'digit: I3D + TSM + sound, bottleneck': _row('i3d_tsm_audio.py:digit,bottleneck', _GRID, against='digit: sound'),
    # Fights of surveillance cameras; folds are grouped by source video.
    'fights: pictures, I3D': _row('two_stream_i3d.py', _FIGHTS, 'rgb'),
    'fights: motion, I3D': _row('two_stream_i3d.py', _FIGHTS, 'flow'),
    'fights: pictures, TSM': _row('i3d_tsm.py:fights', _FIGHTS, 'tsm'),
    'fights: two-stream I3D, sum of logits': _row('two_stream_i3d.py', _FIGHTS, against='fights: motion, I3D'),
    'fights: I3D + TSM, average': _row('i3d_tsm.py:fights', _FIGHTS, against='fights: pictures, I3D'),
    'fights: I3D + TSM, concatenation': _row('i3d_tsm.py:fights,concat', _FIGHTS, against='fights: pictures, I3D'),
    # ESC-10.
    'ESC-10: Cnn10': _row('audio.py', _ESC10),
    'ESC-10: Cnn14': _row('audio.py:cnn14', _ESC10, against='ESC-10: Cnn10'),
    'ESC-10: VGGish': _row('audio.py:vggish', _ESC10, against='ESC-10: Cnn10'),
    'ESC-10: ResNet22': _row('audio.py:resnet', _ESC10, against='ESC-10: Cnn10'),
}
