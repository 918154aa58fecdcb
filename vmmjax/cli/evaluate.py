"""Measures a trained model, exactly, with each subset of its modalities, and writes a report.

  vmmjax evaluate --workdir=runs/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --split=validation --store=/elsewhere/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --base=runs/motion_sound_rgb
  vmmjax evaluate --workdir=runs/grid_av --snr=10,5,0,-5,-10 --noise=white,babble
  vmmjax evaluate --workdir=runs/motion_sound --source=new/manifest.csv
  vmmjax evaluate --fuse=runs/rgb/eval/test.npz,runs/flow/eval/test.npz --weights=1,1

Prints a table and writes <workdir>/eval/<split>.json, <workdir>/report.html and, clip by clip,
<workdir>/eval/<split>.npz. The newest whole checkpoint is used, or with --best the best one of a run that was trained
with config.best.metric; the config is the one the run was trained with.
On the page the clips with the greatest losses play, beside what each stream said of them (Shapley values), and with
--explain under maps of where and when (HiResCAM); with --base it says where the config differs from another run's.
TensorBoard shows the figures, too, and the confusion matrix.
With --snr everything is measured again with noise in the waveforms at each of these ratios, which makes a further
table, <workdir>/eval/<split>_noise.json and a section of the page.
A store that was only moved is the run's own; of another one see below.
With --change clips are looked at otherwise than in training, as published protocols do: 10 windows of 3 larger crops by
--change='data.views.clips=10;data.views.crops=3;data.streams.rgb.size=256'. Any key of config.data can be changed but
the store, the target and the fold; --change="task.generation={'name': 'beam', 'beam': 20}" looks for texts otherwise.
The files are those of the measurement without, so copy what you want to keep.
With --streaming a network that looks at the past alone, such as a uni-directional TSM, is given one frame after the
other, as a live stream does, and measured by the mean of what it says; it is to be as right as with whole clips.

With --source clips are measured that are in no store: of a manifest, a folder with a folder a class, or what else
`vmmjax prepare` takes. They are read as the run read its own; its store is not needed. Of a source with several splits
--split is measured, else all clips. Labels may be missing: every clip's prediction is written as CSV and JSON lines,
and those with a label are measured. With --store of another store than the run's own its clips are measured likewise,
whichever splits it has. Both are written to <workdir>/new_clips/<name>, named after the source or by --name, so that
nothing of the run's own is replaced.

Of a bundle (--workdir=model.vmm) the files are written to <bundle>.results beside it.

With --fuse nothing is run: the scores that runs were given for the same clips are added up, as the results of
two-stream networks are made, and the table says what it is worth. --weights=fit takes those under which the targets
of the files of --tune are likeliest, which are the same runs' scores of another split; --weights=search the tenths that
get most of them right.

With --scores the scores of another framework are measured beside those of a run on the same clips: .npz files, one a
seed, with `clip` (text (N,), ids as in the catalog), `scores` (float (N, C), logits or probabilities) and, where its
classes are in another order, `classes` (text (C,)). --against names score files of the run, which have the targets and
the groups.

  vmmjax evaluate --scores=theirs_0.npz,theirs_1.npz --against=runs/mine_0/eval/test.npz,runs/mine_1/eval/test.npz
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.cli.processes import several_processes
from vmmjax.errors import UserError
from vmmjax.evaluation import noise_sweep
from vmmjax.evaluation.config_diff import Difference, differing, without_paths
from vmmjax.pipeline.views import AVERAGES

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment
    from vmmjax.serving.explanation import Explanation
    from vmmjax.store.store import Store

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run that `vmmjax train` made, or a bundle.')
SPLIT = flags.DEFINE_string('split', 'test', 'Split of the store to measure.')
BESIDE = flags.DEFINE_list('beside', [], 'Workdirs of other evaluated runs, as further rows of the table.')
BASE = flags.DEFINE_string('base', '', 'Workdir of another run; the page says where this config differs from its.')
STORE = flags.DEFINE_string('store', '', 'Where the store is now, if not where the run was trained; or one of new '
                            'clips.')
SOURCE = flags.DEFINE_string('source', '', 'Clips that are in no store: manifest (CSV), folder, NAME:ANNOTATION_FILES '
                             'or what else `vmmjax prepare --source` takes.')
MEDIA = flags.DEFINE_string('media', None, 'Folder below which the files lie that annotations of --source name.')
NAME = flags.DEFINE_string('name', '', 'Folder in <workdir>/new_clips for what is written of --source, or of a --store '
                           'of new clips; named after these unless given.')
BEST = flags.DEFINE_bool('best', False, 'Measure the best checkpoint by config.best.metric, not the newest.')
CHANGE = flags.DEFINE_string('change', '', "Test protocol: keys of config.data that are other than in training, as "
                             "'key=value;key=value'.")
STREAMING = flags.DEFINE_bool('streaming', False, 'Give the network one frame after the other, as a live stream does.')
EXPLAIN = flags.DEFINE_bool('explain', False, 'Draw on the page where and when the worst clips spoke for their class '
                            '(HiResCAM).')
SNR = flags.DEFINE_list('snr', [], 'Ratios of sound to noise in decibels, such as 10,5,0,-5,-10, to measure at, too.')
NOISE = flags.DEFINE_list('noise', list(noise_sweep.KINDS), 'Kinds of that noise.')
FUSE = flags.DEFINE_list('fuse', [], 'Score files of several runs, to be added up.')
WEIGHTS = flags.DEFINE_list('weights', [], 'One a file of --fuse, all the same unless given; `fit` or `search`.')
TUNE = flags.DEFINE_list('tune', [], 'Score files, one a file of --fuse, on which --weights=fit or search finds them.')
SCORES = flags.DEFINE_list('scores', [], 'Scores of another framework, .npz files with clip and scores, one a seed.')
AGAINST = flags.DEFINE_list('against', [], 'Score files of a run, one a seed, that --scores is measured against.')
AVERAGE = flags.DEFINE_enum('average', 'logits', AVERAGES, 'What --fuse adds up.')


@several_processes
def main() -> None:
    """The command."""
    if FUSE.value:
        _fuse([Path(name) for name in FUSE.value])
        return
    if SCORES.value:
        if not AGAINST.value:
            raise UserError('--scores needs --against: a score file of a run of ours on the same clips, such as '
                            'runs/mine/eval/test.npz, which has their targets and groups.')
        from vmmjax.evaluation import outside_scores

        print(outside_scores.table([Path(name) for name in SCORES.value], [Path(name) for name in AGAINST.value]))
        return
    if not WORKDIR.value:
        raise UserError('--workdir is missing: name the folder of a run, or score files with --fuse.')
    _measure(Path(WORKDIR.value))


def _measure(folder: Path) -> None:
    """Measures a run, on its store or on other clips, and writes what was found."""
    import jax

    from vmmjax.cli import measuring, new_clips
    from vmmjax.convert.bundle import is_bundle
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.evaluation import statistics
    from vmmjax.evaluation.result import count_evaluation, read_split, write
    from vmmjax.experiment import Experiment
    from vmmjax.reports import noise_table, reconstructions, run_page, tensorboard, worst_clips
    from vmmjax.serving import explain_split

    saved = SavedRun.open(folder, best=BEST.value)
    if is_bundle(folder):
        folder = folder.with_name(f'{folder.name}.results')
    meta = saved.meta
    changes = _changes()
    config = _changed(saved.config, changes)
    trained_on = config.data.store
    recorded = saved.run_inputs
    if SOURCE.value:
        _check_source()
        run = Experiment(config, streaming=STREAMING.value, run_inputs=recorded)
        run.restore(saved.checkpoints, saved.step)
        new_clips.measure_source(
            run, folder, SOURCE.value, out=new_clips.folder_of(folder, NAME.value, SOURCE.value), media=MEDIA.value,
            split=SPLIT.value if flags.FLAGS['split'].present else '', trained_on=trained_on, config=meta['config'],
            changes=changes, streaming=STREAMING.value, explain=_explain(run))
        return
    if STORE.value:
        config.data.store = STORE.value
    base = _base(Path(BASE.value), meta['config']) if BASE.value else None
    store = new_clips.opened(config, meta['fingerprint'], recorded)
    run = Experiment(config, store, streaming=STREAMING.value, run_inputs=recorded)
    new_clips.check_classes(run, meta['classes'], folder)
    out = folder
    if store.fingerprint != meta['fingerprint']:
        new_clips.check_apart(store, store.rows(SPLIT.value), f'the split {SPLIT.value} of {store.name}', trained_on,
                              config.data.fold)
    identity = new_clips.identity(run)
    if not new_clips.is_own(identity, meta['fingerprint'], recorded):
        out = new_clips.folder_of(folder, NAME.value, store.name)
        new_clips.check_free(out, identity)
    others = [Path(name) for name in BESIDE.value]
    for other in others:
        read_split(other, SPLIT.value)  # Before the time is spent on measuring.
    ratios = _ratios(run)
    run.restore(saved.checkpoints, saved.step)
    explain = _explain(run)
    predictions = run.predictions(SPLIT.value)
    measured = run.result(predictions, SPLIT.value)
    swept = measuring.with_noise(run, out, ratios, SPLIT.value, NOISE.value) if ratios else None
    if jax.process_index() == 0:
        whole = next(iter(predictions.values()))
        measured = dataclasses.replace(
            measured, changes=changes, streaming=STREAMING.value, cost=measuring.cost(run, SPLIT.value),
            worst=measuring.worst(run, whole))
        measured = explain_split.added(run, predictions, measured, run.store)
        if out != folder:
            new_clips.mark(out, identity)
        statistics.write_scores(out / 'eval' / f'{SPLIT.value}.npz', predictions, run.store)
        path, times = write(out, measured), count_evaluation(out, measured)
        tensorboard.write(out, measured)
        if swept is not None:
            noise_sweep.write(out, swept)
    made = reconstructions.shown(run, SPLIT.value)  # By all processes; what was measured is written by now.
    if jax.process_index() == 0:
        page = run_page.write(out, config=meta['config'], others=others, base=base,
                              show=functools.partial(worst_clips.shown, store=run.store, data=config.data.to_dict(),
                                                     explain=explain),
                              made=made,
                              command=f'vmmjax evaluate --workdir={WORKDIR.value} --split={SPLIT.value}'
                                      f'{f" --store={STORE.value}" if STORE.value else ""}')
        print(run_page.terminal_table(run_page.beside(measured, others)))
        if swept is not None:
            print(noise_table.terminal_table(swept))
        print(f'Wrote {path} and {page}; the clips are of {run.store.name}.')
        if times > 1:
            print(f'This is the evaluation number {times} of the split {SPLIT.value} by this run.')


def _explain(run: 'Experiment') -> 'Callable[[Store, int], Explanation] | None':
    """What draws the maps of --explain."""
    if not EXPLAIN.value:
        return None
    import jax

    from vmmjax.serving.explain import Explainer

    if jax.process_count() > 1:
        raise UserError('--explain draws maps in one process; leave it out, and evaluate once more in one for them.')
    return Explainer(run, methods=('hirescam',)).of_row


def _check_source() -> None:
    """Refuses what is not for clips that are in no store."""
    for name in ('store', 'snr', 'beside', 'base'):
        if flags.FLAGS[name].present:
            raise UserError(f'--{name} is for clips of a store, and --source names others; leave one out.')


def _changes() -> dict[str, Any]:
    """The keys of --change, with their values."""
    changes = {}
    for part in filter(None, rows.apart(CHANGE.value, ';')):
        key, equals, value = (text.strip() for text in part.partition('='))
        of_data = key.startswith('data.') and key not in ('data.store', 'data.target', 'data.fold')
        if not equals or not (of_data or key == 'task.generation'):
            raise UserError(f"--change has {part!r}, where key=value of config.data is meant, such as "
                            f"--change='data.views.clips=10;data.streams.rgb.size=256'.")
        changes[key] = rows.literal(value)
    return changes


def _changed(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    values = config.to_dict()
    for key, value in changes.items():
        rows.put(values, key, value, '--change')
    return configs.lock(ConfigDict(values))


def _base(folder: Path, config: str) -> tuple[str, list[Difference]]:
    """The name of a run, and where this config differs from its."""
    from vmmjax.convert import own

    _, meta = own.opened(folder).newest_meta()
    return without_paths(str(folder)), differing(meta['config'], config)


def _fuse(paths: list[Path]) -> None:
    from vmmjax.evaluation import score_fusion

    runs = score_fusion.read(paths)
    if WEIGHTS.value in (['search'], ['fit']):
        if len(TUNE.value) != len(paths):
            raise UserError(f'--weights={WEIGHTS.value[0]} needs --tune: a score file of another split for each of '
                            f'--fuse.')
        tuned = score_fusion.read([Path(name) for name in TUNE.value], measured=runs[0])
        if WEIGHTS.value == ['fit'] and AVERAGE.value != 'logits':
            raise UserError(f'--weights=fit is of logits, not of {AVERAGE.value}; leave --average out, or search.')
        weights: tuple[float, ...] = (score_fusion.fit(tuned) if WEIGHTS.value == ['fit'] else
                                      score_fusion.search(tuned, AVERAGE.value))
    else:
        try:
            weights = tuple(float(text) for text in WEIGHTS.value) or (1.0,) * len(paths)
        except ValueError as error:
            raise UserError(f'--weights is {",".join(WEIGHTS.value)} ({error}); give numbers, `fit` or '
                            f'`search`.') from error
    fused = score_fusion.fuse(runs, weights, AVERAGE.value)
    print(score_fusion.table(FUSE.value, runs, fused))
    print(f'{len(fused.clip)} clips; weights {", ".join(f"{weight:g}" for weight in weights)} of {AVERAGE.value}.')


def _ratios(run: 'Experiment') -> list[float]:
    """Those of --snr, checked before time is spent on measuring."""
    ratios = noise_sweep.ratios(SNR.value)
    if ratios:
        noise_sweep.heard(run.config, run.store, NOISE.value)
    return ratios
