"""The ways in which Fréchet video distances were published: resizing, choice of clips, how many, which covariance.

All share the network: I3D with the Kinetics-400 weights of TF-Hub (`deepmind/i3d-kinetics-400/1`), its 400 logits
averaged over time. They are not the weights that its authors released first, and distances differ between the two.
"""

import dataclasses
import math

import numpy as np

DEFAULT_WEIGHTS = 'i3d_rgb_kinetics400'
SIDE = 224
"""Of the square that the network sees, in pixels."""
WEIGHTS = '60bc66767e6eb7530d1874f44505fb644e3f3dc299d14548df930f41a614309a'
"""SHA-256 of TF-Hub's weights, see `vmmjax.evaluation.fvd.network.fingerprint`."""
RESIZES = {'tf1': 'bilinear to 224 x 224, corners aligned at the upper left (TensorFlow 1)',
           'squash': 'bilinear to 224 x 224',
           'crop': 'bilinear to a short side of 224, centre 224 x 224',
           'antialias': 'bilinear with antialiasing to a short side of 256, centre 256 x 256, then bilinear to 224'}
STARTS = {'first': 'from the first picture', 'random': 'from a random picture'}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A published way.

    Attributes:
      name: of it.
      resize: of arrays, a key of `RESIZES`.
      resize_files: of pictures out of files.
      clips: the allowed pairs of `frames`, how many pictures a clip has, and `every`, of how many pictures one is
        taken; the first one is meant unless another is asked for. Frames of 0 are the whole video, or as many as asked
        for; all videos have as many.
      shortest: pictures that a clip has at least.
      start: a key of `STARTS` for the real and for the fake videos.
      most: real and fake videos that are taken, 0 for all. Of fake ones there must be so many.
      shuffled: whether those are chosen at random; otherwise they are the first by name.
      equal: whether as many real as fake videos are needed.
      ddof: 1 for covariances over N - 1, 0 over N.
    """

    name: str
    resize: str
    resize_files: str
    clips: tuple[tuple[int, int], ...]
    shortest: int
    start: tuple[str, str]
    most: tuple[int, int]
    shuffled: bool
    equal: bool
    ddof: int

    @property
    def drops_short(self) -> bool:
        """Whether videos that are too short are passed over; otherwise they are an error."""
        return self.clips[0][0] > 0


PROTOCOLS = {protocol.name: protocol for protocol in (
    # google-research, frechet_video_distance.py: neither a length nor a number of videos is fixed.
    Protocol('official', 'tf1', 'tf1', ((0, 1),), 9, ('first', 'first'), (0, 0), False, False, 1),
    # StyleGAN-V's fvd2048_16f, fvd2048_128f and fvd2048_128f_subsample8f.
    Protocol('styleganv', 'squash', 'squash', ((16, 1), (128, 1), (16, 8)), 9, ('random', 'first'), (2048, 2048), False,
             False, 0),
    # common_metrics_on_video_quality, `fvd/styleganv`.
    Protocol('common_metrics', 'crop', 'crop', ((0, 1),), 10, ('first', 'first'), (0, 0), False, True, 1),
    # content-debiased-fvd with the I3D; its reader of files brings them to 256 x 256 before all else.
    Protocol('cdfvd', 'squash', 'antialias', ((16, 1), (128, 1)), 9, ('random', 'random'), (0, 2048), True, False, 0),
)}


def resized(clip: np.ndarray, resize: str) -> np.ndarray:
    """What the network sees of a clip.

    Args:
      clip: uint8 (T, H, W, 3).
      resize: a key of `RESIZES`.

    Returns:
      float32 (T, 224, 224, 3) in [-1, 1].
    """
    height, width = clip.shape[1:3]
    if resize == 'antialias':
        # That reader hands on whole numbers, cut off and not rounded.
        small = _sampled(clip, *_short_side(height, width, 256, antialias=True))
        return resized(small.clip(0, 255).astype(np.uint8), 'squash')
    if resize == 'crop':
        sampling = _short_side(height, width, SIDE)
    else:
        sampling = tuple(bilinear(size, SIDE, half_pixel=resize == 'squash') for size in (height, width))
    return _sampled(clip, *sampling) * np.float32(2 / 255) - 1


def bilinear(size: int, out: int, *, half_pixel: bool = True, antialias: bool = False) -> np.ndarray:
    """How each of `out` pixels of a line is put together from `size` pixels: float64 (out, size), rows sum to 1.

    Args:
      size: pixels there are.
      out: pixels wanted.
      half_pixel: whether centres of pixels are mapped onto each other, as everybody does now; otherwise their upper
        left corners are, as in `tf.image.resize_bilinear` of TensorFlow 1.
      antialias: whether a smaller picture is made of all pixels, and not of the two that are nearest.
    """
    scale = size / out
    places = (np.arange(out) + 0.5) * scale - 0.5 if half_pixel else np.arange(out) * scale
    reach = max(scale, 1.0) if antialias else 1.0
    weights = np.maximum(0.0, 1 - np.abs(np.arange(size) - places[:, None]) / reach)
    return weights / weights.sum(1, keepdims=True)


def _short_side(height: int, width: int, side: int, *, antialias: bool = False) -> tuple[np.ndarray, ...]:
    """The same for the square in the middle of a picture whose short side becomes `side` pixels."""
    found = []
    for size in (height, width):
        out = side if size == min(height, width) else math.ceil(size * (side / min(height, width)))
        found.append(bilinear(size, out, antialias=antialias)[(out - side) // 2:][:side])
    return tuple(found)


def _sampled(clip: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float32 (T, len(rows), len(columns), 3), in the units of the clip."""
    x = np.einsum('yh,thwc->tywc', rows.astype(np.float32), clip.astype(np.float32), optimize=True)
    return np.einsum('xw,tywc->tyxc', columns.astype(np.float32), x, optimize=True)
