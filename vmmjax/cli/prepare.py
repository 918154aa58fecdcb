r"""Turns video and audio files into a store: one column of ready frames a modality, which training reads fast.

Make the embedded synthetic data set and prepare its pictures and sound:

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio --short_side=64

Clips of which is known how well each subset of the streams can tell each label (known_information.json has it):

  vmmjax prepare --source=synthetic:known_information:flip=.1,missing=.1 --store=stores/known --columns=rgb,audio

Prepare your own files, named in a CSV file with the columns path, split and any labels:

  vmmjax prepare --source=videos/manifest.csv --store=stores/videos --columns=rgb,audio --processes=8

Add motion to that store, by TV-L1 (several times OpenCV's speed; --flow=farneback is faster still, and coarser):

  vmmjax prepare --source=videos/manifest.csv --store=stores/videos --columns=flow --flow=tv_l1_jax

Prepare a published data set from its own annotation files and the folder in which its videos or sounds lie:

  vmmjax prepare --source=kinetics:annotations/train.csv,annotations/val.csv --media=k400 --store=stores/k400
  vmmjax prepare --source='hmdb51:testTrainMulti_7030_splits/*_test_split1.txt' --media=hmdb51 --store=stores/hmdb51_1

So are read kinetics, something (Something-Something), ucf101, hmdb51, audioset, esc50 and grid; tfds:NAME, or
tfds:FOLDER, reads a data set of TensorFlow Datasets with a video, and dmvr:FILES TFRecord files of
SequenceExamples, whose clips are written to files first, their pictures unchanged.

See what a command would do, stage by stage, without doing it, by adding --summary.

Look at a store: a page with a few clips, their frames, motion, sound and words in time:

  vmmjax prepare --store=stores/videos --preview

A source can also be a folder with one folder of files a class. Files that cannot be read are listed in
rejected.csv in the store with the reason, and the others are prepared. A run that was stopped goes on with the
same command; columns that are complete are left as they are, so that another column can be added at any time.
The files that are made of a synthetic source, of records or of folders of pictures are kept in the folder --files,
beside the store unless given.
"""

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS

if TYPE_CHECKING:
    from vmmjax.prepare.build import Share, Summary
    from vmmjax.prepare.runners import Runner
    from vmmjax.prepare.sources.clip import Clip

# The names and defaults in flags are those of the library, which takes seconds to import; a test compares them.
SOURCE = flags.DEFINE_string(
    'source', None, 'Manifest (CSV), folder with a folder a class, NAME:ANNOTATION_FILES of a published data set '
    '(kinetics, something, ucf101, hmdb51, audioset, esc50, grid), tfds:NAME, dmvr:FILES, synthetic:motion_sound or '
    'synthetic:known_information.')
MEDIA = flags.DEFINE_string(
    'media', None, 'Folder below which the files lie that annotations name; that of the annotations unless given.')
SOURCE_FPS = flags.DEFINE_float(
    'source_fps', None, 'Pictures a second of tfds: and dmvr: records and of folders of pictures.', lower_bound=0.1)
SOURCE_AUDIO_RATE = flags.DEFINE_integer(
    'source_audio_rate', None, 'Samples a second of the sound in dmvr: records.', lower_bound=1)
STORE = flags.DEFINE_string('store', None, 'Folder of the store; made where it is not there.', required=True)
COLUMNS = flags.DEFINE_list(
    'columns', ['rgb', 'audio'], 'What to prepare: rgb, flow, audio, mfcc, waveform, or your own as '
    'package.module:Name.')
FPS = flags.DEFINE_float('fps', 25.0, 'Pictures a second of rgb and flow.')
SHORT_SIDE = flags.DEFINE_integer('short_side', 128, 'Short side of the pictures in pixels.')
FLOW = flags.DEFINE_string(
    'flow', 'farneback', 'Algorithm of the motion: farneback, tv_l1, dis, lucas_kanade, tv_l1_jax, or your own as '
    'package.module:Name. tv_l1_jax is TV-L1 on the CPU, GPU or TPU that JAX finds.')
FLOW_ON = flags.DEFINE_string(
    'flow_on', 'resized', 'Pictures that the motion is taken from: resized, or source (then it is resized).')
