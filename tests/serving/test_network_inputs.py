import pytest

from vmmjax import create_model
from vmmjax.errors import UserError
from vmmjax.serving import network_inputs
from vmmjax.serving.readers import Pictures, Sounds


def test_a_published_network_reads_clips_as_it_was_published():
    reading = network_inputs.published(create_model('i3d', width_multiplier=0.125), None, None)
    assert reading.window == pytest.approx(2.56)
    assert reading.of_files == {'rgb': Pictures(64, 256, 224)}
    assert reading.data['streams'] == {'rgb': dict(modality='rgb', frames=64, size=224)}
    assert reading.rates(None) == {'rgb': 25}
    shorter = network_inputs.published(create_model('i3d', width_multiplier=0.125), 1.0, None)
    assert shorter.of_files == {'rgb': Pictures(25, 256, 224)}


def test_segments_are_of_the_whole_clip_unless_a_window_is_named():
    model = create_model('tsm_resnet18')
    assert network_inputs.published(model, None, None).window == 0
    assert network_inputs.published(model, 4.0, None).of_files == {'rgb': Pictures(8, 256, 224)}
    assert network_inputs.published(model, 4.0, None).rates(None) == {'rgb': 2}


def test_a_network_of_sound_needs_its_log_mels_named_for_files():
    model = create_model('panns_cnn6')
    reader = network_inputs.published(model, None, 'panns_32k').of_files['audio']
    assert isinstance(reader, Sounds)
    assert reader.column.rate == 100
    with pytest.raises(UserError, match='--front_end=panns_32k'):
        _ = network_inputs.published(model, None, None).of_files


def test_what_a_file_does_not_hold_is_told_with_the_remedy():
    reading = network_inputs.published(create_model('i3d', stream='flow', width_multiplier=0.125), None, None)
    with pytest.raises(UserError, match=r"stream 'flow' .* cannot be read from a file: .* prepare a store"):
        _ = reading.of_files
    with pytest.raises(UserError, match='How a Bert reads clips is not known'):
        network_inputs.published(create_model('bert', num_classes=2), None, None)
