"""Stored frames as pictures on a time axis: film strips, motion in colour, spectrograms, waveforms."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from vmmjax.media import flow

_THUMBNAIL = 192  # Pixels, the longer side; sharp where the page shows half of it.
_LONGEST = 900  # Pixels of a spectrogram or points of a waveform over the axis.
_APART = 3.0  # Means of the values this many times as far apart as one of them varies get a scale each.
_LEAST_MOTION = 1.0  # Pixels a frame that get full colour at least, so that noise stays pale.


def thumbnail(picture: np.ndarray) -> str:
    """A small JPEG of uint8 (H, W, 3), RGB, as the source of an <img>."""
    scale = min(1.0, _THUMBNAIL / max(picture.shape[:2]))
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return as_source('.jpg', cv2.resize(picture, size, interpolation=cv2.INTER_AREA)[..., ::-1],
                   [cv2.IMWRITE_JPEG_QUALITY, 85])


def colours(motion: np.ndarray, full: float) -> np.ndarray:
    """Motion in colour: the hue is its direction, the saturation its length; none is white.

    Args:
      motion: float32 (H, W, 2), pixels a frame: to the right, down.
      full: length that has full colour.

    Returns:
      uint8 (H, W, 3), RGB.
    """
    size, angle = cv2.cartToPolar(motion[..., 0], motion[..., 1], angleInDegrees=True)
    hsv = np.stack([angle, np.clip(size / full, 0, 1), np.ones_like(size)], axis=-1).astype(np.float32)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def motions(codes: Sequence[np.ndarray | None]) -> tuple[list[str | None], float]:
    """Thumbnails of coded motion, uint8 (H, W, 2) each, and the pixels a frame that have full colour in all of them."""
    decoded = [None if code is None else flow.decode(code) for code in codes]
    full = full_colour(decoded)
    return [None if motion is None else thumbnail(colours(motion, full)) for motion in decoded], full


def full_colour(motion: Sequence[np.ndarray | None]) -> float:
    """The pixels a frame that have full colour where several are compared, float32 (H, W, 2) each."""
    lengths = [np.linalg.norm(each, axis=-1).ravel() for each in motion if each is not None]
    return max(_LEAST_MOTION, float(np.quantile(np.concatenate(lengths), 0.99))) if lengths else _LEAST_MOTION


def wheel() -> str:
    """The legend of `colours`: a disc whose places have the colours of the motion towards them."""
    side = np.linspace(-1.05, 1.05, 120, dtype=np.float32)
    motion = np.stack(np.meshgrid(side, side), axis=-1)
    inside = np.clip((1 - np.linalg.norm(motion, axis=-1)) * 57, 0, 1)
    return as_source('.png', np.concatenate([colours(motion, 1.0)[..., ::-1], np.rint(inside * 255)[..., None].astype(
        np.uint8)], axis=-1), [])


def spectrogram(frames: np.ndarray) -> tuple[str, str]:
    """An image of float32 (T, M), the first value at the bottom, and what its colours say."""
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    # Cepstra and the like: one value of another size would leave the others one colour.
    apart = len(frames) > 1 and mean.std() > _APART * deviation.mean()
    values = (frames - mean) / np.maximum(deviation, 1e-6) if apart else frames
    low, high = np.quantile(values, (0.01, 0.995)).tolist()
    shade = np.clip((values.T[::-1] - low) / max(high - low, 1e-6), 0, 1)
    grey = np.rint(shade * 255).astype(np.uint8)
    if grey.shape[1] > _LONGEST:
        grey = cv2.resize(grey, (_LONGEST, grey.shape[0]), interpolation=cv2.INTER_AREA)
    scale = 'each on its own scale' if apart else f'from {low:.2f} (dark) to {high:.2f} (bright)'
    return as_source('.png', cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), []), scale


def waveform(samples: np.ndarray) -> tuple[str, int, float]:
    """The outline of float32 (S,) as the path of an SVG.

    Returns:
      The path, from -1 to 1 down and from 0 on to the right, its width, and the greatest absolute value, which has
      the height 1.
    """
    peak = float(np.abs(samples).max())
    step = -(-len(samples) // _LONGEST)
    padded = np.pad(samples, (0, -len(samples) % step), mode='edge').reshape(-1, step) / max(peak, 1e-9)
    upper = [f'{i} {-value:.3f}' for i, value in enumerate(padded.max(axis=1))]
    lower = [f'{i} {-value:.3f}' for i, value in enumerate(padded.min(axis=1))]
    return f'M{"L".join(upper + lower[::-1])}Z', len(padded), peak


def as_source(suffix: str, picture: np.ndarray, options: list[int]) -> str:
    """The source of an <img>: uint8 (H, W), (H, W, 3) BGR or (H, W, 4), encoded as `.jpg` or `.png`."""
    done, encoded = cv2.imencode(suffix, picture, options)
    if not done:
        raise RuntimeError(f'OpenCV could not write a {suffix} of shape {picture.shape}.')
    kind = {'.jpg': 'jpeg', '.png': 'png'}[suffix]
    return f'data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}'
