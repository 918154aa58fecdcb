"""Stateless augmentation of a batch: what is drawn for a row depends on (seed, position) alone.

Draws are NumPy arrays of uniform numbers, see `sampling.uniform`.
"""

import cv2
import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601.


def colour_matrices(draws: np.ndarray, strength: float) -> np.ndarray:
    """One affine map of colours a clip: brightness, contrast and saturation within 1 +- strength.

    Args:
      draws: float64 (B, 3) in [0, 1).
      strength: 0 changes nothing.

    Returns:
      float32 (B, 4, 3): a colour (r, g, b) in 0..255 becomes (r, g, b, 1) @ matrix.
    """
    brightness, contrast, saturation = (1 + strength * (2 * draws.T - 1))[:, :, None, None]
    grey = np.repeat(_LUMA[:, None], 3, axis=1)
    linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    shift = np.broadcast_to(brightness * (1 - contrast) * 127.5, (len(draws), 1, 3))
    return np.concatenate([linear, shift], axis=1).astype(np.float32)


def colour(picture: np.ndarray, matrix: np.ndarray) -> None:
    """Applies a colour map to a picture in its place, to the nearest level or one beside it.

    Args:
      picture: uint8 (H, W, 3), contiguous; it is changed.
      matrix: float32 (4, 3), one of `colour_matrices`.
    """
    cv2.transform(picture, matrix.T, dst=picture)


def erased(draws: np.ndarray, probability: float, size: int) -> np.ndarray:
    """Boxes of random erasing (Zhong et al. 2020): .02 to 1/3 of the area, 3:10 to 10:3, inside the picture.

    Args:
      draws: float64 (B, 5) in [0, 1).
      probability: of a box that is not empty.
      size: side of the picture in pixels.

    Returns:
      int64 (B, 4): top, left, height, width.
    """
    area = size * size * (0.02 + draws[:, 1] * (1 / 3 - 0.02))
    ratio = np.exp((2 * draws[:, 2] - 1) * np.log(10 / 3))
    shape = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], axis=1))).clip(1, size).astype(np.int64)
    shape *= (draws[:, :1] < probability)
    return np.concatenate([np.floor(draws[:, 3:] * (size - shape + 1)).astype(np.int64), shape], axis=1)


def drop_streams(present: np.ndarray, rates: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Modality dropout that never takes a row's last stream.

    Where every stream of a row would go, one of those it had stays, each as likely as the other.

    Args:
      present: bool (B, S).
      rates: float64 (S,), probabilities.
      draws: float64 (B, S + 1) in [0, 1).

    Returns:
      bool (B, S), the streams that stay.
    """
    stays = present & (draws[:, :-1] >= rates)
    count = present.sum(axis=1)
    chosen = np.floor(draws[:, -1] * count).astype(np.int64)
    rank = np.cumsum(present, axis=1) - 1
    spared = present & (rank == chosen[:, None])
    return np.where(stays.any(axis=1, keepdims=True), stays, spared)
