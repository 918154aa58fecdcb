r"""Turns video and audio files into a store: one column of ready frames a modality, which training reads fast.

Make the embedded synthetic data set and prepare its pictures and sound:

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio --short_side=64

Prepare your own files, named in a CSV file with the columns path, split and any labels:

  vmmjax prepare --source=videos/manifest.csv --store=stores/videos --columns=rgb,audio --workers=8

Add motion to that store, by TV-L1 (several times OpenCV's speed; --flow=farneback is faster still, and coarser):

  vmmjax prepare --source=videos/manifest.csv --store=stores/videos --columns=flow --flow=tv_l1_jax

A source can also be a folder with one folder of files a class. Files that cannot be read are listed in
rejected.csv in the store with the reason, and the others are prepared. A run that was stopped goes on with the
same command; columns that are complete are left as they are, so that another column can be added at any time.
The generated files of a synthetic source are kept in the folder --files, beside the store unless given.
"""

import os
from pathlib import Path
from typing import Any

from absl import flags

from vmmjax import registry
from vmmjax.cli.flow import Flow
from vmmjax.data import columns, sources, synthetic
from vmmjax.data.prepare import Summary, prepare
from vmmjax.errors import UserError

SOURCE = flags.DEFINE_string(
    'source', None, 'Manifest (CSV), folder with a folder a class, or synthetic:motion_sound.', required=True)
STORE = flags.DEFINE_string('store', None, 'Folder of the store; made where it is not there.', required=True)
COLUMNS = flags.DEFINE_list(
    'columns', ['rgb', 'audio'], 'What to prepare: rgb, flow (motion), audio (log-mel), or your own as '
    'package.module:Name.')
FPS = flags.DEFINE_float('fps', columns.Rgb.fps, 'Pictures a second of rgb and flow.')
SHORT_SIDE = flags.DEFINE_integer('short_side', columns.Rgb.short_side, 'Short side of the pictures in pixels.')
FLOW = flags.DEFINE_string(
    'flow', Flow.flow, f'Algorithm of the motion: {", ".join(Flow.algorithms)}, or your own as package.module:Name. '
    'tv_l1_jax is TV-L1 on the CPU, GPU or TPU that JAX finds.')
FLOW_ON = flags.DEFINE_string(
    'flow_on', Flow.flow_on, 'Pictures that the motion is taken from: resized, or source (then it is resized).')
AUDIO_RATE = flags.DEFINE_integer('audio_rate', columns.Audio.audio_rate, 'Samples a second of the sound.')
HOP_MS = flags.DEFINE_float('hop_ms', columns.Audio.hop_ms, 'Milliseconds between frames of the log-mel.')
WINDOW_MS = flags.DEFINE_float('window_ms', columns.Audio.window_ms, 'Milliseconds of sound in a frame.')
BANDS = flags.DEFINE_integer('bands', columns.Audio.bands, 'Mel bands.')
FMIN = flags.DEFINE_float('fmin', columns.Audio.fmin, 'Lowest frequency of the bands, Hz.')
FMAX = flags.DEFINE_float('fmax', columns.Audio.fmax, 'Highest frequency of the bands, Hz.')
WORKERS = flags.DEFINE_integer('workers', os.cpu_count() or 1, 'Processes that decode.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of a synthetic source.', lower_bound=0)
SIZES = flags.DEFINE_list(
    'sizes', [f'{split}={clips}' for split, clips in synthetic.SIZES.items()],
    'Clips of a synthetic source a split.')
FILES = flags.DEFINE_string(
    'files', None, 'Folder for the files of a synthetic source; <store>_files unless given.')


def main() -> None:
    """The command."""
    store = Path(STORE.value)
    chosen = [_column(name) for name in COLUMNS.value]
    clips, origin = _read_source(store)
    print(report(prepare(clips, store, chosen, origin=origin, workers=WORKERS.value), store))


def report(summary: Summary, store: Path) -> str:
    """What the command says at its end."""
    lines = []
    if summary.made:
        lines.append(f'{store}: {summary.clips} clips, prepared {", ".join(summary.made)}.')
    if summary.found:
        lines.append(f'{store}: {", ".join(summary.found)} of {summary.clips} clips had been prepared before; '
                     f'nothing was done again.')
    if summary.rejected:
        lines.append(f'{summary.rejected} could not be read: see {store / "rejected.csv"}.')
    return '\n'.join(lines)


def _column(name: str) -> Any:
    kind = registry.find(name, {**columns.COLUMNS, 'flow': Flow}, 'column')
    if kind is columns.Audio:
        return kind(audio_rate=AUDIO_RATE.value, hop_ms=HOP_MS.value, window_ms=WINDOW_MS.value, bands=BANDS.value,
                    fmin=FMIN.value, fmax=FMAX.value)
    if kind is columns.Rgb:
        return kind(fps=FPS.value, short_side=SHORT_SIDE.value)
    if kind is Flow:
        return kind(fps=FPS.value, short_side=SHORT_SIDE.value, flow=FLOW.value, flow_on=FLOW_ON.value)
    return kind()


def _read_source(store: Path) -> tuple[list[sources.Clip], str]:
    """The clips, and a name of the source that holds no absolute path."""
    source = SOURCE.value
    if not source.startswith('synthetic:'):
        for flag in (SIZES, FILES):
            if flags.FLAGS[flag.name].present:
                raise UserError(f'--{flag.name} is for synthetic sources; leave it out for {source}.')
        return sources.read(source), Path(source).name
    files = Path(FILES.value) if FILES.value else store.with_name(f'{store.name}_files')
    clips = sources.read(source, generated=files, seed=SEED.value, sizes=_sizes(), workers=WORKERS.value)
    return clips, f'{source} with seed {SEED.value}'


def _sizes() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for entry in SIZES.value:
        split, _, count = entry.partition('=')
        if not (split and count.isdigit() and int(count)):
            raise UserError(f'--sizes has {entry!r}; write split=clips, as in --sizes=train=1600,validation=160.')
        sizes[split] = int(count)
    return sizes
