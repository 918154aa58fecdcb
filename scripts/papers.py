r"""The table of the published rows, made from the configs under experiments/papers.

  scripts/papers --write                                      # puts it into experiments/papers/README.md
  scripts/papers --check                                      # fails where the page is not what it would write
  scripts/papers --plan=v5e:8x8 'i3d.py:kinetics400*'         # what training these rows takes, into plans.json

A file there has `ROWS`: argument -> the fields of a `Row`; `STORES`: folder -> the arguments of `vmmjax prepare`;
`STARTS`: folder of published weights -> the command that makes it; and `get_config`.
--plan compiles the row's step for a topology, as `vmmjax plan` does, in as few parts as fit; steps that are alike are
compiled once. It takes minutes a step, and a quarter of them with JAX_OPTIMIZATION_LEVEL=O1 before the command, see
`vmmjax plan --help`.
"""

import argparse
import dataclasses
import fnmatch
import functools
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from vmmjax import atomic, models, tasks
from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.errors import UserError, did_you_mean
from vmmjax.experiment import Experiment
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.spec_store import SpecStore
from vmmjax.planning import Compiled, Topology, compile_step, macs
from vmmjax.reports import results_page
from vmmjax.text_table import markdown
from vmmjax.training.build import build

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ROOT / 'experiments' / 'papers'
PAGE, PLANS = PAPERS / 'README.md', PAPERS / 'plans.json'
FPS = 25.0
_HEADER = ('row', 'protocol', 'published', 'ours', 'parameters, M', 'GMACs a view', 'source', 'differs from the paper')
Tests = Mapping[str, tuple[Mapping[str, Any], Mapping[str, float]]]
Shapes = Mapping[str, tuple[tuple[int, ...], Any]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A published row.

    Attributes:
      paper: the file's module.
      argument: behind `file.py:`.
      classes: of the data set.
      tests: protocol in words -> keys of the config that are other than in training, and the published figures.
      source: of the figures.
      differs: what is done otherwise than published.
      parameters: published, in millions; None where they are not.
      gmacs: likewise, 10^9 multiplications of a view.
      counted: the source of those two, where it is another.
      macs_of: keys of the config that make it the view that they are of.
      fuse: arguments of the rows whose scores are added; such a row is not trained.
      folds: that are tested in turn.
      bands: of the spectrograms in the store.
      split: that is measured.
    """

    paper: Any
    argument: str
    classes: int
    tests: Tests
    source: str = ''
    differs: str = ''
    parameters: float | None = None
    gmacs: float | None = None
    counted: str = ''
    macs_of: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fuse: Sequence[str] = ()
    folds: Sequence[int] = ()
    bands: int = 64
    split: str = 'test'

    @property
    def name(self) -> str:
        """`file.py:argument`."""
        return f'{self.paper.__name__}.py:{self.argument}'

    @property
    def workdir(self) -> str:
        """Of its run."""
        return f'runs/papers/{self.paper.__name__}/{self.argument.replace(",", "_")}'

    def config(self, changes: Mapping[str, Any] | None = None) -> configs.ConfigDict:
        """Its config, with changes."""
        values = self.paper.get_config(self.argument).to_dict()
        for key, value in (changes or {}).items():
            rows.put(values, key, value, f'A protocol of {self.name}')
        return configs.lock(configs.ConfigDict(values))


def read() -> dict[str, Row]:
    """All rows by name."""
    found = {}
    for path in sorted(PAPERS.glob('*.py')):
        paper = configs.load(path)
        own = [Row(paper, argument, **given) for argument, given in paper.ROWS.items()]
        found |= {row.name: row for row in own}
    return found


def pipeline(row: Row, config: configs.ConfigDict, *, train: bool) -> Pipeline:
    """The clip batches of a store that would hold the row's data set."""
    store = SpecStore(config, classes=row.classes, fps=FPS, bands=row.bands)
    return Pipeline(store, config.data, split='train', batch_size=config.batch_size, train=train, seed=0,
                    labels=tasks.create(config).targets(store, config.data))


def count(row: Row) -> tuple[float, float]:
    """Millions of parameters, and 10^9 multiplications of a view, of our network or of those that are fused."""
    if row.fuse:
        parts = [count(Row(row.paper, part, **row.paper.ROWS[part])) for part in row.fuse]
        return sum(each[0] for each in parts), sum(each[1] for each in parts)
    config = row.config(row.macs_of)
    spec = pipeline(row, config, train=True).spec
    streams = tuple((name, spec[name][0][1:], spec[name][1].name) for name in sorted(config.data.streams))
    return _count(json.dumps(config.model.to_dict(), sort_keys=True), row.classes, streams)


@functools.cache
def _count(model: str, classes: int, streams: tuple[tuple[str, tuple[int, ...], str], ...]) -> tuple[float, float]:
    network = models.create(json.loads(model), classes)
    batch = {name: jax.ShapeDtypeStruct((1, *shape), dtype) for name, shape, dtype in streams}
    variables = jax.eval_shape(lambda batch: network.init(jax.random.key(0), network.preprocess(batch), train=False),
                               batch)
    products = macs(lambda variables, batch: network.apply(variables, network.preprocess(batch), train=False).logits,
                    variables, batch)
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) / 1e6, products / 1e9


