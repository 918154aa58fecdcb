import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.batches import Batch, assert_equal, take
from vmmjax.errors import UserError
from vmmjax.pipeline.event_targets import Events
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.store.store import Store
from vmmjax.training.views import view

RATE = 10  # Frames per second of the columns.


@pytest.fixture(scope='module')
def store(sounds: Store) -> Store:
    """The one with waveforms."""
    return sounds


def _config(streams: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {'target': 'label', 'window': {'seconds': 0.5, 'start': None}, 'streams': streams, 'augment': {},
            'dropout': {}, 'views': {}, 'on_damage': 'stop'} | changes


PICTURES = {'frames': 3, 'size': 16, 'sampling': 'segments'}
PLAIN: dict[str, dict[str, Any]] = {
    'rgb': {'modality': 'rgb', **PICTURES}, 'flow': {'modality': 'flow', **PICTURES}, 'audio': {'modality': 'audio'},
    'white': {'modality': 'waveform', 'noise': 'white', 'snr': (0.0, 10.0)},
    'babble': {'modality': 'waveform', 'noise': 'babble', 'snr': (0.0, 10.0)},
    'words': {'modality': 'text:name', 'length': 4, 'mask_rate': 0.5}}
VIEWS: dict[str, dict[str, Any]] = {
    'rgb': {'views': 3, 'share': ()}, 'flow': {'views': 2, 'share': ('window', 'crop', 'frames')},
    'audio': {'views': 2, 'offset': (-0.3, 0.4)}, 'babble': {'views': 2}, 'words': {'views': 2}}
AUGMENT = {'crop': 'resized', 'color': 0.3, 'flip': 0.5, 'rand_augment': (1, 5.0), 'erase': 0.5, 'time_shift': 0.1,
           'spec_augment': (1, 10, 1, 4)}
DROPOUT = {'rgb': 0.3, 'audio': 0.3, 'words': 0.3}
WITHOUT = _config(PLAIN, augment=AUGMENT, dropout=DROPOUT)
BUSY = _config({name: options | VIEWS.get(name, {}) for name, options in PLAIN.items()}, augment=AUGMENT,
               dropout=DROPOUT)


def _pipeline(store: Store, config: dict[str, Any], *, batch: int = 8, train: bool = True, **options: Any) -> Pipeline:
    return Pipeline(store, config, split='train', batch_size=batch, train=train, seed=0, **options)


def _joined(store: Store, config: dict[str, Any], batches: int = 9) -> Batch:
    found = take(_pipeline(store, config), batches)
    return {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which clips are the same, bool (B,)."""
    return (one == other).reshape(len(one), -1).all(axis=1)


def test_a_batch_is_as_the_spec_says(store: Store) -> None:
    pipeline = _pipeline(store, BUSY)
    batch, = take(pipeline, 1)
    assert {key: (values.shape, values.dtype) for key, values in batch.items()} == pipeline.spec
    further = {f'view{k}/{key}' for name, options in VIEWS.items() for k in range(1, options['views'])
               for key in (name, f'{name}_mask' if name == 'words' else f'valid/{name}', f'present/{name}')}
    assert pipeline.spec.keys() - further == _pipeline(store, WITHOUT).spec.keys()
    assert further < pipeline.spec.keys()
    assert pipeline.spec['view2/rgb'] == pipeline.spec['rgb']


def test_view_0_and_all_else_are_as_without_views(store: Store) -> None:
    for one, other in zip(take(_pipeline(store, BUSY), 9), take(_pipeline(store, WITHOUT), 9), strict=True):
        assert_equal(view(one, 0), other)


def test_evaluation_has_view_0_alone(store: Store) -> None:
    for one, other in zip(_pipeline(store, BUSY, train=False).batches(),
                          _pipeline(store, WITHOUT, train=False).batches(), strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_views_do_not_depend_on_the_number_of_processes(store: Store, processes: int) -> None:
    whole, size = take(_pipeline(store, BUSY), 3), 8 // processes
    parts = [take(_pipeline(store, BUSY), 3, rows=slice(i * size, (i + 1) * size)) for i in range(processes)]
    for step, batch in enumerate(whole):
        assert_equal({key: np.concatenate([part[step][key] for part in parts]) for key in batch}, batch)


def test_views_do_not_depend_on_restarts_and_threads(store: Store) -> None:
    whole = take(_pipeline(store, BUSY), 10)
    for step in (1, 9):
        assert_equal(take(_pipeline(store, BUSY), 1, start_step=step)[0], whole[step])
    for threads in (1, 5):
        for one, other in zip(take(_pipeline(store, BUSY, threads=threads), 3), whole[:3], strict=True):
            assert_equal(one, other)


@settings(max_examples=25)
@given(st.floats(-3, 3), st.floats(0, 2), st.booleans())
def test_an_offset_is_in_seconds_and_masked_outside_of_the_clip(store: Store, low: float, width: float,
                                                               sampled: bool) -> None:
    low, high = round(low, 2), round(low + width, 2)
    ramp = {'modality': 'ramp', 'views': 2, 'offset': (low, high), **({'frames': 5} if sampled else {})}
    # View 0 begins between two frames, so that rounding is the same in both views but where a shift is.
    config = _config({'ramp': ramp}, window={'seconds': 0.5, 'start': (0.24, 0.24)})
    number = {row: int(name[1:]) for row, name in enumerate(store.values('name'))}
    begins = (0.24 + 0.05 if sampled else 0.24) * RATE
    for batch in take(_pipeline(store, config), 2):
        lengths = store.columns['ramp'].lengths[batch['id']]
        np.testing.assert_array_equal(batch['ramp'][:, 0, 1], 2)
        ours = view(batch, 1)
        for row, valid, frames, length in zip(ours['id'], ours['valid/ramp'], ours['ramp'], lengths, strict=True):
            assert not frames[~valid].any()
            if valid.any():
                place = int(valid.argmax())
                first = frames[place, 1] - place
                assert np.floor(begins + low * RATE - 1) < first < np.ceil(begins + high * RATE + 1)
                wanted = first + np.arange(5)
                np.testing.assert_array_equal(valid, (wanted >= 0) & (wanted < length))
                np.testing.assert_array_equal(frames[valid, 1], wanted[valid])
                np.testing.assert_array_equal(frames[valid, 0], number[int(row)])
            else:
                assert begins + high * RATE + 1 > length or begins + low * RATE + 4 < 1
        np.testing.assert_array_equal(ours['present/ramp'], ours['valid/ramp'].any(axis=1))


@pytest.mark.parametrize('sampling', [{}, {'frames': 5}, {'frames': 4, 'sampling': 'segments'}])
@pytest.mark.parametrize('offset', [0.3, -0.2, 0.0])
def test_a_fixed_offset_moves_every_frame_by_as_much(store: Store, sampling: dict[str, Any], offset: float) -> None:
    ramp = {'modality': 'ramp', 'views': 3, 'share': ('window', 'frames'), 'offset': (offset, offset), **sampling}
    found = _joined(store, _config({'ramp': ramp}, window={'seconds': 0.5, 'start': (0.22, 0.22)}))
    lengths, shift = store.columns['ramp'].lengths[found['id'], None], round(offset * RATE)
    for k in (1, 2):
        np.testing.assert_array_equal(found[f'view{k}/valid/ramp'], found['ramp'][..., 1] + shift < lengths)
        valid = found[f'view{k}/valid/ramp']
        np.testing.assert_array_equal(found[f'view{k}/ramp'][valid], found['ramp'][valid] + (0, shift))
        assert valid.all() == (offset <= 0)
    assert found['valid/ramp'].all()


def test_an_offset_is_drawn_for_each_clip_and_view(store: Store) -> None:
    ramp = {'modality': 'ramp', 'views': 3, 'offset': (-0.4, 0.4)}
    found = _joined(store, _config({'ramp': ramp}, window={'seconds': 0.2, 'start': (0.5, 0.5)}), 30)
    first = [found[key][:, 0, 1][found['view1/valid/ramp'][:, 0] & found['view2/valid/ramp'][:, 0]]
             for key in ('view1/ramp', 'view2/ramp')]
    for each in first:
        np.testing.assert_array_equal(np.unique(each), range(1, 10))
        assert abs(each.mean() - 5) < 0.7
    assert abs(np.corrcoef(first)[0, 1]) < 0.3


@pytest.mark.parametrize(('share', 'equal'), [(('window', 'frames'), True), (('window',), False), ((), False)])
def test_views_that_share_the_sampling_see_the_same_instants(store: Store, share: tuple[str, ...],
                                                             equal: bool) -> None:
    ramp = {'modality': 'ramp', 'views': 2, 'frames': 4, 'sampling': 'segments', 'share': share}
    found = _joined(store, _config({'ramp': ramp, 'like': ramp, 'rgb': {'modality': 'rgb', **PICTURES}}))
    np.testing.assert_array_equal(found['view1/ramp'], found['view1/like'])  # Streams agree in every view.
    same = _same(found['ramp'], found['view1/ramp'])
    assert same.all() if equal else same.mean() < 0.5
    assert found['view1/valid/ramp'].all()
    apart = abs(found['ramp'][:, 0, 1] - found['view1/ramp'][:, 0, 1])
    assert (apart.max() > 2) == (not share)  # Another window, inside the clip, too.


@pytest.mark.parametrize('share', ['crop', 'flip', 'colour', 'erase', 'rand_augment'])
def test_what_pictures_share_is_the_same_and_the_rest_is_drawn_anew(store: Store, share: str) -> None:
    option = {'crop': ('crop', 'random'), 'flip': ('flip', 0.5), 'colour': ('color', 0.5), 'erase': ('erase', 1.0),
              'rand_augment': ('rand_augment', (1, 9.0))}[share]
    augment = {'crop': 'centre', option[0]: option[1]}
    alike = {'modality': 'rgb', 'frames': 2, 'size': 16, 'views': 2}
    found = _joined(store, _config({'one': alike | {'share': ('window', share)}, 'other': alike}, augment=augment))
    assert _same(found['one'], found['view1/one']).all()
    assert _same(found['other'], found['view1/other']).mean() < 0.7


def test_view_0_can_be_left_without_what_is_strong(store: Store) -> None:
    streams = {'rgb': {'modality': 'rgb', 'frames': 2, 'size': 16, 'views': 2, 'share': ('window', 'crop', 'flip')}}
    augment = {'crop': 'random', 'color': 0.5, 'erase': 1.0, 'flip': 0.5}
    weak = _joined(store, _config(streams, augment={**augment, 'strong': ('color', 'erase')}))
    both, plain = (_joined(store, _config(streams, augment=each)) for each in (
        augment, {**augment, 'color': 0.0, 'erase': 0.0}))
    np.testing.assert_array_equal(weak['rgb'], plain['rgb'])
    np.testing.assert_array_equal(weak['view1/rgb'], both['view1/rgb'])
    with pytest.raises(UserError, match="strong names 'colour'"):
        _joined(store, _config(streams, augment={'strong': ('colour',)}))


def test_sound_shares_what_it_says(store: Store) -> None:
    noisy = PLAIN['white'] | {'views': 2}
    streams = {'noise': noisy | {'share': ('window', 'noise', 'time_shift')}, 'anew': noisy | {'share': ('window',)},
               'audio': PLAIN['audio'] | {'views': 2, 'share': ('window', 'spec_augment', 'time_shift')},
               'masked': PLAIN['audio'] | {'views': 2, 'share': ('window', 'time_shift')}}
    found = _joined(store, _config(streams, augment={'time_shift': 0.1, 'spec_augment': (1, 10, 1, 4)}))
    loud = found['present/noise'] & found['noise'].any(axis=1)
    assert loud.sum() > 50
    for name, equal in (('noise', True), ('anew', False), ('audio', True), ('masked', False)):
        same = _same(found[name], found[f'view1/{name}'])[loud]
        assert same.all() if equal else same.mean() < 0.2, name


def test_texts_are_masked_anew(store: Store) -> None:
    words = {'modality': 'text:label', 'length': 4, 'mask_rate': 0.5, 'views': 2}
    found = _joined(store, _config({'ramp': {'modality': 'ramp'}, 'words': words}), 20)
    np.testing.assert_array_equal(found['words_mask'], found['view1/words_mask'])
    masked = [found[key][found['words_mask']] == 2 for key in ('words', 'view1/words')]
    assert abs(np.corrcoef(masked)[0, 1]) < 0.3
    np.testing.assert_array_equal(*(found[key][found['words_mask']][~masked[0] & ~masked[1]]
                                    for key in ('words', 'view1/words')))


def test_a_stream_drops_out_in_all_of_its_views(store: Store) -> None:
    streams = {'ramp': {'modality': 'ramp', 'views': 3, 'share': ()},
               'words': {'modality': 'text:name', 'length': 2, 'mask_rate': 0.5, 'views': 2}}
    config = _config(streams, dropout={'ramp': 0.5, 'words': 0.5})
    found = _joined(store, config, 30)
    assert 0.4 < found['present/ramp'].mean() < 0.8
    for key in ('view1/present/ramp', 'view2/present/ramp'):
        np.testing.assert_array_equal(found[key], found['present/ramp'])
    np.testing.assert_array_equal(found['view1/present/words'], found['present/words'])
    for name in ('view1/ramp', 'view1/words'):
        assert not found[name][~found[name.replace('/', '/present/')]].any()
    # Past the end of a clip in view 0, a stream drops out of view 1 as often.
    config['window'] = {'seconds': 0.5, 'start': (2.5, 2.5)}
    config['streams']['ramp'] = {'modality': 'ramp', 'views': 2, 'offset': (-2.5, -2.5)}
    found = _joined(store, config, 30)
    gone = ~found['present/ramp']
    assert gone.mean() > 0.9
    assert 0.3 < found['view1/present/ramp'][gone].mean() < 0.7


def test_a_clip_whose_further_view_is_damaged_is_left_out_of_all(store: Store, tmp_path: Path) -> None:
    path = tmp_path / 'broken'
    shutil.copytree(store.path, path)
    column = Store(path).column('rgb')
    number = column.offsets[3] + 1
    record, shard = column.records(np.array([number]))[0], Path(column.source.place(number))
    content = bytearray(shard.read_bytes())
    content[content.index(record) + len(record) // 2] ^= 64
    shard.write_bytes(content)
    # View 0 sees the pictures 2 and 4, view 1 the pictures 1 and 3.
    rgb = {'modality': 'rgb', 'frames': 2, 'size': 16, 'views': 2, 'offset': (-0.1, -0.1)}
    config = _config({'rgb': rgb, 'ramp': {'modality': 'ramp'}}, window={'seconds': 0.4, 'start': (0.15, 0.15)},
                     on_damage='skip')
    pipeline = _pipeline(Store(path), config, batch=70)
    batch, = take(pipeline, 1)
    whole, = take(_pipeline(store, config, batch=70), 1)
    assert pipeline.skipped == {3}
    left_out = whole['id'] == 3
    assert left_out.sum() == 1
    for key, values in batch.items():
        np.testing.assert_array_equal(values[~left_out], whole[key][~left_out], err_msg=key)
        if key != 'row':
            assert (values[left_out] == (-1 if key in ('id', 'target/label') else 0)).all()


def _with(name: str, part: str = 'streams', **options: Any) -> dict[str, Any]:
    config = copy.deepcopy(BUSY)
    config[part] = config[part] | (options if part != 'streams' else {name: config[part][name] | options})
    return config


@pytest.mark.parametrize(('config', 'said'), [
    (_with('rgb', views=0), 'data.streams.rgb.views is 0; a whole number of at least 1'),
    (_with('rgb', views=1.5), 'a whole number'),
    (_with('words', views=0), 'data.streams.words.views is 0'),
    (_with('words', mask_rate=0.0), 'set data.streams.words.mask_rate'),
    (_with('words', share=('window',)), 'a key data.streams.words.share that nothing reads'),
    (_with('rgb', share=('crops',)), "data.streams.rgb.share has 'crops'.*did you mean 'crop'"),
    (_with('rgb', share='window'), "share has 'w'"),
    (_with('audio', offset=(0.5, 0.0)), 'a least and a greatest shift in seconds'),
    (_with('audio', offset=0.5), 'offset is 0.5; a least'),
    (_with('audio', offset=(0.0, float('inf'))), 'a least and a greatest'),
    (_with('audio', share=()), "keep 'window' in data.streams.audio.share"),
    (_with('audio', views=1), 'set data.streams.audio.views to at least 2'),
    (_with('', 'augment', flip_pairs=(('left', 'right'),)), "add 'flip' to data.streams.rgb.share"),
    (_config({'rgb': {'modality': 'rgb', 'frames': 2, 'size': 16}}, augment={'color': 0.4, 'strong': ('color',)}),
     "strong has 'color', .* of rgb.* set data.streams.rgb.views = 2"),
    (_config({'rgb': BUSY['streams']['rgb'], 'ramp': {'modality': 'ramp'}}, augment={'strong': ('time_shift',)}),
     "strong has 'time_shift', .* of ramp"),
    (_config({'rgb': BUSY['streams']['rgb']}, augment={'mixup': 0.2}), 'no longer be of one clip'),
    (_config({'audio': BUSY['streams']['audio']}, augment={'cutmix': 0.2}), 'no longer be of one clip')])
def test_mistakes_are_named(store: Store, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _pipeline(store, config)


def test_mirrored_labels_go_with_views_that_share_the_flip(store: Store) -> None:
    augment = {'flip': 0.5, 'flip_pairs': (('left', 'right'),)}
    rgb = {'modality': 'rgb', **PICTURES, 'views': 2, 'share': ('window', 'frames', 'crop', 'flip')}
    audio = {'modality': 'audio', 'views': 2}  # Has no mirror images.
    found = _joined(store, _config({'rgb': rgb, 'audio': audio}, augment=augment))
    np.testing.assert_array_equal(found['rgb'], found['view1/rgb'])
    rgb['share'] = ()
    _pipeline(store, _config({'rgb': rgb}, augment=augment), train=False)  # Where nothing is mirrored.
    _pipeline(store, _config({'rgb': rgb}, augment=augment | {'flip': 0.0}))


def test_targets_in_time_go_with_views_of_the_same_window(store: Store) -> None:
    labels = Events(store, 'label', 'left')
    ramp = {'modality': 'ramp', 'views': 2}
    _pipeline(store, _config({'ramp': ramp}), labels=labels)
    for options in ({'share': ()}, {'offset': (0.0, 0.1)}):
        with pytest.raises(UserError, match='times in the window of view 0'):
            _pipeline(store, _config({'ramp': ramp | options}), labels=labels)


def test_the_summary_names_the_views(store: Store) -> None:
    lines = [line for line in _pipeline(store, BUSY).summary().splitlines() if line.startswith('views')]
    assert lines == [
        'views    rgb: 3 with the same clip', 'views    flow: 2 with the same window, crop, frames',
        'views    audio: 2 with the same window, -0.3 to 0.4 s later', 'views    babble: 2 with the same window',
        'views    words: 2, masked independently']
    assert 'views' not in _pipeline(store, BUSY, train=False).summary()
