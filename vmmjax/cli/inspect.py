"""Says what is in a store, in the folder of a run, or in a bundle.

  vmmjax inspect stores/videos
  vmmjax inspect runs/motion_sound
  vmmjax inspect motion_sound.vmm
  vmmjax inspect runs/old --write_inputs --store=stores/videos

Of a store: its splits, its columns with the options and versions they were made with, how the labels are spread, and
how much was rejected. Of a run: its checkpoints, streams and encoders, and what was measured last.

A run of a version before 0.2 did not write down how its streams are read, which prediction on files needs.
--write_inputs reads it from the store that the run was trained on, and writes it into the run's folder.
"""

from pathlib import Path

from absl import flags

from vmmjax.errors import UserError

POSITIONAL = 'STORE|WORKDIR|BUNDLE ...'
WRITE_INPUTS = flags.DEFINE_bool('write_inputs', False, 'Write down how the streams of a run are read.')
STORE = flags.DEFINE_string('store', '', 'With --write_inputs: where the store is that the run was trained on, if not '
                            'where it was.')


def main(folders: list[str]) -> None:
    """The command."""
    if WRITE_INPUTS.value:
        for folder in folders:
            _write_inputs(Path(folder))
        return
    from vmmjax.reports import inspect

    print('\n\n'.join(inspect.describe(folder) for folder in folders))


def _write_inputs(folder: Path) -> None:
    # Describing a store needs none of this.
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.parts import Parts
    from vmmjax.training import workdir

    saved = SavedRun.open(folder)
    config = saved.config
    if STORE.value:
        config.data.store = STORE.value
    run = Parts(config)
    if run.store.fingerprint != saved.meta['fingerprint']:
        raise UserError(f'The store {config.data.store} is not the one that the run in {folder} was trained on; name '
                        f'that as --store.')
    print(f'Wrote {workdir.write_run_inputs(folder, run.run_inputs)}.')