def commands(row: Row) -> list[str]:
    """All that makes its figures, but for the store, the published weights and the rows that it begins with."""
    if row.fuse:
        parts = [Row(row.paper, part, **row.paper.ROWS[part]) for part in row.fuse]
        measured = [commands(part)[1] for part in parts]
        files = ','.join(f'{part.workdir}/eval/{part.split}.npz' for part in parts)
        return [*measured, f'vmmjax evaluate --fuse={files} --weights={",".join("1" for _ in parts)}']
    fold, folder = ('--config.data.fold=$fold ', '/fold$fold') if row.folds else ('', '')
    train = f'vmmjax train --config=experiments/papers/{row.name} {fold}--workdir={row.workdir}{folder}'
    found = [train]
    for changes, _ in row.tests.values():
        change = ';'.join(f'{key}={value}' for key, value in changes.items())
        found.append(f'vmmjax evaluate --workdir={row.workdir}{folder}'
                     + f' --split={row.split}' * (row.split != 'test')
                     + f' --change={shlex.quote(change)}' * bool(change))
    if row.folds:
        return [f'for fold in {" ".join(map(str, row.folds))}; do {"; ".join(found)}; done']
    return found


def page(found: Mapping[str, Row], plans: Mapping[str, Any]) -> str:
    """What stands between the lines of the page."""
    parts = []
    for paper in {id(row.paper): row.paper for row in found.values()}.values():
        own = [row for row in found.values() if row.paper is paper]
        parts += [f'## {paper.__name__}.py', paper.__doc__.split('\n\n')[0].replace('\n', ' '), _table(own, plans),
                  'Once for all rows:', _block(_once(paper, own)),
                  'Each row, beginning with the row or the weights that its config names:',
                  _block([line for row in own for line in (f'# {row.name}{_after(row)}', *commands(row))])]
    return '\n\n'.join(parts)


def _table(own: Sequence[Row], plans: Mapping[str, Any]) -> str:
    rows = []
    for row in own:
        parameters, gmacs = count(row)
        shown = [_figure(parameters, row.parameters), _figure(gmacs, row.gmacs)]
        source = row.source + (f'; {row.counted}' if row.counted else '')
        for i, (protocol, (_, figures)) in enumerate(row.tests.items() or [('–', ({}, {}))]):
            published = ', '.join(f'{name} {value}' for name, value in figures.items()) or '–'
            cells = [f'`{row.argument}`', protocol, published, _ours(row, plans), *shown, source, row.differs]
            rows.append(cells if i == 0 else ['', protocol, published, *['"'] * 5])
    return markdown(_HEADER, rows, '<<><>><')


def _ours(row: Row, plans: Mapping[str, Any]) -> str:
    if row.fuse:
        return 'not run: adds rows above'
    if row.name not in plans:
        return 'not run'
    plan = plans[row.name]
    hours = plan['chip_hours'] * max(1, len(row.folds))
    return f'not run: needs {_rounded(hours)} chip-hours of {plan["topology"]} ({plan["date"]})'


def _rounded(hours: float) -> str:
    """To two digits, which is as much as a bound tells."""
    return f'{float(f"{hours:.2g}"):,.12g}'


def _figure(ours: float, published: float | None) -> str:
    return f'{ours:.2f}' + ('' if published is None else f' ({published:.4g})')


def _once(paper: Any, own: Sequence[Row]) -> list[str]:
    begins = [row.config().init_from.workdir for row in own if not row.fuse]
    return [*(f'vmmjax prepare {arguments} --store={store}' for store, arguments in paper.STORES.items()),
            *(command for folder, command in paper.STARTS.items() if folder in begins)]


def _after(row: Row) -> str:
    begin = '' if row.fuse else row.config().init_from.workdir
    return f', after {begin}' if begin else ''


def _block(lines: Sequence[str]) -> str:
    return '\n'.join(['```', *lines, '```'])


