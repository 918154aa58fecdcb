"""Pages of measured results, as in experiments/results: written by hand but for what stands between two lines."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vmmjax import atomic
from vmmjax.errors import UserError

BEGIN, END = '<!-- tables -->', '<!-- end of tables -->'


def machine(packages: Sequence[str] = ('jax',)) -> str:
    """Date, commit, processor, cores, and the versions of Python and of those packages that are there, as one line."""
    return ', '.join([str(datetime.date.today()), *_commit(), hardware(packages)])


def hardware(packages: Sequence[str] = ('jax',)) -> str:
    """Processor, cores, and the versions of Python and of those packages that are there, as one line."""
    found = []
    for name in packages:
        try:
            found.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = f'{os.cpu_count()} cores'
    return ', '.join([_processor(), cores, f'Python {platform.python_version()}', *found])


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')),
                platform.processor() or platform.machine())


def _commit() -> list[str]:
    """That of this package's checkout; nothing where it is installed without one."""
    try:
        found = subprocess.run(['git', '-C', Path(__file__).parent, 'describe', '--always', '--exclude=*', '--dirty=+'],
                               capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [f'commit {found.stdout.strip()}']


def insert(page: Path, *parts: str) -> None:
    """Puts paragraphs between the lines `BEGIN` and `END` of a page, in place of what stood there.

    Raises:
      UserError: where the page is not there or has no such lines.
    """
    text = page.read_text(encoding='utf-8') if page.is_file() else ''
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise UserError(f'{page} has no lines {BEGIN} and {END}, between which tables are put; write a page that has '
                        f'them, and says what was measured.')
    atomic.write(page, '\n\n'.join([before + begin, *parts, end + after]))
