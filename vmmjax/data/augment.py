"""Stateless augmentation of a batch: what is drawn for a row depends on (seed, position) alone.

Draws are NumPy arrays of uniform numbers, see `sampling.uniform`.
"""

import cv2
import numpy as np
import tensorflow as tf

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601.


def crop_corners(places: np.ndarray, sizes: np.ndarray, size: int,
                 region: tuple[float, float, float, float]) -> np.ndarray:
    """Upper left corners of square crops that lie inside a region of the picture.

    Args:
      places: float64 (B, 2) in [0, 1), down and across: shared by all picture streams of a clip; 0.5 is the centre.
      sizes: int64 (B, 2), heights and widths of the stored pictures.
      size: side of the crop in pixels.
      region: top, left, bottom, right as fractions of the picture.

    Returns:
      int64 (B, 2), top and left in pixels.
    """
    low, high = region_bounds(sizes, region)
    return low + np.floor(places * (high - low - size + 1)).astype(np.int64)


def region_bounds(sizes: np.ndarray, region: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """First pixels and ends, int64 (B, 2) each, of a region; see `crop_corners`."""
    bounds = np.asarray(region, np.float64)
    return (np.ceil(bounds[:2] * sizes - 1e-6).astype(np.int64),
            np.floor(bounds[2:] * sizes + 1e-6).astype(np.int64))


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


def colour(pictures: np.ndarray, clips: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Applies each clip's colour map to its pictures, to the nearest level or one beside it.

    Args:
      pictures: uint8 (V, H, W, 3).
      clips: int64 (V,), ascending: whose picture each is.
      matrices: float32 (B, 4, 3) of `colour_matrices`.

    Returns:
      uint8 (V, H, W, 3).
    """
    out = np.empty_like(pictures)
    ends = np.searchsorted(clips, np.arange(len(matrices) + 1))
    for matrix, first, end in zip(matrices, ends, ends[1:], strict=False):
        if first < end:
            # OpenCV takes a tenth of the time of the same in TensorFlow.
            flat = pictures[first:end].reshape(-1, pictures.shape[2], 3)
            cv2.transform(flat, matrix.T, dst=out[first:end].reshape(flat.shape))
    return out


def flip(pictures: tf.Tensor, flips: tf.Tensor, *, flow: bool) -> tf.Tensor:
    """Mirrors left and right.

    Args:
      pictures: uint8 (V, H, W, C).
      flips: bool (V,).
      flow: whether they are flow codes, whose horizontal part (channel 0) changes its sign: 255 - code.
    """
    mirrored = pictures[:, :, ::-1]
    if flow:
        mirrored = tf.concat([255 - mirrored[..., :1], mirrored[..., 1:]], axis=-1)
    return tf.where(flips[:, None, None, None], mirrored, pictures)


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