def plan(row: Row, topology: Topology) -> dict[str, Any]:
    """What training a row, of one fold where it has several, takes on a topology.

    Raises:
      UserError: for a row whose batch does not share out, or whose step does not fit; for what is no chip.
    """
    if topology.chip is None:
        raise UserError(f'{topology.name} has no published rates, from which hours could be told; name chips, such as '
                        f'v5e:4x4.')
    config, chips = row.config(), topology.chips
    clips = config.batch_size // chips
    if config.batch_size % chips:
        raise UserError(f'The batch of {row.name}, {config.batch_size} clips, does not share out over the {chips} '
                        f'chips of {topology.name}; name a smaller topology.')
    step, parts = _compiled(configs.to_json(step_of(config)), row.classes, row.bands, topology)
    if not step.fits:
        raise UserError(f'The step of {row.name} does not fit {topology.name}, one clip a chip at a time; name a '
                        f'larger topology.')
    hours, level = config.steps * step.seconds / 3600, jax.config.jax_optimization_level
    effort = '' if level == 'UNKNOWN' else f'JAX_OPTIMIZATION_LEVEL={level} '
    machine = results_page.machine(('jax', 'libtpu'))
    return dict(topology=topology.name, clips_a_chip=clips, microbatches=parts, hours=float(f'{hours:.3g}'),
                chip_hours=float(f'{hours * chips:.3g}'), needs_gb=round(step.needs / 1e9, 2),
                command=f"{effort}scripts/papers --plan={topology.name} '{row.name}'",
                date=machine.partition(',')[0], machine=machine)


def step_of(config: configs.ConfigDict) -> configs.ConfigDict:
    """A config with the same step: what that does not depend on is as by default."""
    found, default = config.copy_and_resolve_references(), configs.defaults()
    with found.unlocked():
        found.steps, found.init_from, found.optimizer.lr = default.steps, default.init_from, default.optimizer.lr
    return found


@functools.cache
def _compiled(config: str, classes: int, bands: int, topology: Topology) -> tuple[Compiled, int]:
    """A step in as few parts as fit, and how many these are."""
    changed, most = configs.from_json(config), 1.0
    clips = changed.batch_size // topology.chips
    for parts in (parts for parts in range(1, clips + 1) if clips % parts == 0):
        if parts < most and parts < clips:
            continue  # What did not fit said by how much; compiling takes minutes.
        with changed.unlocked():
            changed.microbatches = parts
        run = Experiment(changed, SpecStore(changed, classes=classes, fps=FPS, bands=bands),
                         devices=topology.devices())
        built = build(changed, run.mesh, run.apply, run.init, run.task)
        step = compile_step(built, run.mesh, topology, run.pipeline('train', train=True).spec, parts)
        if step.fits:
            break
        most = parts * step.needs / topology.chip.memory
    return step, parts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/papers', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}')
    parser.add_argument('--check', action='store_true', help='fail where the page is not up to date')
    parser.add_argument('--plan', default='', metavar='TOPOLOGY', help='such as v5e:4x4')
    parser.add_argument('rows', nargs='*', metavar='ROW', help='to plan for; * stands for any letters')
    given = parser.parse_args()
    found, plans = read(), read_plans()
    if given.plan:
        topology = Topology.parse(given.plan)
        for name in (name for pattern in given.rows for name in _trained(found, pattern)):
            plans[name] = plan(found[name], topology)
            atomic.write(PLANS, json.dumps(plans, indent=2, sort_keys=True) + '\n')
            print(f'{name}: {plans[name]["chip_hours"]:,.2f} chip-hours of {topology.name}', flush=True)
    elif given.rows:
        raise UserError('Rows are named for --plan=TOPOLOGY, such as --plan=v5e:4x4.')
    text = page(found, plans)
    if given.check and not is_in(text):
        raise UserError(f'{PAGE.relative_to(ROOT)} is not what the configs say; run scripts/papers --write.')
    if given.write or given.plan:
        results_page.insert(PAGE, text)
    elif not given.check:
        print(text)


def _trained(found: Mapping[str, Row], pattern: str) -> list[str]:
    """The rows of a pattern, such as `tsm.py:*`, but those that only add scores."""
    trained = [name for name, row in found.items() if not row.fuse]
    if not fnmatch.filter(trained, pattern):
        raise UserError(f'There is no row {pattern!r} that is trained: {did_you_mean(pattern, trained)}.')
    return fnmatch.filter(trained, pattern)


def read_plans() -> dict[str, Any]:
    """The records of --plan by row."""
    return json.loads(PLANS.read_text()) if PLANS.is_file() else {}


def is_in(text: str) -> bool:
    """Whether the page has it."""
    return PAGE.read_text().partition(results_page.BEGIN)[2].partition(results_page.END)[0].strip() == text.strip()


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'scripts/papers: {error}')
