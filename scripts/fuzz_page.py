"""Sends damaged files to `vmmjax serve`: each is judged, or refused in one sentence, and the server goes on.

  scripts/fuzz_page --files=500 --seed=0

The files are the mutants of `scripts/fuzz_media.py`; the run is one that is made by hand in a second. No answer may be
of status 500 or above but 503 where too many wait, nothing may be logged as unexpected, no sentence may name a path of
the server, and at the end a good file is judged and nothing is left in the temporary folder.
"""

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300.0  # Seconds for the command to begin, and for one file.


def environment(folder: Path) -> dict[str, str]:
    """One device, and temporary files in a folder that can be looked into."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {
        'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'TMPDIR': str(folder)}


class Page:
    """The command, asked as the page asks it."""

    def __init__(self, run: Path, folder: Path) -> None:
        """Begins to serve."""
        self.temporary, self._said = folder / 'temporary', folder / 'said.txt'
        self.temporary.mkdir()
        with self._said.open('w') as lines:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'vmmjax.cli.main', 'serve', f'--weights={run}', '--page=127.0.0.1:0'], cwd=ROOT,
                env=environment(self.temporary), stdout=subprocess.DEVNULL, stderr=lines)
        began = time.monotonic()
        while (found := re.search(r'see (http\S+)', self.said)) is None:
            if self.process.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f'The command does not begin: {self.said}')
            time.sleep(0.2)
        self._host = urlsplit(found[1]).netloc

    @property
    def said(self) -> str:
        """All that it has logged."""
        return self._said.read_text()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and values of an answer."""
        connection = http.client.HTTPConnection(self._host, timeout=PATIENCE)
        connection.request(method, path, body, {name.replace('_', '-'): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def judged(self, content: bytes, name: str) -> str:
        """What became of a file: `done`, or the sentence."""
        status, answer = self.ask('PUT', '/clips', content, X_File_Name=name)
        if status != 201:
            return f'status {status}: {answer}'
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            _, answer_now = self.ask('GET', '/status.json')
            job = next(each for each in answer_now['jobs'] if each['id'] == answer['id'])
            if job['state'] in ('done', 'failed'):
                return str(job['error'] or 'done')
            time.sleep(0.05)
        return f'status 500: it is not judged within {PATIENCE:g} s'


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--files', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    given = parser.parse_args()
    sys.path.append(str(ROOT))
    os.environ['XLA_FLAGS'] = ''
    from scripts import fuzz_media
    from tests.serving.live import lights

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        clips = fuzz_media.originals(folder)
        page = Page(lights.save_run(folder / 'run', lights.make_store(folder)), folder)
        rng, found, wrong = np.random.default_rng(given.seed), Counter[str](), 0
        for number in range(given.files):
            content, suffix = fuzz_media.mutant(clips, rng)
            name = f'{number}{suffix}'
            sentence = page.judged(content, name)
            is_right = sentence == 'done' or (
                re.fullmatch(rf'{re.escape(name)}: [^\n]{{10,300}}\.', sentence) is not None
                and str(page.temporary) not in sentence and 'could not be judged' not in sentence)
            wrong += not is_right
            found['judged' if sentence == 'done' else 'refused'] += 1
            if not is_right:
                print(f'{name}: {sentence}', flush=True)
        last = page.judged(clips['.mp4'], 'good.mp4')
        page.process.send_signal(signal.SIGTERM)
        code = page.process.wait(PATIENCE)
        left = list(page.temporary.glob('vmmjax-serve-*'))
        print(f'{given.files} files with seed {given.seed}: {dict(found)}, {wrong} wrong; a good one then: {last}; '
              f'status {code} at the end, {len(left)} folders left')
        if 'Traceback' in page.said:
            print(page.said[-3000:])
        sys.exit(1 if wrong or code or left or last != 'done' or 'Traceback' in page.said else 0)


if __name__ == '__main__':
    main()
