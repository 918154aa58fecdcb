import numpy as np
import pytest

from tests.serving.live import lights, reading
from vmmjax.pipeline import inputs
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.serving.live.windows import LiveBatches
from vmmjax.store.store import Store


@pytest.mark.parametrize(('streams', 'window', 'crops'), [
    (lights.STREAMS, 2.0, 1),
    (dict(rgb=dict(modality='rgb', rate=5.0, size=12, sampling='strided'), audio=dict(modality='audio')), 1.5, 3),
    (dict(rgb=dict(modality='rgb', frames=3, size=8), audio=dict(modality='audio', frames=7)), 0.7, 5)])
def test_batches_are_those_of_evaluation_bit_for_bit(films, streams, window, crops):
    store = Store(films / 'store')
    stride = (lights.SECONDS - window) / 5
    data = lights_data(streams, window, clips=6, crops=crops)
    expected = next(Pipeline(store, data, split='test', batch_size=12 * crops, train=False, seed=0,
                             labels=NoTargets()).batches())
    live = LiveBatches(inputs.describe(store, data), data, window=window, sources=2, seed=0)
    film, other = (reading.windows_of(films / name, window=window, stride=stride)[0] for name in lights.EVENTS)
    assert len(film) == len(other) == 6
    for number, pair in enumerate(zip(film, other, strict=True)):
        found = live.of(pair, 2)
        for place in range(2):
            first = 6 * crops * place + number * crops
            for key in ('rgb', 'audio', 'valid/rgb', 'valid/audio', 'present/rgb', 'present/audio', 'mask'):
                mine = found[key][place * crops:(place + 1) * crops]
                if key == 'audio':  # Sums of products in another order.
                    np.testing.assert_allclose(mine, expected[key][first:first + crops], atol=1e-5)
                else:
                    np.testing.assert_array_equal(mine, expected[key][first:first + crops], err_msg=key)


def test_what_is_not_there_is_absent_and_what_is_no_window_is_padding(films):
    data = lights_data(lights.STREAMS, 2.0)
    live = LiveBatches(inputs.describe(Store(films / 'store'), data), data, window=2.0, sources=4, seed=0)
    window = reading.windows_of(films / 'film.mp4')[0][0]
    deaf = type(window)(window.start, {'rgb': window.frames['rgb']}, window.sizes)
    found = live.of([deaf, window], 4)
    np.testing.assert_array_equal(found['mask'], [1, 1, 0, 0])
    np.testing.assert_array_equal(found['present/rgb'], [True, True, False, False])
    np.testing.assert_array_equal(found['present/audio'], [False, True, False, False])
    np.testing.assert_array_equal(found['rgb'][0], found['rgb'][1])
    assert not found['audio'][0].any()


def lights_data(streams, window, **views):
    from vmmjax import config as configs

    data = configs.defaults().data
    data.window.seconds, data.streams = window, streams
    for name, value in views.items():
        data.views[name] = value
    return data.to_dict()
