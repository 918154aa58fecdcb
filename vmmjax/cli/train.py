r"""Trains a model on a prepared store.

  vmmjax train --config=experiments/configs/motion_sound.py --workdir=runs/motion_sound \
      --config.data.store=stores/motion_sound

The config is a Python file; any of its keys can be set on the command line, as above. Everything the run makes
stands in the workdir: checkpoints, log.jsonl, TensorBoard events. The same command again goes on
where the last one stopped, to the same result bit for bit; after SIGTERM the run saves and ends at the next step.

On several machines start it on each. TPU pods, SLURM (`srun`) and Open MPI say themselves who takes part; elsewhere:

  vmmjax train ... --coordinator=10.0.0.1:1234 --num_processes=2 --process_id=0     # and 1 on the other
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from vmmjax import config as configs
from vmmjax.cli.processes import several_processes

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Config file, as path.py or path.py:argument; set its keys with --config.key=value.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; made where it is not there.', required=True)
ALLOW_CHANGED = flags.DEFINE_list(
    'allow_changed', [], 'Config keys that may differ from those the run in the workdir began with.')
DETERMINISTIC = flags.DEFINE_bool(
    'deterministic', False, 'On a GPU: the same result bit for bit from the same machine. XLA then times no kernels '
    'against each other before it chooses, and adds up in a fixed order what scatters (gradients of embeddings, of '
    'gathers), both at the cost of speed; how much depends on the network. The gradient of its max pooling has no such '
    "order and is refused: give encoders that pool form='stacked'. Elsewhere it changes nothing.")
flags.mark_flag_as_required('config')


def main() -> None:
    """The command."""
    if DETERMINISTIC.value:
        from vmmjax.training.runtime import compute_deterministically

        compute_deterministically()
    _train()


@several_processes
def _train() -> None:
    from vmmjax.experiment import Experiment
    from vmmjax.training.distributed import Preempted, say

    folder = Path(WORKDIR.value)
    experiment = Experiment(configs.lock(CONFIG.value))
    try:
        experiment.train(folder, allow_changed=ALLOW_CHANGED.value)
    except Preempted as stop:
        say(f'{stop} The same command goes on from there.')
    else:
        say(f'Done. Now: vmmjax evaluate --workdir={folder}')
