import jax
import numpy as np
import pytest

from tests.media.files import counting_frames, numbers
from tests.serving import tiny
from vmmjax.errors import UserError
from vmmjax.evaluation import frechet_video_distance
from vmmjax.evaluation.fvd.clips import Choice, Clips
from vmmjax.evaluation.fvd.compare import compare
from vmmjax.evaluation.fvd.frechet import frechet_distance
from vmmjax.evaluation.fvd.network import Network, find, fingerprint
from vmmjax.evaluation.fvd.protocols import PROTOCOLS, resized
from vmmjax.media.writer import write_clip


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A network that takes no time, instead of the published one."""
    return tiny.save_run(tmp_path_factory.mktemp('run'))


def videos(count, seed, frames=16, side=20):
    """Each of another brightness that changes in another way."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(20, 120 + 40 * seed, (count, 1)) + rng.uniform(-3, 3, (count, 1)) * np.arange(frames)
    noise = rng.integers(0, 20, (count, frames, side, side, 3))
    return np.clip(levels[..., None, None, None] + noise, 0, 255).astype(np.uint8)


def chosen(source, protocol, role, frames=16, every=1, seed=0):
    """Which of `counting_frames` the clips of a set are."""
    found = find(source, Choice(PROTOCOLS[protocol], role, frames, every, seed), keep=False)
    return [numbers((clip + 1) * 127.5) for clip in found], found


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Videos of 40, 12, 16 and 24 pictures, one of them deeper."""
    folder = tmp_path_factory.mktemp('videos')
    (folder / 'b').mkdir()
    for name, count in {'a.mp4': 40, 'b/a.mp4': 12, 'c.mp4': 16, 'd.mp4': 24}.items():
        write_clip(folder / name, counting_frames(count), fps=25, quantiser=1)
    (folder / 'notes.txt').write_text('no video')
    return folder


def test_whole_videos_must_be_equally_long(folder):
    with pytest.raises(UserError, match=r'b/a.mp4 has 12 pictures, and those before it have 40; say how many'):
        chosen(folder, 'official', 'real', frames=0)
    clips, found = chosen(folder, 'official', 'real', frames=12)
    assert clips == [list(range(12))] * 4
    assert (found.total, found.dropped, found.frames) == (4, 0, 12)
    with pytest.raises(UserError, match=r'b/a.mp4 has 12 pictures, and 16 are needed'):
        chosen(folder, 'common_metrics', 'fake', frames=16)


def test_consecutive_pictures_from_a_random_one_on_or_from_the_first(folder):
    fake, found = chosen(folder, 'styleganv', 'fake')
    assert fake == [list(range(16))] * 3
    assert found.dropped == 1
    starts = set()
    for seed in range(8):
        real, _ = chosen(folder, 'styleganv', 'real', seed=seed)
        assert real == [list(range(clip[0], clip[0] + 16)) for clip in real]
        assert real[1][0] == 0  # It has but 16.
        starts.add(real[0][0])
        assert chosen(folder, 'styleganv', 'real', seed=seed)[0] == real
    assert len(starts) > 3
    assert max(starts) <= 24


def test_of_eight_pictures_one():
    array = np.stack([counting_frames(144 // 4, side=16).repeat(4, 0)] * 3)
    fake, _ = chosen(array, 'styleganv', 'fake', every=8)
    assert fake == [list(range(0, 32, 2))] * 3
    short, found = chosen(array[:, :127], 'styleganv', 'fake', every=8)
    assert (short, found.dropped) == ([], 3)
    real, _ = chosen(array, 'styleganv', 'real', every=8)
    assert all(np.diff(clip).tolist() == [2] * 15 for clip in real)


class Numbered(Clips):
    """Videos that are known by their number alone, every third of which is too short."""

    def _read(self, video):
        return str(video), 16 if video % 3 else 15, np.array(video)


def test_so_many_fake_videos_are_chosen_at_random_or_by_name():
    def of(protocol, role, **changes):
        choice = Choice(PROTOCOLS[protocol], role, 16, 1, **changes)
        return [int(clip) for clip in Numbered(choice, 'squash', 4000)]

    long_enough = [video for video in range(4000) if video % 3]
    assert of('styleganv', 'real') == of('styleganv', 'fake') == long_enough[:2048]
    assert of('cdfvd', 'real') == long_enough
    found = of('cdfvd', 'fake')
    assert len(set(found)) == 2048
    assert found != sorted(found)
    assert found == of('cdfvd', 'fake') != of('cdfvd', 'fake', seed=1)


def test_the_distance_is_that_of_the_networks_logits(weights, tmp_path):
    real, fake = videos(11, 0), videos(9, 1)
    found = compare(real, fake, protocol='official', weights=weights, nonstandard=True, batch_size=4, resamples=20)
    model, variables = tiny.network()
    logits = [np.asarray(model.apply(variables, {'rgb': np.stack([resized(clip, 'tf1') for clip in x])}, train=False
                                     ).logits) for x in (real, fake)]
    assert found.value == pytest.approx(frechet_distance(*logits), rel=1e-4)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    assert [each.moments.count for each in found.sets] == [11, 9]
    assert found.sets[0].made['frames'] == 16
    # From files that are mapped, in another batch size, and without keeping features.
    paths = [tmp_path / name for name in ('real.npy', 'fake.npy')]
    for path, x in zip(paths, (real, fake), strict=True):
        np.save(path, x)
    again = compare(*paths, protocol='official', weights=weights, nonstandard=True, batch_size=8)
    assert again.value == pytest.approx(found.value, rel=1e-5)
    assert again.interval is None
    assert again.sets[0].features is None


def test_statistics_are_kept_and_used_again(weights, tmp_path):
    real, fake, path = videos(12, 0), videos(11, 1), str(tmp_path / 'sub' / 'real.npz')
    options = dict(protocol='official', weights=weights, nonstandard=True, resamples=10)
    found = compare(real, fake, save=(path, None), **options)
    again = compare(path, fake, **options)
    assert (again.value, again.interval) == (found.value, found.interval)
    assert again.sets[0].made == found.sets[0].made
    with pytest.raises(UserError, match=r'kept in a \.npz file, not in .*real\.pkl'):
        compare(real, fake, save=('real.pkl', None), **options)


def test_statistics_of_another_protocol_length_or_network_are_refused(weights, tmp_path):
    path = str(tmp_path / 'real.npz')
    compare(videos(12, 0), videos(12, 1), protocol='official', weights=weights, nonstandard=True, save=(path, None))

    def refused(**options):
        with pytest.raises(UserError) as refusal:
            compare(path, path, **options)
        assert '--nonstandard' in str(refusal.value)
        return str(refusal.value)

    assert 'real videos were made with protocol=official, not styleganv' in refused(protocol='styleganv')
    assert 'real videos were made with frames=16, not 12' in refused(protocol='official', frames=12)
    assert 'other weights than TF-Hub had' in refused(protocol='official')
    found = compare(path, path, protocol='cdfvd', nonstandard=True)
    assert found.value == pytest.approx(0, abs=1e-9)
    told = ' '.join(found.departures)
    for part in ('protocol=official', 'start=first, not random', 'TF-Hub', 'takes 2048 fake videos, not 12'):
        assert part in told
        assert part in found.lines()


@pytest.mark.parametrize(('options', 'message'), [
    (dict(protocol='styleganv'), 'takes 2048 fake videos, not 3'),
    (dict(protocol='common_metrics', frames=9), '9 pictures is too short'),
    (dict(protocol='styleganv', frames=32), 'no clips of 32 pictures'),
    (dict(protocol='official', every=2, frames=9), 'no clips of 9 pictures, one of 2'),
    (dict(protocol='official', every=2), 'say how many with --frames'),
    (dict(protocol='fid'), "no protocol 'fid'"),
])
def test_what_a_protocol_does_not_take_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(UserError, match=message):
        compare(videos(3, 0), videos(3, 1), weights='/nowhere', **options)


def test_as_many_real_as_fake_videos_where_the_protocol_wants_it(weights):
    options = dict(protocol='common_metrics', weights=weights)
    found = compare(videos(5, 0), videos(4, 1), nonstandard=True, **options)
    assert any('as many real as fake videos, not 5 and 4' in sentence for sentence in found.departures)


def test_other_weights_are_refused(weights):
    with pytest.raises(UserError, match=r'other weights than TF-Hub had: .* --nonstandard'):
        compare(videos(3, 0), videos(3, 1), protocol='official', weights=weights)


def test_features_from_elsewhere_need_no_network(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(40, 6)).astype(np.float32) + 1
    np.save(tmp_path / 'a.npy', a)
    np.savez(tmp_path / 'b.npz', logits=b, t_start=np.zeros(40), t_end=np.ones(40), features=b[:, :2])
    found = frechet_video_distance(tmp_path / 'a.npy', tmp_path / 'b.npz')
    assert found == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_video_distance(a, b) == found
    biased = frechet_video_distance(a, b, protocol='styleganv', nonstandard=True)
    assert biased == pytest.approx(frechet_distance(a, b, ddof=0), rel=1e-9)
    assert 'not known: features as given' in compare(a, b, protocol='official').lines()


def test_features_are_not_compared_with_videos(weights):
    with pytest.raises(UserError, match=r'takes 2048|other weights|Only of one'):
        compare(videos(3, 0), np.zeros((3, 3)), protocol='official', weights=weights)
    found = compare(videos(3, 0), np.zeros((3, 3)), protocol='official', weights=weights, nonstandard=True)
    assert 'Only of one of the sets it is known how its features were made' in found.departures


@pytest.mark.parametrize(('make', 'message'), [
    (lambda folder: folder, 'holds no videos'),
    (lambda folder: folder / 'none.npy', 'that can be read'),
    (lambda folder: np.zeros((3, 4, 5)), r'of shape \(3, 4, 5\)'),
    (lambda folder: np.zeros((2, 16, 20, 20, 3)), 'float64 of 20 x 20; give uint8'),
    (lambda folder: np.zeros((2, 16, 20, 20, 3), np.int64), 'int64 of 20 x 20; give uint8'),
    (lambda folder: np.full((2, 9, 224, 224, 3), 255, np.float32), r'floats outside of \[-1, 1\]'),
    (lambda folder: np.zeros((0, 6)), 'no features'),
    (lambda folder: np.full((2, 6), np.nan), 'NaN'),
    (lambda folder: np.zeros((2, 7, 20, 20, 3), np.uint8), 'has 7 pictures, and 9 are needed; leave it out.$'),
])
def test_what_holds_no_videos_is_refused(make, message, weights, tmp_path):
    with pytest.raises(UserError, match=message):
        compare(make(tmp_path), make(tmp_path), protocol='official', weights=weights, nonstandard=True)


@pytest.mark.parametrize('damage', [lambda data: data[:200], lambda data: data.replace(b'count', b'cuont'),
                                    lambda data: b''])
def test_damaged_statistics_are_refused(damage, weights, tmp_path):
    path = tmp_path / 'real.npz'
    compare(videos(3, 0), videos(3, 1), protocol='official', weights=weights, nonstandard=True, save=(str(path), None))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match='cannot be read'):
        compare(path, path, protocol='official', nonstandard=True)


def test_too_few_videos_that_are_long_enough(weights):
    with pytest.raises(UserError, match='Each of the 3 real videos has fewer than 16 pictures'):
        compare(videos(3, 0, frames=12), videos(3, 1), protocol='styleganv', weights=weights, nonstandard=True)


def test_a_network_is_known_by_its_numbers():
    _, variables = tiny.network()
    found = fingerprint(variables)
    assert found == fingerprint(dict(reversed(variables.items())))
    assert found != fingerprint(jax.tree.map(lambda leaf: leaf * np.float32(1 + 1e-6), variables))


def test_batches_are_split_over_all_devices(weights):
    clips = [resized(clip, 'squash') for clip in videos(11, 0)]
    network = Network(weights, batch_size=3)
    found = list(network(iter(clips)))
    assert [len(part) for part in found] == [8, 3]
    alone = np.concatenate(list(Network(weights, batch_size=16)(clips)))
    np.testing.assert_allclose(np.concatenate(found), alone, rtol=1e-5)
    assert len(network._sharding.device_set) == 8
