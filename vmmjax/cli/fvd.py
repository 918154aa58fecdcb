r"""The Fréchet video distance between real and generated videos, by one of the protocols it is published with.

  vmmjax fvd real generated
  vmmjax fvd real generated --protocol=styleganv --save_real=real.npz
  vmmjax fvd real.npz generated.npy --protocol=styleganv
  vmmjax fvd real generated --protocol=official --frames=16 --json

REAL and FAKE are folders of videos, .npy files (uint8 (N, T, H, W, 3); floats in [-1, 1] (N, T, 224, 224, 3), to which
nothing is done; or features (N, D)), features that `vmmjax extract --endpoints=logits` wrote, or statistics that this
command has saved. The network is the I3D of Kinetics-400 of TF-Hub: pip install "vmmjax[pretrained]".

A protocol fixes how pictures are resized, which clips are taken, how many, and which covariance is meant:

  official        224 x 224 as TensorFlow 1 did it; whole videos, or the first --frames of each; N - 1
  styleganv       224 x 224; 16 pictures (or 128, or 16 with --every=8), of real videos from a random one on, of fake
                  ones from the first; 2048 of each; N
  common_metrics  short side 224, centre; whole videos, or the first --frames; as many real as fake; N - 1
  cdfvd           224 x 224, of files after 256 x 256 with antialiasing; 16 pictures (or 128) from a random one on; all
                  real videos and 2048 fake; N

What departs from it is refused, or with --nonstandard done and named beside the distance.
"""

import json

from absl import flags

from vmmjax.errors import UserError
from vmmjax.evaluation.fvd.clips import ROLES
from vmmjax.evaluation.fvd.protocols import DEFAULT_WEIGHTS, PROTOCOLS

POSITIONAL = 'REAL FAKE'
PROTOCOL = flags.DEFINE_enum('protocol', 'official', list(PROTOCOLS), 'How the distance is made.')
FRAMES = flags.DEFINE_integer('frames', None, "Pictures of a clip; the protocol's unless given.", lower_bound=1)
EVERY = flags.DEFINE_integer('every', 1, 'Of how many pictures one is taken.', lower_bound=1)
WEIGHTS = flags.DEFINE_string('weights', DEFAULT_WEIGHTS, 'What load_pretrained takes; others are not standard.')
NONSTANDARD = flags.DEFINE_bool('nonstandard', False, 'Allow what departs from the protocol, and name it.')
RESAMPLES = flags.DEFINE_integer('resamples', 100, 'For the interval by bootstrap; 0 for none.', lower_bound=0)
SEED = flags.DEFINE_integer('seed', 0, 'Of clips that are chosen at random, and of the resamples.', lower_bound=0)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips that the network sees at a time.', lower_bound=1)
SAVE = [flags.DEFINE_string(f'save_{role}', None, f'A .npz file for the statistics of the {role} videos.')
        for role in ROLES]
JSON = flags.DEFINE_boolean('json', False, 'Print a JSON object, and nothing else.')


def main(paths: list[str]) -> None:
    """The command."""
    if len(paths) != len(ROLES):
        raise UserError(f'`vmmjax fvd` compares two sets of videos, REAL and FAKE, not {len(paths)}.')
    from vmmjax.evaluation.fvd import compare
    from vmmjax.training.runtime import keep_compiled

    keep_compiled()
    found = compare.compare(
        *paths, protocol=PROTOCOL.value, frames=FRAMES.value, every=EVERY.value, weights=WEIGHTS.value,
        nonstandard=NONSTANDARD.value, resamples=RESAMPLES.value, seed=SEED.value, batch_size=BATCH_SIZE.value,
        save=[flag.value for flag in SAVE], progress=True)
    print(json.dumps(found.json()) if JSON.value else found.lines())
    if RESAMPLES.value and found.interval is None and not JSON.value:
        print('  No interval: statistics were saved with --resamples=0, and so without features.')
