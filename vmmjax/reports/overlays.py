"""Maps laid over what a network was given: pictures, motion, spectra. Red speaks for the class, blue against it."""

from collections.abc import Mapping

import cv2
import numpy as np

from vmmjax.media import flow
from vmmjax.reports import timeline

FULL = 0.99
"""The quantile of a map's absolute values that has the full colour."""
_SIDE = 224  # Pixels, at least, of a picture.
_STRENGTH = 0.65  # Of full colour over what lies under it.
_FOR, _AGAINST = np.array([214, 39, 40], np.float32), np.array([31, 119, 180], np.float32)
_BAND = 22  # Pixels of a caption.
_WIDEST, _HIGHEST = 900, 160  # Pixels of a spectrum.


def scale(values: np.ndarray) -> float:
    """The value that has the full colour; at least a little above 0."""
    return max(float(np.quantile(np.abs(values), FULL)), 1e-12)


def film(frames: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures, and beside them the same under each map, captioned.

    Args:
      frames: uint8 (T, H, W, C), pictures, or codes of motion where C is even; of stacked ones the first is shown.
      maps: caption -> float (T', H', W').

    Returns:
      uint8 (T, H'', W'', 3), even in height and width.
    """
    large = _enlarged(_pictures(frames))
    height, width = large.shape[1:3]
    panels = [_captioned(large, 'what the network saw')]
    for caption, values in maps.items():
        places = np.minimum((np.arange(len(large)) + 0.5) / len(large) * len(values), len(values) - 1).astype(int)
        heat = np.stack([cv2.resize(values[place].astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
                         for place in places])
        panels.append(_captioned(under(large, heat / scale(values)), caption))
    return np.concatenate(panels, axis=2)


def beside(clips: Mapping[str, np.ndarray]) -> np.ndarray:
    """Clips of one shape beside each other, captioned.

    Args:
      clips: caption -> uint8 (T, H, W, C), see `film`.

    Returns:
      uint8 (T, H', W', 3), even in height and width.
    """
    panels = []
    for caption, frames in clips.items():
        large = _enlarged(_pictures(frames))
        panels.append(_captioned(large, caption))
    return np.concatenate(panels, axis=2)


def _enlarged(pictures: np.ndarray) -> np.ndarray:
    """Pictures with a short side of `_SIDE` pixels at least, even in height and width."""
    factor = max(1, -(-_SIDE // min(pictures.shape[1:3])))
    height, width = (factor * length // 2 * 2 for length in pictures.shape[1:3])
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC) for picture in pictures])


def spectrum(frames: np.ndarray, values: np.ndarray | None = None) -> bytes:
    """A PNG of a spectrum float (F, M), the first band at the bottom, under a map float (F',) or (F', M')."""
    low, high = np.quantile(frames, (0.01, 0.995)).tolist()
    grey = np.rint(np.clip((frames.T[::-1] - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    size = max(300, min(_WIDEST, grey.shape[1])), max(_HIGHEST, grey.shape[0])
    picture = np.repeat(cv2.resize(grey, size, interpolation=cv2.INTER_AREA)[..., None], 3, 2)
    if values is not None:
        plane = values[:, None] if values.ndim == 1 else values
        heat = cv2.resize(plane.T[::-1].astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        picture = under(picture, heat / scale(values))
    done, encoded = cv2.imencode('.png', picture[..., ::-1])
    if not done:
        raise RuntimeError(f'OpenCV could not write a picture of shape {picture.shape}.')
    return encoded.tobytes()


def _pictures(frames: np.ndarray) -> np.ndarray:
    if frames.shape[-1] % 3 == 0:
        return frames[..., :3]
    motion = [flow.decode(frame[..., :2]) for frame in frames]
    full = timeline.full_colour(motion)
    return np.stack([timeline.colours(each, full) for each in motion])


def under(pictures: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Pictures uint8 (..., 3), greyed, with the colours of heat float (...) from -1 to 1 over them."""
    grey = pictures.astype(np.float32).mean(-1, keepdims=True)
    strength = _STRENGTH * np.clip(np.abs(heat), 0, 1)[..., None]
    colour = np.where(heat[..., None] > 0, _FOR, _AGAINST)
    return np.rint((1 - strength) * grey + strength * colour).astype(np.uint8)


def _captioned(frames: np.ndarray, caption: str) -> np.ndarray:
    band = np.full((_BAND, frames.shape[2], 3), 24, np.uint8)
    cv2.putText(band, caption, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([np.repeat(band[None], len(frames), 0), frames], axis=1)
