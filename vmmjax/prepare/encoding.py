"""Pictures and motion as a store holds them: JPEG and PNG files."""

import cv2
import numpy as np

JPEG_QUALITY = 95


def encode(kind: str, frames: np.ndarray) -> list[bytes]:
    """Pictures as they are stored.

    Args:
      kind: `picture` or `flow`.
      frames: uint8 (T, H, W, 3 or 2), as the kind says.

    Returns:
      One JPEG or PNG file a frame.
    """
    if kind == 'picture':
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        bgr = np.empty(frames.shape[1:], np.uint8)
        return [_imencode('.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR, dst=bgr), quality) for frame in frames]
    return [_imencode('.png', np.concatenate([frame[..., 0], frame[..., 1]], axis=1), []) for frame in frames]


def _imencode(suffix: str, picture: np.ndarray, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, picture, options)
    if not done:
        raise RuntimeError(f'OpenCV could not write a {suffix} of shape {picture.shape}.')
    return encoded.tobytes()
