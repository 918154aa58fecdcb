"""What a published format is: how to tell it, and under which name it keeps each of our variables."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Network:
    """The network that a file holds, as `create_model` makes it.

    Attributes:
      name: of `create_model`.
      options: further arguments of `create_model`, `num_classes` among them.
      inputs: stream -> shape of a small input with which the variables can be initialised, such as
        `{'rgb': (1, 1, 32, 32, 3)}`; int32 for a text.
    """

    name: str
    options: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Format:
    """A published way to name and lay out the tensors of a network.

    Attributes:
      name: such as `pytorch-i3d`; what `--to` of `vmmjax convert` takes.
      recognise: tensors by published name -> the network, or None where the file is of another format.
      published: path of one of our variables -> the name this format gives it after `canonical`. A path is
        `params/encoder/conv1/kernel` or `params/head/logits/bias`, whatever the stream is called.
      layout: 'torch' (output channels first) or 'tensorflow' (output channels last).
      canonical: a name in the file -> the name that `published` gives; by default the name itself. It removes what
        differs between files of one family, such as `module.` or `.net`.
      ignored: a pattern of names that hold nothing a network needs, such as counters and momentum.
      exported: whether `vmmjax convert --to` writes it; of formats in layout 'torch' alone.
      kernel_axes: how many axes a kernel has at least, where it is written.
      parted: the tensors of a file -> the same, each of which is one of our variables; by default as they are.
    """

    name: str
    recognise: Callable[[Tensors], Network | None]
    published: Callable[[str], str]
    layout: str = 'torch'
    canonical: Callable[[str], str] = str
    ignored: str = r'(^|\.)num_batches_tracked$'
    exported: bool = False
    kernel_axes: int = 0
    parted: Callable[[Tensors], Tensors] = dict


_TORCH_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'embedding': 'weight', 'bias': 'bias',
                 'mean': 'running_mean', 'var': 'running_var'}


def torch_name(path: str, head: str = '') -> str:
    """The name in a PyTorch `state_dict` of a variable whose modules are named as there, `_` for a dot and a number.

    Args:
      path: such as `params/encoder/layer1_0/downsample_0/kernel`.
      head: what the last layer is called there, such as `fc`.

    Returns:
      Such as `layer1.0.downsample.0.weight`.
    """
    _, owner, *modules, leaf = path.split('/')
    if owner == 'head':
        modules = [head]
    return '.'.join([*(re.sub(r'_(\d)', r'.\1', module) for module in modules), _TORCH_LEAVES.get(leaf, leaf)])
