r"""Tells how much each stream's own loss is to weigh, from how fast each stream alone learns and overfits.

  vmmjax blend rgb=runs/rgb audio=runs/audio fused=runs/both

Each run is one that `vmmjax train` made: of one stream alone, and `fused` of all of them. Between the first and the
last validation of each the validation loss fell by G, and the gap from training to validation loss grew by O; the
weights are G / O^2 (gradient blending, offline; Wang, Tran and Feiszli 2020, "What makes training multi-modal
classification networks hard?"). Put them into config.task.stream_weights, with
config.model.stream_head = dict(name='consensus'), and train the model of all streams again.

The runs should be alike in all but their streams, and without label smoothing, which only the training loss has.
"""

from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.evaluation import gradient_blending
from vmmjax.text_table import aligned

POSITIONAL = 'STREAM=WORKDIR ...'


def main(arguments: list[str]) -> None:
    """The command."""
    found = {}
    for argument in arguments:
        name, equals, folder = argument.partition('=')
        if not (name and equals and folder):
            raise UserError(f'{argument!r} is no stream and its run, such as rgb=runs/rgb.')
        found[name] = gradient_blending.estimate(Path(folder))
    weights = gradient_blending.weights(found)
    rows = [['', 'steps', 'G', 'O', 'weight'], *(
        [name, f'{one.steps[0]} to {one.steps[1]}', f'{one.generalisation:.4f}', f'{one.overfitting:.4f}',
         f'{weights[name]:.4f}'] for name, one in found.items())]
    print('\n'.join(aligned(rows, '<>', minimum=(6, 13, 8, 8, 7))))
    inside = ', '.join(f'{name!r}: {weight:.4f}' for name, weight in weights.items())
    print(f'\nconfig.task.stream_weights = {{{inside}}}')
