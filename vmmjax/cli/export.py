"""Writes a trained run as one file that predicts anywhere: weights, config, class names and compiled programs.

  vmmjax export runs/motion_sound --output=motion_sound.vmm
  vmmjax export runs/motion_sound --output=hub/motion_sound --format=safetensors

A bundle (.vmm) takes the place of the run's folder in every command (predict, extract, evaluate), and `vmmjax check`
proves it. It holds a program for CPU, GPU (CUDA) and TPU each, with preprocessing and presence masks inside, which
JAX alone can run; the one for this machine is run before the file is written, the others are lowered only.
With --format=safetensors a folder is written as model hubs expect it, with weights and config: model.safetensors and
config.json.
What only training needs of a task is left out.
"""

from pathlib import Path

from absl import flags

from vmmjax.errors import UserError

POSITIONAL = 'RUN'
OUTPUT = flags.DEFINE_string('output', None, 'File to write, such as model.vmm; a folder for safetensors.',
                             required=True)
FORMAT = flags.DEFINE_enum('format', 'bundle', ('bundle', 'safetensors'), 'What is written.')
BEST = flags.DEFINE_bool('best', False, 'Export the best checkpoint by config.best.metric, not the newest.')


def main(arguments: list[str]) -> None:
    """The command."""
    if len(arguments) != 1:
        raise UserError(f'`vmmjax export` takes one RUN, not {len(arguments)}: {", ".join(arguments)}.')
    output = Path(OUTPUT.value)
    is_folder = FORMAT.value == 'safetensors'
    if output.exists() and not (is_folder and output.is_dir() and not any(output.iterdir())):
        raise UserError(f'{output} is there already; name another --output, or remove it.')
    if not is_folder and output.suffix != '.vmm':
        raise UserError(f'{output} must end with .vmm, by which commands know a bundle.')
    from vmmjax.serving import bundle

    write = bundle.write_safetensors if is_folder else bundle.write
    write(Path(arguments[0]), output, best=BEST.value)
    print(f'Wrote {output}.')
