"""The rows of an ablation: from a grid or a file to configs, one a run, each in a folder of its own."""

import ast
import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

# Keys of a row that are no keys of a config.
ARGUMENT, STREAMS = 'arg', 'streams'


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
      name: in the table.
      config: `path.py` or `path.py:argument`.
      changes: dotted key of the config -> value; a dict replaces all that stood there. Two keys are no config's: `arg`
        is the argument of the config file, and `streams`, such as `audio+rgb`, leaves out all others; a single one is
        not fused.
      folds: that there are; empty for the splits of the catalog.
      against: name of the row that this one is compared with; the first unless given, and its own for none.
      begin: names of rows above it, with whose parameters, of the same fold and seed, it begins: for each encoder those
        of a run of its stream alone, say. What they do not have is named by `init_from.skip` among the changes.
      pretraining: whether others begin with it and that is all: it has no line in the table, so that its task may have
        other metrics.
    """

    name: str
    config: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    folds: Sequence[int] = ()
    against: str = ''
    begin: Sequence[str] = ()
    pretraining: bool = False


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a row.

    Attributes:
      row: of which it is one.
      name: such as `fold0` or `seed2`.
      folder: its workdir.
      config: what it is trained with.
      begin: the runs that it begins with.
    """

    row: Variant
    name: str
    folder: Path
    config: ConfigDict
    begin: Sequence['Run'] = ()