AUDIO_RATE = flags.DEFINE_integer(
    'audio_rate', None, 'Samples a second of audio, mfcc and waveform; 16000, or what the front end has, unless given.')
HOP_MS = flags.DEFINE_float('hop_ms', None, 'Milliseconds between frames of audio and mfcc; 10 unless given.')
WINDOW_MS = flags.DEFINE_float('window_ms', None, 'Milliseconds of sound in a frame; 25 unless given.')
BANDS = flags.DEFINE_integer('bands', None, 'Mel bands; 64 of audio and 40 of mfcc unless given.')
FMIN = flags.DEFINE_float('fmin', None, 'Lowest frequency of the bands of audio, Hz; 125 unless given.')
FMAX = flags.DEFINE_float('fmax', None, 'Highest frequency of the bands of audio, Hz; 7500 unless given.')
COEFFICIENTS = flags.DEFINE_integer('coefficients', None, 'Coefficients of mfcc; 20 unless given.')
FRONT_END = flags.DEFINE_string(
    'front_end', None, f'Log-mels of the column audio: {", ".join(FRONT_ENDS)}, or your own as package.module:NAME; '
    'log_mel unless given.')
DENOISE = flags.DEFINE_float(
    'denoise', None, 'Part of the steady noise of the sound that a spectral gate takes away, 0 (none) to 1.')
TRIM_DB = flags.DEFINE_float(
    'trim_db', None, 'Sound so many decibels below its loudest becomes silent at both ends, in its place; 0 for none.')
PROCESSES = flags.DEFINE_integer(
    'processes', os.cpu_count() or 1, 'Processes of this machine that decode.', lower_bound=1)
WORKER = flags.DEFINE_integer(
    'worker', None, 'Number of this worker, 0 to workers - 1: each makes its share of the shards, the last to finish '
    'completes the column.', lower_bound=0)
WORKERS = flags.DEFINE_integer('workers', None, 'Equal commands on as many machines; see --worker.', lower_bound=1)
RUNNER = flags.DEFINE_string(
    'runner', None, "Apache Beam runner that makes the shards, such as DirectRunner or DaskRunner; none for "
    "--processes.")
RUNNER_OPTIONS = flags.DEFINE_string(
    'runner_options', '', "The runner's own options in one text, such as '--region=europe-west4 --project=mine'.")
FORCE = flags.DEFINE_bool('force', False, 'Make the columns again where they are complete.')
VERIFY = flags.DEFINE_bool(
    'verify', False, 'Compare every shard with its checksum. Without --source it names those that are damaged; with '
    '--source it makes those of --columns again.')
SUMMARY = flags.DEFINE_bool(
    'summary', False, 'Print the stages of preparing, and prepare nothing.')
PREVIEW = flags.DEFINE_bool(
    'preview', False, 'Write <store>/preview.html: a few clips with all their columns, in time. Without --source it is '
    'of what is there.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of a synthetic source.', lower_bound=0)
SIZES = flags.DEFINE_list(
    'sizes', ['train=1600', 'validation=160', 'test=800'], 'Clips of a synthetic source a split.')
FILES = flags.DEFINE_string(
    'files', None, 'Folder for the files that are made of a synthetic source, of records or of folders of pictures; '
    '<store>_files unless given.')


def main() -> None:
    """The command."""
    from vmmjax.prepare import verify
    from vmmjax.prepare.build import prepare, stages
    from vmmjax.reports import store_page

    store = Path(STORE.value)
    if SOURCE.value is None:
        if not (VERIFY.value or PREVIEW.value):
            raise UserError('--source is missing: name a manifest, a folder or a data set.')
        if VERIFY.value:
            print(verify.check(store, PROCESSES.value))
        if PREVIEW.value:
            print(f'Wrote {store_page.write(store)}.')
        return
    share, runner = _share(), _runner()
    chosen = [_column(name) for name in COLUMNS.value]
    clips, origin = _read_source(store)
    if SUMMARY.value:
        print(stages(clips, store, chosen, origin=origin))
        return
    print(report(prepare(clips, store, chosen, origin=origin, processes=PROCESSES.value, runner=runner, share=share,
                         force=FORCE.value, check=VERIFY.value), store))
    if PREVIEW.value:
        print(f'Wrote {store_page.write(store)}.')


