"""The systems of the mission: small ones are built and stepped twice, full-size ones in shapes alone."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.experiments.test_configs import CONFIGS, ROOT, Prepared, load, stepped_in_shapes, stepped_twice
from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.errors import UserError

SMALL = {
    'audio': ('', 'cnn10', 'cnn14', 'vggish'),
    'bert_vgg': ('',),
    'cnn_bilstm': ('',),
    'i3d_tsm': ('', 'concat', 'fights', 'fights,concat'),
    'i3d_tsm_audio': ('', 'bottleneck', 'digit', 'digit,bottleneck'),
    'resnet_lstm': ('',),
    'two_stream_i3d': ('',),
    'vgg_lstm_conv1d': ('',),
    'video_transformer_audio': ('',),
}
# Their networks are in others: i3d_tsm_audio, cnn_bilstm and vgg_lstm_conv1d.
ALIKE = {'i3d_tsm', 'resnet_lstm', 'two_stream_i3d'}
STREAMS = {
    'audio': ['audio'], 'bert_vgg': ['rgb', 'text'], 'cnn_bilstm': ['rgb', 'text'], 'i3d_tsm': ['i3d', 'tsm'],
    'i3d_tsm_audio': ['audio', 'i3d', 'tsm'], 'resnet_lstm': ['rgb', 'text'], 'two_stream_i3d': ['flow', 'rgb'],
    'vgg_lstm_conv1d': ['rgb', 'text', 'waveform'], 'video_transformer_audio': ['audio', 'rgb'],
}
# Millions of parameters at full size: at least those of the published encoders.
FULL = {
    'audio': ('full,cnn10', 4.9), 'audio ': ('full,cnn14', 79.7), 'bert_vgg': ('full', 109 + 134),
    'cnn_bilstm': ('full', 5.3),
    'i3d_tsm': ('full,fights', 12.3 + 23.5), 'i3d_tsm_audio': ('full', 12.3 + 23.5 + 79.7),
    'resnet_lstm': ('full', 11.2 + 1.7), 'two_stream_i3d': ('full', 2 * 12.3),
    'vgg_lstm_conv1d': ('full', 134.3 + 1.7 + 1.8), 'video_transformer_audio': ('full', 115 + 86),
}


def test_every_system_is_tested():
    assert {path.stem for path in (CONFIGS / 'systems').glob('*.py')} - {'common'} == SMALL.keys() == STREAMS.keys()


@pytest.mark.parametrize('name', SMALL)
def test_a_config_says_what_it_is(name):
    for argument in SMALL[name]:
        module, config = load(f'systems/{name}', argument)
        assert f'vmmjax train --config=experiments/configs/systems/{name}.py' in module.__doc__
        assert 'Expected accuracy' in module.__doc__
        assert 'full' in module.__doc__
        for part in argument.split(','):
            assert part in module.__doc__
        assert sorted(config.data.streams) == sorted(config.model.encoders) == STREAMS[name]
        assert configs.to_json(configs.from_json(configs.to_json(config))) == configs.to_json(config)
    with pytest.raises(UserError, match=rf'{name}.py has no argument \'ful\': did you mean \'full\''):
        load(f'systems/{name}', 'ful')


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in SMALL if name not in ALIKE])
def test_a_small_system_is_stepped_twice(name):
    _, moved = stepped_twice(Prepared(f'systems/{name}', SMALL[name][0]))
    # Residual branches that begin at zero let what is in them move a step later.
    assert np.mean(jax.tree.leaves(moved)) > 0.75


@pytest.mark.parametrize(('name', 'argument'), [
    (name, argument) for name in SMALL
    # The networks of others are in the config without the argument.
    for argument in (SMALL[name] if name in ALIKE else SMALL[name][1:])
    if 'digit' not in argument and argument != 'fights,concat'])
def test_others_are_stepped_in_shapes(name, argument):
    stepped_in_shapes(Prepared(f'systems/{name}', argument))


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'argument', 'millions'), [
    (name.strip(), argument, millions) for name, (argument, millions) in FULL.items()])
def test_a_full_size_system_is_stepped_in_shapes(name, argument, millions):
    state = stepped_in_shapes(Prepared(f'systems/{name}', argument))
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params)) / 1e6
    assert 0.98 * millions < count < 1.25 * millions + 3


def test_the_ablation_of_the_systems_has_a_run_for_every_fold(monkeypatch):
    monkeypatch.chdir(ROOT)
    question, found = rows.of_file(Path('experiments/ablations/systems.py'), '')
    assert question.endswith('?')
    runs = rows.plan(found, Path('runs'), seeds=1, folds=(), overrides={})
    assert len(runs) == sum(len(row.folds) for row in found)
    assert {run.name for run in runs if run.row.name.startswith('ESC-10')} == {f'fold{i}' for i in range(1, 5)}
    used = {row.config.partition(':')[0] for row in found}
    assert used == {f'experiments/configs/systems/{name}.py' for name in SMALL}
    for row in found:
        # The comparison is with a stream, or a network, of the same question.
        assert not row.against or row.against.partition(':')[0] == row.name.partition(':')[0]
