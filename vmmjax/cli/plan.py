r"""Compiles a training step for devices that are not here, and says what it needs there.

  vmmjax plan --config=experiments/configs/systems/two_stream_i3d.py:full --topology=v5e:4x4,v5e:16x16 --clips=4

It is the step that `vmmjax train` runs, compiled by the TPU's own compiler (pip install 'vmmjax[plan]'; no TPU is
needed), or for the CPU taken for several devices, --topology=cpu:8. Nothing is trained and no clip is read: where the
config's store is not there, one is imagined, with --classes, --fps and --bands.

A table says, of each chip: whether it fits, what of its memory the state takes and the whole step; FLOPs, bytes that go
between memory and chip and bytes sent to other chips; how long a step takes at the least, with the chip's published
rates (the longest of the three bounds; real steps take longer, often twice as long); how many clips a second each host
must read for that, and how many of its cores are busy with it; and hours and chip-hours of config.steps. With --search
the clips a chip are doubled and halved until the largest batch that fits is found.

Compiling a large network takes minutes a topology, as before training. With less effort of the compiler,
JAX_OPTIMIZATION_LEVEL=O1 before the command, it takes about a quarter of them: memory, FLOPs and what is sent come out
alike (TSM-R50: within 1 %), bytes through memory higher (30 %), so that hours are then too many.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.reports import results_page

if TYPE_CHECKING:
    from vmmjax.planning import Compiled, Topology

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Config file, as path.py or path.py:argument; set its keys with --config.key=value.')
TOPOLOGY = flags.DEFINE_list('topology', None, 'Chips and how they are connected, such as v5e:4x4,v5p:4x4x4; or cpu:8.',
                             required=True)
CLIPS = flags.DEFINE_integer('clips', 0, 'Clips a chip; 0 shares config.batch_size out.', lower_bound=0)
SEARCH = flags.DEFINE_bool('search', False, 'Search the most clips a chip that fit, beginning with --clips.')
CLASSES = flags.DEFINE_integer('classes', 400, 'Classes of a target, where the store is not there.', lower_bound=1)
FPS = flags.DEFINE_float('fps', 25.0, 'Frames a second, where the store is not there.', lower_bound=0.1)
BANDS = flags.DEFINE_integer('bands', 64, 'Mel bands of sound, where the store is not there.', lower_bound=1)
CORE_MS = flags.DEFINE_float('core_ms', 4.5, 'Milliseconds of a core that reading a clip takes; the default is '
                             'that of 8 pictures of 224 x 224 on 2026-11-21; later ones are in '
                             'experiments/results/benchmark_data.md.',
                             lower_bound=0.0)
PAGE = flags.DEFINE_string('page', '',
                           f'A Markdown page that gets the table, too, between its lines {results_page.BEGIN} '
                           f'and {results_page.END}, with date, commit and machine.')
flags.mark_flag_as_required('config')


def main() -> None:
    """The command."""
    from vmmjax.planning import Topology, simulate, table

    config = configs.lock(CONFIG.value)
    topologies = [Topology.parse(name) for name in TOPOLOGY.value]
    simulated = [topology.chips for topology in topologies if topology.kind == 'cpu']
    if simulated:
        simulate(max(simulated))
    found = []
    with tqdm(topologies, unit='topology', dynamic_ncols=True) as progress:
        for topology in progress:
            progress.set_postfix_str(topology.name)
            found.append(_plan(config, topology, progress))
    text = table(found, steps=config.steps, core_seconds=CORE_MS.value / 1000)
    print(text)
    if PAGE.value:
        results_page.insert(Path(PAGE.value), results_page.machine(('jax', 'libtpu')), text)


def _plan(config: configs.ConfigDict, topology: 'Topology', progress: tqdm) -> 'Compiled':
    from vmmjax.experiment import Experiment
    from vmmjax.pipeline.spec_store import SpecStore
    from vmmjax.planning import compile_step, largest_batch
    from vmmjax.training.build import build

    devices = topology.devices()

    def compile_at(clips: int) -> 'Compiled':
        progress.set_postfix_str(f'{topology.name}, {clips} clips a chip')
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.batch_size, changed.data.fold = clips * topology.chips, None
        there = (Path(config.data.store) / 'store.json').is_file()
        store = None if there else SpecStore(changed, classes=CLASSES.value, fps=FPS.value, bands=BANDS.value)
        run = Experiment(changed, store, devices=devices)
        built = build(changed, run.mesh, run.apply, run.init, run.task)
        return compile_step(built, run.mesh, topology, run.pipeline('train', train=True).spec, config.microbatches)

    clips, rest = divmod(config.batch_size, topology.chips)
    if not CLIPS.value and (rest or not clips):
        raise UserError(f'config.batch_size = {config.batch_size} does not share out over the {topology.chips} chips '
                        f'of {topology.name}; give the clips of each with --clips.')
    first = CLIPS.value or clips
    return largest_batch(compile_at, first) if SEARCH.value else compile_at(first)
