"""The command against real sockets; real servers of RTSP only where they are installed."""

import datetime
import json
import os
import re
import signal
import time
import urllib.request

import pytest

from tests.cli.conftest import refused, started
from tests.serving import two_streams
from tests.serving.live import lights, servers, test_frames
from vmmjax.experiment import Experiment
from vmmjax.serving import bundle

PATIENCE = 240  # Seconds; a busy machine is no fault.


class Watching:
    """A running `vmmjax watch`, and what it tells."""

    def __init__(self, *arguments, folder):
        self.folder = folder
        self._lines = (folder / 'said.txt').open('w')
        self._told = (folder / 'told.jsonl').open('w')
        self.process = started('watch', *arguments, stdout=self._told, stderr=self._lines)

    def said(self):
        return (self.folder / 'said.txt').read_text().splitlines()

    def told(self):
        return [json.loads(line) for line in (self.folder / 'told.jsonl').read_text().splitlines()]

    def until(self, condition):
        """Waits until `condition()` is true, and returns what it was."""
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(.05)
        return found

    def line(self, text):
        """The first line that holds a text."""
        return self.until(lambda: next((line for line in self.said() if text in line), None))

    def status(self):
        address = self.line('see http').partition('see ')[2]
        with urllib.request.urlopen(f'{address}status.json') as answer:
            return json.load(answer)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        for file in (self._lines, self._told):
            file.close()
        return code


@pytest.fixture
def watching(tmp_path):
    """Begins the command; it is killed where the test fails."""
    begun = []

    def begin(*arguments):
        begun.append(Watching(*arguments, folder=tmp_path))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


def test_a_file_is_watched_to_its_end(films, lights_run, watching, tmp_path):
    watcher = watching(f'film={films / "film.mp4"}', f'--weights={lights_run}', '--speed=0', '--before=1', '--after=1',
                       f'--output={tmp_path / "out"}')
    assert watcher.process.wait(PATIENCE) == 0
    told = watcher.told()
    assert [(alarm['state'], alarm['source']) for alarm in told] == 2 * [('start', 'film'), ('end', 'film')]
    assert [(alarm['start'], alarm['end']) for alarm in told if alarm['state'] == 'end'] == [(3, 5), (7.5, 9)]
    log = (tmp_path / 'out' / 'alarms.jsonl').read_text()
    assert log == (tmp_path / 'told.jsonl').read_text()
    assert 'film: 120 frames, 120 used, 0 dropped; 6 windows judged, 0 not; 2 alarms' in watcher.said()[-1]
    assert all((tmp_path / 'out' / 'clips' / f'{alarm["id"]}.mp4').is_file() for alarm in told)


@pytest.mark.slow
def test_an_output_that_nobody_reads_holds_up_neither_log_nor_receiver(films, lights_run, tmp_path):
    receiver = servers.Receiver()
    receiver.up()
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / 'said.txt').open('w') as said:
        process = started('watch', f'film={films / "film.mp4"}', f'--weights={lights_run}', '--speed=0',
                          f'--output={tmp_path / "out"}', f'--webhook={receiver.address}', stdout=writing, stderr=said)
    os.close(writing)
    assert process.wait(PATIENCE) == 0
    receiver.close()
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'alarms.jsonl').read_text().splitlines()]
    assert [alarm['state'] for alarm in lines] == 2 * ['start', 'end']
    assert receiver.found == lines
    said = (tmp_path / 'said.txt').read_text()
    assert said.count('film: an alarm cannot be told: Broken pipe') == 4
    assert 'Traceback' not in said


@pytest.mark.slow
def test_what_the_run_does_not_say_leaves_no_folder_behind(lights_run, tmp_path):
    line = refused('watch', 'rtsp://camera', f'--weights={lights_run}', '--alarm=fight', f'--output={tmp_path / "new"}')
    assert "names 'fight'" in line
    assert not (tmp_path / 'new').exists()


@pytest.mark.slow
def test_a_bundle_watches_as_its_run_does(films, lights_run, watching, tmp_path):
    bundle.write(lights_run, tmp_path / 'lights.vmmjax', say=lambda _: None)
    watcher = watching(f'film={films / "film.mp4"}', f'--weights={tmp_path / "lights.vmmjax"}', '--speed=0')
    assert watcher.process.wait(PATIENCE) == 0, watcher.said()
    ended = [alarm for alarm in watcher.told() if alarm['state'] == 'end']
    assert [(alarm['start'], alarm['end'], alarm['present']) for alarm in ended] == [
        (3, 5, ['audio', 'rgb']), (7.5, 9, ['audio', 'rgb'])]


@pytest.mark.slow
def test_a_network_of_the_past_watches_frame_by_frame(films, watching, tmp_path):
    two_streams.save(tmp_path / 'run', test_frames.experiment())
    watcher = watching(f'film={films / "film.mp4"}', f'--weights={tmp_path / "run"}', '--streaming', '--speed=0',
                       '--alarm=clap', '--high=0')
    assert watcher.process.wait(PATIENCE) == 0, watcher.said()
    assert 'film: 120 frames, 120 used, 0 dropped; 120 windows judged, 0 not; 1 alarms' in watcher.said()[-1]
    *_, ended = watcher.told()
    assert (ended['class'], ended['state'], ended['start'], ended['end']) == ('clap', 'end', 0, 12)


