"""Clips that play on a page: H.264 and sound within the page itself, bounded in bytes."""

import base64
import io
import tempfile
import wave
from pathlib import Path

import cv2
import numpy as np

from vmmjax.media.writer import write_clip

HEIGHT = 160
"""Pixels of a playing clip."""
_QUANTISERS = (30, 38, 46)  # Of H.264, tried until a clip is small enough.
_MOST_BYTES = 500_000  # Of a clip's pictures, and of its sound; a page holds several.
_LOUD = 32767
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


def resized(frame: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with the height of a playing clip, and an even width, as H.264 has it."""
    height, width = frame.shape[:2]
    across = 2 * max(1, round(width * HEIGHT / height / 2))
    return cv2.resize(frame, (across, HEIGHT), interpolation=cv2.INTER_AREA)


def video(frames: np.ndarray, fps: float, samples: np.ndarray | None, rate: int) -> str:
    """The source of a <video>; empty where it would be too large.

    Args:
      frames: uint8 (T, H, W, 3).
      fps: pictures a second.
      samples: float32 (S,), sound; None for none, and left out at a rate that AAC lacks.
      rate: samples a second.
    """
    samples = samples if rate in _AAC_RATES else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'clip.mp4'
        for quantiser in _QUANTISERS:
            write_clip(path, frames, fps=fps, waveform=samples, rate=rate, quantiser=quantiser, group=len(frames))
            content = path.read_bytes()
            if len(content) <= _MOST_BYTES:
                return f'data:video/mp4;base64,{base64.b64encode(content).decode()}'
    return ''


def audio(samples: np.ndarray, rate: int) -> str:
    """The source of an <audio>, of float32 (S,) at `rate` samples a second; empty where it would be too large."""
    if 2 * len(samples) > _MOST_BYTES:
        return ''
    file = io.BytesIO()
    with wave.open(file, 'wb') as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.rint(np.clip(samples, -1, 1) * _LOUD).astype('<i2').tobytes())
    return f'data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}'