def of_grid(text: str, config: str) -> list[Variant]:
    """All combinations of the values of a grid, the last key changing fastest.

    Args:
      text: such as `model.fusion.name=concat,sum;batch_size=8,16`. A value is a Python literal, or a text as it stands;
        one with a comma or semicolon stands in quotes or brackets.
      config: of every row.

    Raises:
      UserError: for what is not of this form.
    """
    axes: dict[str, list[Any]] = {}
    for part in filter(None, apart(text, ';')):
        key, equals, values = part.partition('=')
        key = key.strip().removeprefix('config.')
        if not equals or not key or key in axes:
            raise UserError(f"--grid has {part.strip()!r}, where key=value,value once a key is meant, such as "
                            f"--grid='model.fusion.name=concat,sum;batch_size=8,16'.")
        axes[key] = [literal(value) for value in apart(values, ',')]
        for value in axes[key]:
            if axes[key].count(value) > 1:
                raise UserError(f'--grid has the value {value!r} of {key} twice; name it once, and repeat runs by '
                                f'--seeds.')
    # Names are as short as they tell the keys apart.
    short = ['.'.join(key.split('.')[-2:]) for key in axes]
    labels = short if len(set(short)) == len(short) else list(axes)
    return [Variant(', '.join(f'{label}={value}' for label, value in zip(labels, values, strict=True)), config,
                dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def apart(text: str, separator: str) -> list[str]:
    """Splits a text at a separator outside of brackets and quotes; a quote within a word is none."""
    found, depth, quote = [''], 0, ''
    for letter in text:
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"' and (depth or found[-1].rstrip()[-1:] in ('', '=')):
            quote = letter
        else:
            depth += (letter in '([{') - (letter in ')]}')
        if letter == separator and not depth and not quote:
            found.append('')
        else:
            found[-1] += letter
    return [value.strip() for value in found]


def literal(text: str) -> Any:
    """A Python literal, or the text as it stands."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def of_file(path: Path, config: str) -> tuple[str, list[Variant]]:
    """The question and the rows that stand in a file under `experiments/ablations/`.

    Args:
      path: a Python file with `QUESTION`, a sentence, and `ROWS`: name -> the fields of a `Variant`.
      config: of the rows that name none.

    Raises:
      UserError: for a file that is not there or not of this form.
    """
    module = configs.load(path)
    for name in ('QUESTION', 'ROWS'):
        if not hasattr(module, name):
            raise UserError(f'{path} has no {name}; an ablation file has a QUESTION and ROWS, as '
                            f'experiments/ablations/systems.py.')
    rows = []
    known = [field.name for field in dataclasses.fields(Variant)]
    for name, given in module.ROWS.items():
        for key in given:
            if key not in known:
                raise UserError(f'The row {name!r} of {path} has {key!r}: {did_you_mean(key, known[1:])}.')
        rows.append(Variant(**{'name': name, 'config': config, **given}))
    for i, row in enumerate(rows):
        if row.against and row.against not in module.ROWS:
            raise UserError(f'The row {row.name!r} of {path} is compared with {row.against!r}, which is no row: '
                            f'{did_you_mean(row.against, module.ROWS)}.')
        above = [other.name for other in rows[:i]]
        for name in row.begin:
            if name not in above:
                raise UserError(f'The row {row.name!r} of {path} begins with {name!r}, which is no row above it: '
                                f'{did_you_mean(name, above)}.')
    if rows and all(row.pretraining for row in rows):
        raise UserError(f'All rows of {path} are of pretraining; the table needs one that is not.')
    return str(module.QUESTION), rows


def compared_with(row: Variant, rows: Sequence[Variant]) -> str:
    """The name of the row that one of these is compared with; empty for none."""
    name = row.against or rows[0].name
    return '' if name == row.name else name


def plan(rows: Sequence[Variant], workdir: Path, *, seeds: int, folds: Sequence[int],
         overrides: Mapping[str, Any]) -> list[Run]:
    """The runs of all rows, each row once before any a second time, so that a table is soon complete.

    Args:
      rows: of the table.
      workdir: below which each run has its folder, the same each time.
      seeds: runs a fold, or a row without folds, each with the next seed.
      folds: of the rows' own folds those that are run, empty for all; of a row that names none all of these.
      overrides: dotted key -> value, in every run; a row's own changes go before them.

    Raises:
      UserError: for a config that cannot be made of a row, two rows of one name, or a row that has none of the folds.
    """
    runs: list[tuple[int, Run]] = []
    made: dict[tuple[str, str], Run] = {}
    for row in rows:
        if not row.config:
            raise UserError(f'The row {row.name!r} names no config; give one with --config.')
        own: list[int | None] = [fold for fold in row.folds or folds if not folds or fold in folds]
        if row.folds and not own:
            raise UserError(f'The row {row.name!r} has the folds {", ".join(map(str, row.folds))} and none of --folds='
                            f'{",".join(map(str, folds))}; name one of them.')
        base = _changed(row, overrides)
        for number, (seed, fold) in enumerate(itertools.product(range(seeds), own or [None])):
            config = configs.from_json(configs.to_json(base)).unlock()
            config.seed = base.seed + seed
            if fold is not None:
                config.data.fold = fold
            name = '_'.join([f'fold{fold}'] * (fold is not None) + [f'seed{seed}'] * (fold is None or seeds > 1))
            begin = [made[other, name] for other in row.begin if (other, name) in made]
            if len(begin) < len(row.begin):
                raise UserError(f'The row {row.name!r} has the run {name}, and the rows that it begins with have not; '
                                f'give all of them the same folds.')
            if begin:
                config.init_from.workdir = ','.join(str(run.folder) for run in begin)
            run = Run(row, name, workdir / folder_of(row.name) / name, configs.lock(config), begin)
            made[row.name, name] = run
            runs.append((number, run))
    runs.sort(key=lambda numbered: numbered[0])  # Stable.
    folders = [run.folder for _, run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(f'Two rows would have the folder {folder}; name them differently.')
    return [run for _, run in runs]


def folder_of(name: str) -> str:
    """The folder of a row's runs, below that of the ablation."""
    return re.sub(r'[^\w.=+-]+', '_', name).strip('_')


def _changed(row: Variant, overrides: Mapping[str, Any]) -> ConfigDict:
    """The config of a row."""
    changes = {**overrides, **row.changes}
    path, _, argument = row.config.partition(':')
    argument = str(changes.pop(ARGUMENT, argument))
    streams = changes.pop(STREAMS, None)
    module = configs.load(Path(path))
    found = configs.from_json(configs.to_json(module.get_config(argument) if argument else module.get_config()))
    values = found.to_dict()
    for key, value in changes.items():
        put(values, key.removeprefix('config.'), value, f'The row {row.name!r}')
    if streams is not None:
        keep_streams(values, str(streams).split('+'), f'The row {row.name!r}')
    return configs.lock(ConfigDict(values))


def put(values: dict[str, Any], key: str, value: Any, who: str) -> None:
    """Sets a dotted key of a config's values; a dict replaces all that stood there.

    Raises:
      UserError: says that `who` names a part that the config has not.
    """
    *parents, last = key.split('.')
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            raise UserError(f'{who} sets {key!r}, but the config has no {parent!r}: '
                            f'{did_you_mean(parent, values)}.')
        values = values[parent]
    values[last] = value


def keep_streams(values: dict[str, Any], streams: Sequence[str], who: str) -> None:
    """Leaves out of a config's values every stream but these.

    Raises:
      UserError: says that `who` keeps a stream that the config has not.
    """
    known = list(values['data']['streams'])
    for stream in streams:
        if stream not in known:
            raise UserError(f'{who} keeps the stream {stream!r}: {did_you_mean(stream, known)}.')
    for part in (values['data']['streams'], values['data']['dropout'], values['model']['preprocess'],
                 values['model']['encoders']):
        for stream in set(part) - set(streams):
            del part[stream]
    # A stream that stands alone is neither dropped nor fused.
    if len(streams) == 1:
        values['data']['dropout'], values['model']['fusion'] = {}, {'name': 'concat'}
