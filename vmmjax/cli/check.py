"""Proves bundles: every member is as it was written, and the program gives the golden outputs on this machine.

  vmmjax check motion_sound.vmm

A bundle is what `vmmjax export` writes. Its golden outputs are what the run computed of five clips of noise, some of
them cut short or without a stream; its program for this machine's platform must give them again, at batch 5 and at
batch 1. A member that was altered is named.
"""

from pathlib import Path

POSITIONAL = 'BUNDLE...'


def main(paths: list[str]) -> None:
    """The command."""
    from vmmjax.serving import bundle

    for path in paths:
        found = bundle.check(Path(path))
        print(f'{path}: {found.members} members are as they were written; the program for {found.platform} gives the '
              f'golden outputs, largest error {found.error:.1e} (allowed {found.tolerance:g}).', flush=True)
