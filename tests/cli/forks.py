"""Commands in forks of one process that has imported what they import: importing takes most of a short command's time.

A fork is a process of its own with the arguments, environment, folder and files of a command; it differs from one that
a shell starts in nothing but what is imported already. JAX has no backend yet where it forks, and no thread runs.
"""

import atexit
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_IMPORTED = (
    'librosa', 'matplotlib.pyplot', 'ml_collections.config_flags', 'optax', 'orbax.checkpoint', 'sklearn.metrics',
    'tensorflow', 'tensorflow_datasets', 'vmmjax.cli.main', 'vmmjax.convert.own', 'vmmjax.evaluation.attention',
    'vmmjax.evaluation.new_clips', 'vmmjax.experiment', 'vmmjax.prepare.build', 'vmmjax.reports.run_page',
    'vmmjax.serving.explain_split', 'vmmjax.serving.predict')
_server = None


class Command:
    """A running `vmmjax`, with the methods of `subprocess.Popen`.

    Args:
      arguments: of the command.
      env: its whole environment.
      cwd: its folder.
      stdin: a descriptor or a file; nothing otherwise.
      stdout: likewise.
      stderr: likewise.
    """

    def __init__(self, arguments, *, env, cwd=ROOT, stdin=None, stdout=None, stderr=None):
        self._report, theirs = socket.socketpair()
        with open(os.devnull, 'r+b') as nothing:
            files = [nothing if file is None else file for file in (stdin, stdout, stderr)]
            message = json.dumps([list(map(os.fspath, arguments)), env, os.fspath(cwd)]).encode()
            requests = _requests()
            requests.sendall(len(message).to_bytes(8))
            socket.send_fds(requests, [b'f'], [*(file if isinstance(file, int) else file.fileno() for file in files),
                                               theirs.fileno()])
            requests.sendall(message)
        theirs.close()
        self._report.settimeout(300)  # The first one waits for the imports.
        self.pid, self.returncode = int.from_bytes(self._received()), None

    def poll(self):
        """The exit status, None while it runs; -n where signal n ended it."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout=None):
        """Waits for the exit status."""
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = int.from_bytes(self._received(), signed=True)
            except TimeoutError:
                raise subprocess.TimeoutExpired('vmmjax', timeout) from None
            self._report.close()
        return self.returncode

    def send_signal(self, number):
        """Sends it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def _received(self):
        found = self._report.recv(8)
        assert found, 'the process that forks has ended'
        return found


def _requests():
    """The socket of the process that forks, which begins with the first command and ends with this process."""
    global _server
    if _server is None:
        _server, theirs = socket.socketpair()
        process = subprocess.Popen([sys.executable, '-m', 'tests.cli.forks', str(theirs.fileno())], cwd=ROOT,
                                   env={name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'},
                                   pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        atexit.register(lambda: (_server.close(), process.wait()))
    return _server


def _exactly(requests, count):
    found = b''
    while len(found) < count:
        part = requests.recv(count - len(found))
        if not part:
            _reap()
            sys.exit(0)
        found += part
    return found


def _reap():
    """Takes leave of those that have ended; who still runs is not waited for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _serve(requests):
    """Forks a command for each request, and a process that waits for it and reports its status."""
    while True:
        _reap()
        size = int.from_bytes(_exactly(requests, 8))
        _, files, *_ = socket.recv_fds(requests, 1, 4)
        asked = json.loads(_exactly(requests, size))
        if not os.fork():
            requests.close()
            report = socket.socket(fileno=files.pop())
            if not (pid := os.fork()):
                report.close()
                return *asked, files
            for file in (0, 1, 2, *files):
                os.close(file)
            report.sendall(pid.to_bytes(8))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            report.sendall(status.to_bytes(8, signed=True))
            os._exit(0)
        for file in files:
            os.close(file)


def _main():
    for name in _IMPORTED:
        with contextlib.suppress(ImportError):  # Of an extra that is not installed.
            importlib.import_module(name)
    gc.freeze()  # What is imported is not gone through again by every fork.
    arguments, env, cwd, files = _serve(socket.socket(fileno=int(sys.argv[1])))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    multiprocessing.process.ORIGINAL_DIR = cwd  # Which it noted when it was imported, and tells its own processes.
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ['vmmjax', *arguments]
    sys.modules['vmmjax.cli.main'].run()


if __name__ == '__main__':
    _main()
