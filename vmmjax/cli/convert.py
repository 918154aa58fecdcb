"""Reads a published checkpoint and writes a folder that training goes on from; or writes it for PyTorch.

  vmmjax convert rgb_imagenet.pt --output=runs/i3d
  vmmjax train --config=... --workdir=... --config.init_from.workdir=runs/i3d
  vmmjax convert rgb_imagenet.ckpt --output=runs/i3d_10 --num_classes=10 --allow_missing='head/.*'
  vmmjax convert resnet50.pth --name=tsm_resnet50 --stream=flow --channels=10 --output=runs/tsm_flow
  vmmjax convert vgg16_imagenet --output=runs/vgg16
  vmmjax convert runs/i3d --to=pytorch-i3d --output=rgb.pth

The format is recognised from the file, which may be of PyTorch (.pth, .pt; PyTorch itself is not needed), safetensors,
TensorFlow (the checkpoint's prefix), a pickle of arrays, or a folder of vmmjax. Nothing in it is run. Every tensor
that is missing or unused is an error unless a pattern allows it; --report and --verbose say what became of each.
Weights that packages of the extra `pretrained` bring have names: i3d_rgb_kinetics400, efficientnet_lite0_imagenet,
vgg16_imagenet.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.serving.classes import KINETICS, kinetics_classes, read_classes

if TYPE_CHECKING:
    from vmmjax.convert import Loaded

POSITIONAL = 'SOURCE'
OUTPUT = flags.DEFINE_string('output', None, 'Folder to make; with --to the file, x.pth or x.safetensors.',
                             required=True)
TO = flags.DEFINE_string('to', '', 'Published format to write, such as pytorch-i3d or torchvision.')
NAME = flags.DEFINE_string('name', '', 'Another model that takes the weights, inflated where it needs that.')
STREAM = flags.DEFINE_string('stream', '', 'Input that the model is to read, if not the one of the file: rgb or flow.')
PART = flags.DEFINE_string('part', '', 'Of a file with several networks, such as weights and their moving average, the '
                           'one that is meant: the keys under which it lies, joined by /.')
CHANNELS = flags.DEFINE_integer('channels', None, 'Channels of the input, if not those of the file.')
INFLATE = flags.DEFINE_string('inflate', 'mean', 'How 2-D kernels become 3-D ones: mean (over time), or centre.')
NUM_CLASSES = flags.DEFINE_integer('num_classes', None, 'Classes, if not those of the file; 0 for no head.')
CLASSES = flags.DEFINE_string('classes', '', 'Text file with the name of a class a line; by default those of Kinetics '
                              'where there are as many, else numbers.')
ALLOW_MISSING = flags.DEFINE_multi_string(
    'allow_missing', [], 'Pattern of our variables that stay at initialisation; may be given again.')
ALLOW_UNUSED = flags.DEFINE_multi_string(
    'allow_unused', [], "Pattern of the file's tensors that are left out; may be given again.")
REPORT = flags.DEFINE_string('report', '', 'JSON file to write: what became of every tensor.')
VERBOSE = flags.DEFINE_boolean('verbose', False, 'Print a line for every tensor.')


def main(arguments: list[str]) -> None:
    """The command."""
    if len(arguments) != 1:
        raise UserError(f'`vmmjax convert` takes one SOURCE, not {len(arguments)}: {", ".join(arguments)}.')
    from vmmjax import convert
    from vmmjax.convert import files, own

    output = Path(OUTPUT.value)
    if TO.value:
        files.check_ending(output)
    elif output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f'{output} is there already; name another --output, or remove it.')
    given: dict[str, Any] = dict(name=NAME.value or None, stream=STREAM.value or None, channels=CHANNELS.value,
                                 part=PART.value or None)
    if NUM_CLASSES.value is not None:
        given['num_classes'] = NUM_CLASSES.value
    loaded = convert.load(arguments[0], inflate=INFLATE.value, allow_missing=ALLOW_MISSING.value,
                          allow_unused=ALLOW_UNUSED.value, **given)
    print(loaded.report.table() if VERBOSE.value else loaded.report.summary(), flush=True)
    if REPORT.value:
        atomic.write(Path(REPORT.value), loaded.report.json())
    if TO.value:
        files.write(output, convert.export(loaded.variables, TO.value))
        print(f'Wrote {output}.')
        return
    own.write(output, loaded, _classes(loaded))
    print(f'Wrote {output}. To train from it: vmmjax train ... --config.init_from.workdir={output}')


def _classes(loaded: 'Loaded') -> list[str]:
    """Names of the model's classes."""
    head = loaded.model.head
    count = head.num_classes if head else 0
    if not CLASSES.value:
        return kinetics_classes(count) if count in KINETICS else [str(number) for number in range(count)]
    names = read_classes(Path(CLASSES.value))
    if len(names) != count:
        raise UserError(f'{CLASSES.value} names {len(names)} classes, and the model has {count}.')
    return names
