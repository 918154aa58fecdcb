r"""A question becomes a table: trains and measures every row of an ablation, and compares them.

All combinations of some values, each with three seeds:

  vmmjax ablate --config=experiments/configs/motion_sound.py --workdir=runs/fusions --seeds=3 \
      --grid='model.fusion.name=concat,sum,gated;streams=rgb,audio+rgb' --config.data.store=stores/motion_sound

The same by cross-validation, on two of the folds that the catalog names; and rows that stand in a file:

  vmmjax ablate --config=experiments/configs/grid_command.py --grid='arg=rgb,audio' --folds=0,1 --workdir=runs/streams
  vmmjax ablate --rows=experiments/ablations/systems.py --workdir=runs/systems

A key of the grid is one of the config; its values are Python literals, or texts as they stand, and a dict replaces all
that stood there. `arg` is the argument of the config file; `streams` leaves out all streams but those named.

Each run is `vmmjax train` and `vmmjax evaluate` in a folder of its own, and the same command goes on where it was
stopped: finished runs are kept, a half one resumes, and one that failed is tried again. On several machines or jobs
give each --worker=i --workers=n; --dry_run prints what would be done, and the forms for SLURM and XPK. The workdir gets
report.html, table.md, table.csv, table.tex and plot.svg, after each run anew: mean, confidence interval, the
paired difference to the first row, what it cost.
"""

import dataclasses
import functools
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from vmmjax import config as configs
from vmmjax.cli import ablation_runs
from vmmjax.cli import rows as ablations
from vmmjax.cli.ablation_runs import RunMaker
from vmmjax.cli.rows import Run, Variant
from vmmjax.errors import UserError
from vmmjax.evaluation import ablation, noise_sweep
from vmmjax.evaluation.ablation import Line, Measured
from vmmjax.evaluation.config_diff import Difference, differing, without_paths
from vmmjax.reports import ablation_page, curves, results_page

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Config file of all rows, as path.py or path.py:argument; set its keys with --config.key=value.')
GRID = flags.DEFINE_string('grid', '', "Values to combine, as 'key=value,value;key=value'.")
ROWS = flags.DEFINE_string('rows', '', 'In place of a grid: a file of named rows, as experiments/ablations/systems.py.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the ablation; made where it is not there.', required=True)
SEEDS = flags.DEFINE_integer('seeds', 1, 'Runs of a row, with as many seeds.', lower_bound=1)
FOLDS = flags.DEFINE_list('folds', [], 'Folds to test (catalog column fold), a run each; of rows that name their folds '
                          'these alone.')
SPLIT = flags.DEFINE_string('split', 'test', 'Split to measure.')
METRIC = flags.DEFINE_string(
    'metric', ablation.PER_CLIP, f'Of the figures of `vmmjax evaluate`; {ablation.PER_CLIP} is compared clip by clip.')
SNR = flags.DEFINE_list('snr', [], 'Measure in noise, too, what hears waveforms, at these ratios of sound to noise in '
                        'decibels, such as 10,5,0,-5,-10; see vmmjax evaluate.')
NOISE = flags.DEFINE_list('noise', list(noise_sweep.KINDS), 'Kinds of that noise.')
WORKER = flags.DEFINE_integer('worker', 0, 'Number of this worker, 0 to workers - 1.', lower_bound=0)
WORKERS = flags.DEFINE_integer('workers', 1, 'Equal commands that share the runs.', lower_bound=1)
PAGE = flags.DEFINE_string('page', '',
                           f'A Markdown page that gets the tables, too, between its lines {results_page.BEGIN} '
                           f'and {results_page.END}, with date, commit and machine.')
DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the runs and their commands, and do nothing.')


def main() -> None:
    """The command."""
    noise_sweep.ratios(SNR.value)  # Before anything is trained.
    noise_sweep.check(NOISE.value)
    folder, question, rows = Path(WORKDIR.value), *_rows()
    if WORKER.value >= WORKERS.value:
        raise UserError(f'--worker={WORKER.value} is to be less than --workers={WORKERS.value}.')
    overrides = {} if CONFIG.value is None else config_flags.get_override_values(flags.FLAGS['config'])
    runs = ablations.plan(rows, folder, seeds=SEEDS.value, folds=_folds(), overrides=overrides)
    own, maker = runs[WORKER.value::WORKERS.value], RunMaker(SPLIT.value, SNR.value, NOISE.value)
    if DRY_RUN.value:
        print(_described(runs, own, maker))
        return
    for run in runs:
        ablation_runs.check_unchanged(run)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # Ends what it started, too.
    with tqdm(own, unit='run', dynamic_ncols=True) as progress:
        for run in progress:
            maker.make(run, progress)
            _write(folder, question, rows, runs, maker)
    paths = _write(folder, question, rows, runs, maker)
    table = (folder / 'table.md').read_text()
    print(table)
    if PAGE.value:
        results_page.insert(Path(PAGE.value), results_page.machine(), table.strip())
    print(f'Wrote {", ".join(map(str, paths))}.')
    failed = [f'{run.row.name}, {run.name}: {maker.reason(run)}' for run in own if maker.reason(run)]
    if failed:
        raise UserError(f'{len(failed)} of {len(own)} runs failed; the same command tries them again. {failed[0]}')


