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

from pathlib import Path

from absl import flags

from vmmjax.cli import protocol
from vmmjax.cli.processes import several_processes
from vmmjax.errors import UserError
from vmmjax.evaluation import noise_sweep
from vmmjax.pipeline.views import AVERAGES

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
        _fuse()
    elif SCORES.value:
        _compare()
    elif WORKDIR.value:
        _measure(Path(WORKDIR.value))
    else:
        raise UserError('--workdir is missing: name the folder of a run, or score files with --fuse.')


def _fuse() -> None:
    """Adds up the scores of several runs."""
    from vmmjax.evaluation import score_fusion

    runs = score_fusion.read(_paths(FUSE.value))
    weights = score_fusion.chosen_weights(WEIGHTS.value, runs, AVERAGE.value, tune=_paths(TUNE.value))
    fused = score_fusion.fuse(runs, weights, AVERAGE.value)
    print(score_fusion.table(FUSE.value, runs, fused))
    print(f'{len(fused.clip)} clips; weights {", ".join(f"{weight:g}" for weight in weights)} of {AVERAGE.value}.')


def _compare() -> None:
    """Measures scores of another framework beside those of a run."""
    if not AGAINST.value:
        raise UserError('--scores needs --against: a score file of a run of ours on the same clips, such as '
                        'runs/mine/eval/test.npz, which has their targets and groups.')
    from vmmjax.evaluation import outside_scores

    print(outside_scores.table(_paths(SCORES.value), _paths(AGAINST.value)))


def _measure(workdir: Path) -> None:
    """Measures a run, on clips of a store or on others."""
    from vmmjax.cli import evaluate_source, evaluate_store, measuring, new_clips
    from vmmjax.convert.bundle import is_bundle
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.experiment import Experiment

    saved = SavedRun.open(workdir, best=BEST.value)
    folder = workdir.with_name(f'{workdir.name}.results') if is_bundle(workdir) else workdir
    changes = protocol.changes(CHANGE.value)
    config = protocol.changed(saved.config, changes)
    if SOURCE.value:
        _check_source()
        run = Experiment(config, streaming=STREAMING.value, run_inputs=saved.run_inputs)
        run.restore(saved.checkpoints, saved.step)
        evaluate_source.measure(
            run, folder, SOURCE.value, out=new_clips.folder_of(folder, NAME.value, SOURCE.value), media=MEDIA.value,
            split=SPLIT.value if flags.FLAGS['split'].present else '', trained_on=saved.config.data.store,
            config=saved.meta['config'], changes=changes, streaming=STREAMING.value,
            explain=measuring.explainer(run) if EXPLAIN.value else None)
        return
    config.data.store = STORE.value or config.data.store
    evaluate_store.measure(saved, config, folder, evaluate_store.Measurement(
        split=SPLIT.value, changes=changes, streaming=STREAMING.value, name=NAME.value, beside=_paths(BESIDE.value),
        base=Path(BASE.value) if BASE.value else None, snr=SNR.value, noise=NOISE.value, explain=EXPLAIN.value,
        command=f'vmmjax evaluate --workdir={WORKDIR.value} --split={SPLIT.value}'
                f'{f" --store={STORE.value}" if STORE.value else ""}'))


def _check_source() -> None:
    """Refuses what is not for clips that are in no store."""
    for name in ('store', 'snr', 'beside', 'base'):
        if flags.FLAGS[name].present:
            raise UserError(f'--{name} is for clips of a store, and --source names others; leave one out.')


def _paths(names: list[str]) -> list[Path]:
    return [Path(name) for name in names]
