"""A Chromium that is told what to do by the DevTools protocol, over a pipe; it needs no package."""

import base64
import json
import os
import shutil
import subprocess
import time

import pytest


class Browser:
    """One page of it; what it has logged, and every address that it asked for, is kept."""

    def __init__(self, profile, width=1200, height=1400):
        program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
        if program is None:
            pytest.skip('needs a chromium, which is not installed here')
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        # It reads from 3 and writes to 4.
        self._process = subprocess.Popen(
            ['bash', '-c', 'exec "$@" 3<&$0 4>&"$ANSWERS"', str(theirs), program, '--headless', '--no-sandbox',
             '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
             f'--window-size={width},{height}', f'--user-data-dir={profile}', '--remote-debugging-pipe', 'about:blank'],
            pass_fds=(theirs, answers), env=os.environ | {'ANSWERS': str(answers)}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(answers)
        self._number, self._rest, self._session = 0, b'', None
        self.logged, self.asked = [], []
        page = next(each for each in self.call('Target.getTargets')['targetInfos'] if each['type'] == 'page')
        self._session = self.call('Target.attachToTarget', targetId=page['targetId'], flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def call(self, method, **parameters):
        """A command, and its answer."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']

    def run(self, script):
        """The value of a script, whose promises are waited for."""
        found = self.call('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        assert 'exceptionDetails' not in found, found
        return found['result'].get('value')

    def until(self, script, seconds=120):
        """Waits until a script gives something true, and returns it."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, (script, self.run('document.body.innerText'), self.logged)
            time.sleep(.1)
        return value

    def open(self, address):
        self.call('Page.navigate', url=address)
        self.until('document.readyState === "complete"')

    def drop(self, selector, *files):
        """Files from outside, dropped on an element."""
        x, y = self.run(f'(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();'
                        f'return [box.x + box.width / 2, box.y + box.height / 2]; }})()')
        data = {'items': [], 'files': [str(file) for file in files], 'dragOperationsMask': 1}
        for kind in ('dragEnter', 'dragOver', 'drop'):
            self.call('Input.dispatchDragEvent', type=kind, x=x, y=y, data=data)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', captureBeyondViewport=True)['data']))

    def close(self):
        self._process.kill()
        self._process.wait()
        for end in (self._in, self._out):
            os.close(end)

    def _read(self):
        while b'\0' not in self._rest:
            part = os.read(self._in, 1 << 16)
            assert part, 'the browser has ended'
            self._rest += part
        message, _, self._rest = self._rest.partition(b'\0')
        found = json.loads(message)
        if found.get('method') in ('Log.entryAdded', 'Runtime.exceptionThrown', 'Runtime.consoleAPICalled'):
            self.logged.append(found['params'])
        elif found.get('method') == 'Network.requestWillBeSent':
            self.asked.append(found['params']['request']['url'])
        return found