@pytest.mark.slow
def test_a_file_that_is_played_by_rtsp_gives_the_alarms_of_evaluate_in_time(films, lights_run, watching):
    expected = [alarm for alarm in Experiment.load(lights_run).evaluate('test').alarms if alarm['clip'] == 'film.mp4']
    server = servers.GStreamer(films / 'film.mp4')
    watcher = watching(f'door={server.address}', f'--weights={lights_run}')
    seen = {}
    while len(seen) < 2 * len(expected):
        for message in watcher.until(lambda: watcher.told()[len(seen):]):
            seen[message['id'], message['state']] = message, time.time() - server.began[0]
    assert watcher.stop() == 0
    server.close()
    starts, ends = ([each for (_, state), each in seen.items() if state == wanted] for wanted in ('start', 'end'))
    assert len(starts) == len(ends) == len(expected) == 2
    for (start, told), (end, _), alarm in zip(starts, ends, expected, strict=True):
        assert (end['start'], end['end']) == pytest.approx((alarm['start'], alarm['end']), abs=1 / lights.FPS + .1)
        assert end['peak'] == pytest.approx(alarm['highest'], abs=.01)
        assert told <= alarm['start'] + .5 + lights.WINDOW + .5, 'its least length, a window and half a second'
        moment = datetime.datetime.fromisoformat(start['time']).timestamp() - server.began[0]
        assert moment == pytest.approx(alarm['start'], abs=.5), 'also where opening the stream took seconds'


@pytest.mark.slow
def test_faults_of_a_stream_and_of_a_receiver(films, lights_run, watching, tmp_path):
    """Refused, garbage, cut off within an alarm, back again; a receiver that is down at first; SIGTERM in an alarm."""
    cuts, stream = servers.transport_stream(films / 'film.mp4')
    server, receiver = servers.StreamServer(), servers.Receiver()
    watcher = watching(f'door={server.address}', f'--weights={lights_run}', f'--output={tmp_path / "out"}',
                       '--before=1', '--after=1', '--stall=120', f'--webhook={receiver.address}', '--page=127.0.0.1:0')
    watcher.line('door: connection refused')

    def judged():
        (source,) = watcher.status()['sources']
        return source['windows'] + source['windows_dropped']

    def send(connection, sent, end):
        """Sends the seconds up to `end` a window at a time, each when the one before was judged."""
        for second in range(2, end + 1, 2):
            until = next((place for at, place in cuts if at > second + 0.8), len(stream))
            before = judged()
            connection.sendall(stream[sent:until])
            sent = until
            watcher.until(lambda before=before: judged() > before)

    server.listen()
    with server.accept() as connection:
        connection.sendall(bytes(range(1, 256)) * 2000)
    with server.accept() as connection:
        send(connection, 0, 4)
        watcher.until(lambda: len(watcher.told()) == 1)
    watcher.until(lambda: [alarm['state'] for alarm in watcher.told()] == ['start', 'end'])
    first = watcher.told()[-1]
    assert (first['start'], first['end']) == (3, 4)
    receiver.up()
    connection = server.accept()
    send(connection, 0, 4)
    watcher.until(lambda: len(watcher.told()) == 3)
    (source,) = watcher.status()['sources']
    assert (source['state'], source['alarms'], source['faults']) == ('running', 2, 2)
    assert watcher.stop() == 0
    connection.close()
    told = watcher.told()
    assert [alarm['state'] for alarm in told] == ['start', 'end', 'start', 'end']
    assert len({alarm['id'] for alarm in told}) == 2
    assert receiver.found == told, 'nothing is lost, nothing comes twice'
    receiver.close()
    faults = [line.partition(' ')[2] for line in watcher.said() if ' door: ' in line]
    assert [line.partition(': ')[2].partition(';')[0] for line in faults[:-1]] == [
        'connection refused', 'running again', 'the stream ended', 'running again'], 'one line a fault'
    frames, used, dropped = map(int, re.search(r'(\d+) frames, (\d+) used, (\d+) dropped', watcher.said()[-1]).groups())
    assert frames == used + dropped > 60
    assert 'Traceback' not in '\n'.join(watcher.said())
    clip = tmp_path / 'out' / 'clips' / f'{told[0]["id"]}.mp4'
    assert clip.is_file()


def test_what_cannot_be_watched_is_said(lights_run, tmp_path):
    assert '--weights is missing' in refused('watch', 'rtsp://camera')
    assert 'no folder of a run' in refused('watch', 'rtsp://camera', f'--weights={tmp_path}')
    assert 'needs --output' in refused('watch', 'rtsp://camera', f'--weights={lights_run}', '--webhook=http://h/')
    for flag in ('--mqtt=bad', '--webhook=http://receiver:port/', '--streaming --stride=1'):
        line = refused('watch', 'rtsp://camera', f'--weights={lights_run}', f'--output={tmp_path / "new"}',
                       *flag.split())
        assert flag.partition('=')[0].split()[0] in line
        assert not (tmp_path / 'new').exists()
    assert 'no such file or folder' in refused('watch', 'camera.mp4', f'--weights={lights_run}')
    line = refused('watch', 'door=tcp://h:1', 'door=tcp://h:2', f'--weights={lights_run}')
    assert 'Two sources are called door' in line
