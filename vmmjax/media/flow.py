"""Optical flow by OpenCV, and its code of one byte a component."""

import cv2
import numpy as np

# Pixels a frame; faster motion is cut to it (I3D, Carreira and Zisserman 2017, sec. 2.4).
BOUND = 20.0


def farneback(frames: np.ndarray) -> np.ndarray:
    """Dense flow by Farneback's method (2003).

    Args:
      frames: uint8 (T, H, W, 3), RGB.

    Returns:
      float32 (T, H, W, 2), pixels a frame, first to the right, then down: entry t is the motion from frame t
      to t + 1. The last repeats the one before it, so that flow is as long as the pictures; a single frame
      has none and gives zeros.
    """
    flow = np.zeros((*frames.shape[:3], 2), np.float32)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    for index in range(len(grey) - 1):
        flow[index] = cv2.calcOpticalFlowFarneback(
            grey[index], grey[index + 1], flow[index], pyr_scale=0.5, levels=3, winsize=15, iterations=3,
            poly_n=5, poly_sigma=1.2, flags=0)
    if len(grey) > 1:
        flow[-1] = flow[-2]
    return flow


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
