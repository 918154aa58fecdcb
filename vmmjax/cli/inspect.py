"""Says what is in a store, or in the folder of a run.

  vmmjax inspect stores/videos
  vmmjax inspect runs/motion_sound

Of a store: its splits, its columns with the options and versions they were made with, how the labels are spread, and
how much was rejected. Of a run: its checkpoints, streams and encoders, and what was measured last.
"""

from vmmjax.reports import inspect

POSITIONAL = 'STORE|WORKDIR ...'


def main(folders: list[str]) -> None:
    """The command."""
    print('\n\n'.join(inspect.describe(folder) for folder in folders))