def report(summary: 'Summary', store: Path) -> str:
    """What the command says at its end."""
    lines = []
    if summary.made:
        lines.append(f'{store}: {summary.clips} clips, prepared {", ".join(summary.made)}.')
    if summary.found:
        lines.append(f'{store}: {", ".join(summary.found)} of {summary.clips} clips had been prepared before; '
                     f'nothing was done again.')
    if summary.mended:
        lines.append(f'{summary.mended} damaged shards were made again.')
    if summary.waiting:
        lines.append(f'{store}: the share of this worker is made; {", ".join(summary.waiting)} is completed by the '
                     f'last of the others, or by the same command without --worker.')
    if summary.damaged:
        lines.append(f'{summary.damaged} are damaged or lack a track they declare: see {store / "damaged.csv"}.')
    if summary.rejected:
        lines.append(f'{summary.rejected} could not be read: see {store / "rejected.csv"}.')
    return '\n'.join([*lines, *summary.warnings])


def _share() -> 'Share':
    from vmmjax.prepare.build import WHOLE, Share

    worker, workers = WORKER.value, WORKERS.value
    if worker is None and workers is None:
        return WHOLE
    if worker is None or workers is None or worker >= workers:
        raise UserError(f'--worker={worker} --workers={workers} is no share: give both, the worker from 0 to workers '
                        f'- 1; the processes of this machine are --processes.')
    if workers > 1 and (FORCE.value or RUNNER.value):
        raise UserError(f'--{"force" if FORCE.value else "runner"} does not go with --workers, which share what is '
                        f'missing: leave one of them out.')
    return Share(worker, workers)


def _runner() -> 'Runner | None':
    from vmmjax.prepare.beam import Beam

    options = tuple(shlex.split(RUNNER_OPTIONS.value))
    if RUNNER.value is None and options:
        raise UserError('--runner_options is for --runner, which is missing.')
    return None if RUNNER.value is None else Beam(RUNNER.value, options)


def _column(name: str) -> Any:
    from vmmjax.cli.flow import Flow
    from vmmjax.prepare import columns

    kind = registry.find(name, {**columns.COLUMNS, 'flow': Flow}, 'column')
    if kind in (columns.Audio, columns.Mfcc, columns.Waveform):
        options = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in options.items() if value is not None})
    if kind is columns.Rgb:
        return kind(fps=FPS.value, short_side=SHORT_SIDE.value)
    if kind is Flow:
        return kind(fps=FPS.value, short_side=SHORT_SIDE.value, flow=FLOW.value, flow_on=FLOW_ON.value)
    return kind()


def _read_source(store: Path) -> 'tuple[list[Clip], str]':
    """The clips, and a name of the source that holds no absolute path."""
    from vmmjax.prepare import sources

    source = str(SOURCE.value)
    kind, _, rest = source.partition(':')
    for flag, kinds in ((SIZES, ['synthetic']), (MEDIA, list(sources.ANNOTATIONS)), (SOURCE_AUDIO_RATE, ['dmvr']),
                        (SOURCE_FPS, ['tfds', 'dmvr', *sources.ANNOTATIONS]),
                        (FILES, [*sources.GENERATED, *sources.ANNOTATIONS])):
        if flags.FLAGS[flag.name].present and kind not in kinds:
            raise UserError(f'--{flag.name} is for {", ".join(kinds)} sources; leave it out for {source}.')
    files = Path(FILES.value) if FILES.value else store.with_name(f'{store.name}_files')
    clips = sources.read(source, media=Path(MEDIA.value) if MEDIA.value else None, generated=files,
                         fps=SOURCE_FPS.value, audio_rate=SOURCE_AUDIO_RATE.value, seed=SEED.value, sizes=_sizes(),
                         workers=PROCESSES.value)
    if kind == 'synthetic':
        return clips, f'{source} with seed {SEED.value}'
    names = [Path(name).name for name in (rest or source).split(',')]
    return clips, f'{kind}:{",".join(names)}' if rest else names[0]


def _sizes() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for entry in SIZES.value:
        split, _, count = entry.partition('=')
        if not (split and count.isdigit() and int(count)):
            raise UserError(f'--sizes has {entry!r}; write split=clips, as in --sizes=train=1600,validation=160.')
        sizes[split] = int(count)
    return sizes