def _rows() -> tuple[str, list[Variant]]:
    """The question and the rows."""
    given = flags.FLAGS['config']
    config = config_flags.get_config_filename(given) if CONFIG.value is not None else ''
    if bool(GRID.value) == bool(ROWS.value):
        raise UserError("Give either --grid='key=value,value' or --rows=file.py, which say what is compared.")
    if ROWS.value:
        return ablations.of_file(Path(ROWS.value), config)
    return '', ablations.of_grid(GRID.value, config)


def _folds() -> list[int]:
    try:
        return [int(fold) for fold in FOLDS.value]
    except ValueError as error:
        raise UserError(f'--folds={",".join(FOLDS.value)} are no numbers; give them as --folds=0,1.') from error


def _described(runs: Sequence[Run], own: Sequence[Run], maker: RunMaker) -> str:
    """What would be done."""
    lines = []
    for run in own:
        state = ' (finished)' if maker.is_finished(run) else ''
        lines.append(f'# {run.row.name}, {run.name}{state}')
        lines += [shlex.join(['vmmjax', *command[3:]]) for command in maker.commands(run)]
    each, last = f'{_command()} --workers={len(runs)} --worker=', len(runs) - 1
    lines += ['# Or one job a run, with SLURM; the last to finish completes the table:',
              f'sbatch --array=0-{last} --wrap={shlex.quote(each + "$SLURM_ARRAY_TASK_ID")}',
              '# Or with XPK on TPUs; of one host each, as a run is one process, with --workdir on a disk they share:',
              f'for worker in $(seq 0 {last}); do xpk workload create --cluster=$CLUSTER --docker-image=$IMAGE '
              f'--tpu-type=v5litepod-8 --workload=ablate-$worker --command={shlex.quote(each)}$worker; done']
    return '\n'.join(lines)


def _command() -> str:
    """This command for all runs."""
    own = ('--worker', '--workers', '--dry_run')
    return shlex.join(['vmmjax', *(argument for argument in sys.argv[1:] if argument.partition('=')[0] not in own)])


def _write(folder: Path, question: str, rows: Sequence[Variant], runs: Sequence[Run], maker: RunMaker) -> list[Path]:
    """The table of what is finished, by whichever worker."""
    rows = [row for row in rows if not row.pretraining]
    own = {row.name: [run for run in runs if run.row is row] for row in rows}
    finished = {name: [run for run in found if maker.is_finished(run)] for name, found in own.items()}
    lines = []
    for line in _lines(rows, finished, ''):
        failed = {run.name: reason for run in own[line.name] if (reason := maker.reason(run))}
        missing = len(own[line.name]) - len(line.runs) - len(failed)
        lines.append(dataclasses.replace(line, failed=failed, missing=missing))
    levels = noise_sweep.levels(noise_sweep.ratios(SNR.value)) if SNR.value else []
    noisy = {kind: {level: _lines(rows, finished, noise_sweep.condition(kind, level)) for level in levels}
             for kind in (NOISE.value if levels else [])}
    folder.mkdir(parents=True, exist_ok=True)
    series = {name: [_measured(run.name, run.folder, '').series for run in found] for name, found in finished.items()}
    keys = [f'{split}/{name}' for name in dict.fromkeys(('loss', METRIC.value)) for split in ('train', 'validation')]
    panels = curves.compared(series, keys, [METRIC.value] if ablation.is_per_clip(METRIC.value) else [])
    return ablation_page.write(folder, lines, question=question, command=without_paths(_command()), metric=METRIC.value,
                               noisy=noisy, panels=panels, differences=_differences(rows, own))


def _differences(rows: Sequence[Variant], own: Mapping[str, Sequence[Run]]) -> dict[str, list[Difference]]:
    """Where the config of each row differs from that of the first, in what is the same in all of a row's runs."""
    first, *others = ({row.name: configs.to_json(own[row.name][0].config) for row in rows}).items()
    found = {name: differing(first[1], text, left_out=('seed', 'data.fold')) for name, text in others}
    return {name: keys for name, keys in found.items() if keys}


def _lines(rows: Sequence[Variant], finished: Mapping[str, Sequence[Run]], condition: str) -> list[Line]:
    """The rows, of what is finished, in a condition of noise or, where it is empty, as it is."""
    measured = {name: tuple(_measured(run.name, run.folder, condition) for run in found)
                for name, found in finished.items()}
    lines = []
    for row in rows:
        against = ablations.compared_with(row, rows)
        others = ablation.related(measured[row.name], against, measured, row.begin)
        lines.append(_line(row.name, measured[row.name], against, tuple(others.items())))
    return lines


# The table is made after each run: what did not change since is not measured again.
@functools.cache
def _line(name: str, runs: Sequence[Measured], against: str, others: Sequence[tuple[str, Sequence[Measured]]]) -> Line:
    return ablation.line(name, runs, against, dict(others))


@functools.cache
def _measured(name: str, folder: Path, condition: str) -> Measured:
    if not condition:
        return ablation.measure(name, folder, SPLIT.value, METRIC.value)
    return ablation.in_noise(_measured(name, folder, ''), folder, SPLIT.value, METRIC.value, condition)
