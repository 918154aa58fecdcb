"""Optical flow by OpenCV, and its code of one byte a component.

An algorithm takes grey pictures, uint8 (T, H, W), and gives the motion from each to the next, float32
(max(T - 1, 0), H, W, 2): pixels a frame, first to the right, then down.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from vmmjax.errors import UserError

Algorithm = Callable[[np.ndarray], np.ndarray]

# Pixels a frame; faster motion is cut to it (I3D, Carreira and Zisserman 2017, sec. 2.4).
BOUND = 20.0


def motion(frames: np.ndarray, algorithm: Algorithm) -> np.ndarray:
    """Flow as long as the pictures.

    Args:
      frames: uint8 (T, H, W, 3), RGB.
      algorithm: see the module.

    Returns:
      float32 (T, H, W, 2): entry t is the motion from frame t to t + 1. The last repeats the one before it;
      a single frame has none and gives zeros.

    Raises:
      UserError: for pictures that are too small for the algorithm.
    """
    flow = np.zeros((*frames.shape[:3], 2), np.float32)
    if len(frames) > 1:
        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
        flow[:-1] = algorithm(grey)
        flow[-1] = flow[-2]
    return flow


def farneback(grey: np.ndarray) -> np.ndarray:
    """Farneback's polynomial expansion (2003): 3 levels, windows of 15 pixels, 3 iterations."""
    return _each_pair(grey, lambda first, second: cv2.calcOpticalFlowFarneback(
        first, second, np.zeros((*first.shape, 2), np.float32), pyr_scale=0.5, levels=3, winsize=15, iterations=3,
        poly_n=5, poly_sigma=1.2, flags=0))


def tv_l1(grey: np.ndarray) -> np.ndarray:
    """Zach, Pock and Bischof's TV-L1 (2007) with OpenCV's published defaults: what I3D and TSN were trained on."""
    method = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    return _each_pair(grey, lambda first, second: method.calc(first, second, None))


def dis(grey: np.ndarray) -> np.ndarray:
    """Dense inverse search (Kroeger et al. 2016), the medium preset."""
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return _each_pair(grey, lambda first, second: method.calc(first, second, None))


def lucas_kanade(grey: np.ndarray) -> np.ndarray:
    """Lucas and Kanade's (1981) at every pixel: 4 levels, windows of 21 pixels; 0 where a pixel is lost.

    Not `cv2.optflow.calcOpticalFlowSparseToDense`: in OpenCV 5.0 it ends the process on a black picture and gives
    NaN on small ones.
    """
    height, width = grey.shape[1:]
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2).astype(np.float32)

    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        found, kept, _ = cv2.calcOpticalFlowPyrLK(first, second, places, places.copy(), winSize=(21, 21), maxLevel=3)
        return np.where(kept[..., None], found - places, 0).reshape(height, width, 2)

    return _each_pair(grey, flow)


def _each_pair(grey: np.ndarray, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    flow = np.empty((max(len(grey) - 1, 0), *grey.shape[1:], 2), np.float32)
    for index in range(len(flow)):
        try:
            flow[index] = function(grey[index], grey[index + 1])
        except cv2.error as error:
            raise UserError(f'OpenCV cannot tell the motion in pictures of {grey.shape[2]} x {grey.shape[1]} pixels '
                            f'({error.err}); choose a larger --short_side, or another --flow.') from error
    return flow


ALGORITHMS: Mapping[str, Algorithm] = {
    'farneback': farneback, 'tv_l1': tv_l1, 'dis': dis, 'lucas_kanade': lucas_kanade}


def resize(flow: np.ndarray, width: int, height: int) -> np.ndarray:
    """Flow of pictures to the flow of the same pictures resized: the displacements shrink and grow with them.

    Args:
      flow: float32 (T, H, W, 2).
      width: pixels that come out.
      height: likewise.

    Returns:
      float32 (T, height, width, 2).
    """
    factors = np.array([width / flow.shape[2], height / flow.shape[1]], np.float32)
    how = cv2.INTER_AREA if factors.min() < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in flow]) * factors


def encode(flow: np.ndarray) -> np.ndarray:
    """Flow to bytes: `rint((clip(f, -20, 20) + 20) * 255 / 40)`, half to even; no motion is 128.

    Args:
      flow: float32, any shape, pixels a frame.

    Returns:
      uint8, the same shape. The code of a motion mirrored is 255 less its code, but for no motion: 127 is
      half a step on its other side.
    """
    return np.rint((np.clip(flow, -BOUND, BOUND) + BOUND) * np.float32(255 / (2 * BOUND))).astype(np.uint8)


def decode(code: np.ndarray) -> np.ndarray:
    """Bytes to flow, float32 pixels a frame: right to half a step (0.0785) inside the bound."""
    return code.astype(np.float32) * np.float32(2 * BOUND / 255) - np.float32(BOUND)
