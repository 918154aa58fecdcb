"""Real clips, remuxed with tracks that are missing, shifted, cut, turned or unevenly timed, keep their times.

The packets stay as they are, so that what is shown and heard, and when, is known from the clip that they come from.
"""

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest

from vmmjax.media.audio import read_waveform
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames
from vmmjax.pipeline.windows import SlidingWindows, WindowSpec
from vmmjax.prepare.columns import Rgb, Waveform
from vmmjax.prepare.file_store import FileStore
from vmmjax.prepare.sources.clip import of_file
from vmmjax.store import records
from vmmjax.store.column import Column

FPS, RATE, FRAME = 25.0, 16000, 1 / 25
PACKET = 1024 / RATE  # Seconds of sound, of which nothing less can be cut off.
CUT = WindowSpec(0.4, 0.2)


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to a clip; seconds.

    Attributes:
      tracks: that are kept.
      sound_at: that the sound is later than before; below zero earlier.
      pictures_until: where the pictures are cut off.
      sound_until: where the sound is cut off.
      pause_at: where the picture stands still for half a second more, which makes the rate variable.
      turn: degrees, anticlockwise.
      ending: of the file.
    """

    tracks: str = 'va'
    sound_at: float = 0.0
    pictures_until: float = 99.0
    sound_until: float = 99.0
    pause_at: float = 99.0
    turn: int = 0
    ending: str = '.mp4'

    def source_time(self, time: float) -> float:
        """When in the clip what is shown at a time was shown."""
        return time if time < self.pause_at else max(self.pause_at, time - 0.5)


CHANGES = [
    Change(tracks='v'), Change(tracks='v', ending='.mkv', turn=90), Change(tracks='a', ending='.mkv'),
    Change(sound_at=0.3), Change(sound_at=0.72, ending='.mkv'), Change(sound_at=-0.2, ending='.mkv'),
    Change(sound_until=1.2), Change(sound_until=0.6, sound_at=0.5, ending='.mkv'), Change(pictures_until=1.6),
    Change(pictures_until=2.0, sound_at=0.4, ending='.mkv'), Change(pause_at=1.0), Change(pause_at=0.6, ending='.mkv'),
    Change(pause_at=1.4, sound_at=0.25, ending='.mkv'), Change(turn=90), Change(turn=180, ending='.mkv'),
    Change(turn=-90, sound_at=0.3), Change(ending='.ts'), Change(ending='.ts', sound_at=0.3),
    Change(ending='.mov', sound_until=1.0, turn=90), Change(pause_at=0.8, sound_until=1.5, turn=180, ending='.mkv')]


def remux(source: Path, target: Path, change: Change) -> None:
    with av.open(str(source)) as clip, av.open(str(target), 'w') as out:
        tracks = {}
        for kind, stream in (('v', clip.streams.video[0]), ('a', clip.streams.audio[0])):
            if kind in change.tracks:
                tracks[stream.index] = kind, out.add_stream_from_template(stream)
        if change.turn:
            next(track for kind, track in tracks.values() if kind == 'v').set_display_rotation(change.turn)
        for packet in clip.demux([clip.streams[index] for index in tracks]):
            if packet.dts is None or packet.pts is None:
                continue
            kind, track = tracks[packet.stream_index]
            time = float(packet.pts * packet.time_base)
            if time >= (change.pictures_until if kind == 'v' else change.sound_until):
                continue
            # Everything lies a second later, so that nothing is before zero. Pictures are decoded at the times at which
            # they were, since they are not decoded in the order in which they are shown.
            later = 1 + (change.sound_at if kind == 'a' else 0.0)
            pause = 0.5 if kind == 'v' and time > change.pause_at else 0.0
            packet.pts += round((later + pause) / packet.time_base)
            packet.dts += round(later / packet.time_base)
            packet.stream = track
            out.mux(packet)


def _arrays(column: Column) -> np.ndarray:
    contents = column.records(np.arange(int(column.offsets[-1])))
    return np.concatenate([records.numbers(content, column.shape) for content in contents])


def _pictures(column: Column) -> np.ndarray:
    import cv2

    encoded = [picture for content in column.records(np.arange(int(column.offsets[-1])))
               for picture in records.pictures(content)]
    return np.stack([cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                     for picture in encoded])


def _turned(frames: np.ndarray, degrees: int) -> np.ndarray:
    return np.rot90(frames, degrees // 90, axes=(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize('number', range(len(CHANGES)))
def test_right_times_within_a_frame(number: int, shared_data: Path, tmp_path: Path) -> None:
    change = CHANGES[number]
    source = sorted((shared_data / 'grid' / 'clips').iterdir())[7 * number]
    target = tmp_path / f'clip{change.ending}'
    remux(source, target, change)
    builders = (Rgb(fps=FPS, short_side=48), Waveform(audio_rate=RATE))
    kept = {'format': 1, 'texts': {}, 'columns': {column.name: {
        'kind': column.kind, 'rate': column.rate, 'chunk': 1, 'shape': list(column.shape),
        'options': dataclasses.asdict(column), 'builder': ''} for column in builders}}
    store = FileStore(kept, [of_file(target)])
    assert not store.errors
    assert not store.undecoded
    before, duration = probe(source), float(store.durations[0])
    begins = change.sound_at if 'v' in change.tracks else 0.0  # Without pictures the clock begins with the sound.
    pictures_end = min(before.picture_end, change.pictures_until) + 0.5 * (change.pause_at < 3) if (
        'v' in change.tracks) else 0.0
    sound_end = begins + min(before.sound_end, change.sound_until) if 'a' in change.tracks else 0.0
    assert duration == pytest.approx(max(pictures_end, sound_end), abs=FRAME + PACKET)
    heard = read_waveform(source, start=0, end=3, rate=RATE)
    rgb, sound = store.columns['rgb'], store.columns['waveform']
    if 'v' in change.tracks:
        shown = read_frames(source, start=0, end=3, fps=FPS, short_side=48)
        assert rgb.lengths[0] / FPS == pytest.approx(pictures_end, abs=FRAME)
        expected = _turned(shown, change.turn).astype(np.float32)
        for place, picture in enumerate(_pictures(rgb)):
            nearest = np.abs(expected - picture).mean((1, 2, 3)).argmin()
            right = change.source_time((place + 0.5) * FRAME)
            alike = np.abs(expected[min(int(right / FRAME), 74)] - expected[nearest]).mean() < 1.0  # A still face.
            assert abs((nearest + 0.5) * FRAME - right) <= FRAME or alike, (place, nearest)
    else:
        assert rgb.lengths[0] == 0
    if 'a' in change.tracks:
        found = _arrays(sound)
        assert abs(len(found) / RATE - duration) <= FRAME
        overlap = slice(round((max(0.0, begins) + 0.1) * RATE), round((min(begins + min(
            change.sound_until, 3.0), duration) - 0.1) * RATE))
        lags = np.arange(-round(0.2 * RATE), round(0.2 * RATE) + 1, 8)
        first = overlap.start - round(begins * RATE)
        part = found[overlap]
        alike = [np.dot(part, _at(heard, first - lag, len(part))) for lag in lags]
        assert abs(lags[int(np.argmax(alike))]) / RATE <= FRAME
        assert not found[:round(max(0.0, begins - FRAME) * RATE)].any(), 'silence before it begins'
        ended = round((begins + change.sound_until + 2 * PACKET + FRAME) * RATE)
        assert not found[ended:].any(), 'and after it ends'
    else:
        assert sound.lengths[0] == 0
    _check_windows(store, change, pictures_end)


def _at(x: np.ndarray, first: int, count: int) -> np.ndarray:
    """Samples from a place on, zeros where there are none."""
    out = np.zeros(count, np.float32)
    low, high = max(0, first), min(len(x), first + count)
    if high > low:
        out[low - first:high - first] = x[low:high]
    return out


def _check_windows(store: FileStore, change: Change, pictures_end: float) -> None:
    data = {'streams': {'rgb': {'modality': 'rgb', 'frames': 4, 'size': 40}, 'sound': {'modality': 'waveform'}},
            'augment': {}, 'dropout': {}, 'on_damage': 'stop'}
    windows = SlidingWindows(store, data, np.arange(1), cut=CUT, batch_size=4)
    assert windows.ends[-1] == pytest.approx(store.durations[0])
    present = {name: np.concatenate([batch[f'present/{name}'][batch['mask'] > 0] for batch in windows.batches()])
               for name in data['streams']}
    assert present['rgb'][windows.starts < pictures_end - 0.1].all()
    assert not present['rgb'][windows.starts > pictures_end + FRAME].any()
    assert present['sound'].all() == present['sound'].any() == ('a' in change.tracks)
