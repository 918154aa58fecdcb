r"""The published values of the Fréchet video distance, and ours beside them.

  .venv/bin/python scripts/benchmarks/fvd.py
  .venv/bin/python scripts/benchmarks/fvd.py --frames=10,22,30 --noise=0

Black videos against white ones of 64 x 64 pixels, for each number of pictures, as the repository
common_metrics_on_video_quality publishes them (by StyleGAN-V's detector, and for 30 pictures by TensorFlow); and videos
of noise, `RandomState(1)` against `RandomState(2)`, as universome/fvd-comparison does. Needs the extra `[pretrained]`.
"""

import argparse
import functools
import operator

import jax
import numpy as np

from vmmjax.evaluation.fvd.compare import compare
from vmmjax.evaluation.fvd.frechet import Moments, distance
from vmmjax.evaluation.fvd.network import Network
from vmmjax.training.runtime import keep_compiled

PUBLISHED = dict(enumerate((
    569.2296, 486.3584, 551.9611, 146.3664, 172.8545, 133.7031, 152.9175, 357.7403, 382.4669, 306.7384, 338.4152,
    78.1726, 82.3345, 64.5886, 66.0628, 314.4804, 316.6871, 288.9720, 287.7805, 152.1525, 151.2565), start=10))
TENSORFLOW = {30: 151.39244}
NOISE = 10.138085365


def black_against_white(frames: int) -> float:
    """Two videos of each: all are alike, so that only the means differ."""
    black = np.zeros((2, frames, 64, 64, 3), np.uint8)
    return compare(black, black + np.uint8(255), protocol='common_metrics', frames=frames).value


def noise_against_noise() -> float:
    """128 videos of each, fed to the network as they are."""
    network = Network()

    def moments(seed: int) -> Moments:
        random = np.random.RandomState(seed)
        clips = (random.rand(16, 224, 224, 3).astype(np.float32) for _ in range(128))
        return functools.reduce(operator.add, map(Moments.of, network(clips)))

    return distance(moments(1), moments(2))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', default=','.join(map(str, PUBLISHED)), help='of black and white videos')
    parser.add_argument('--noise', default=1, type=int, help='whether noise is measured, too (1 or 0)')
    arguments = parser.parse_args()
    keep_compiled()
    print(f'{jax.devices()[0].device_kind}, JAX {jax.__version__}\n')
    print('| videos | published | ours | difference |')
    print('|---|---:|---:|---:|')
    if arguments.noise:
        ours = noise_against_noise()
        print(f'| noise, 16 pictures (TensorFlow) | {NOISE:.9f} | {ours:.9f} | {ours - NOISE:+.1e} |', flush=True)
    for frames in filter(None, arguments.frames.split(',')):
        ours = black_against_white(int(frames))
        for source, published in (('StyleGAN-V', PUBLISHED), ('TensorFlow', TENSORFLOW)):
            if int(frames) in published:
                value = published[int(frames)]
                print(f'| black and white, {frames} pictures ({source}) | {value} | {ours:.4f} '
                      f'| {ours / value - 1:+.3%} |', flush=True)


if __name__ == '__main__':
    main()
