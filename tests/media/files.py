"""Media files of odd kinds, which write_clip does not make."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# A millisecond: the clock of everything written here.
TICK = Fraction(1, 1000)
# FFmpeg's numbers of the matrices between RGB and YUV.
_MATRICES = {'bt709': 1, 'smpte170m': 6, 'bt2020nc': 9}


def counting_frames(count: int, side: int = 64) -> np.ndarray:
    """Grey pictures, each brighter than the last by 4: uint8 (count, side, side, 3)."""
    return np.repeat(np.arange(count, dtype=np.uint8) * 4 + 8, side * side * 3).reshape(count, side, side, 3)


def numbers(frames: np.ndarray) -> list[int]:
    """Which of `counting_frames` these are."""
    return np.rint((frames.mean((1, 2, 3)) - 8) / 4).astype(int).tolist()


def write_media(path: Path, frames: np.ndarray, times_ms: list[int] | None = None, *, codec: str = 'libx264',
                options: dict[str, str] | None = None, waveform: np.ndarray | None = None, sound_at_ms: int = 0,
                sound_codec: str = 'aac', rate: int = 16000, rotate: int = 0, faststart: bool = False,
                full_range: bool = False, clock: Fraction = TICK,
                mirror: bool = False, pixels: str = 'yuv420p', matrix: str | None = None) -> None:
    """Writes pictures shown at the given times, by default 25 a second, and sound that begins at its own."""
    times_ms = [40 * index for index in range(len(frames))] if times_ms is None else times_ms
    with av.open(str(path), 'w', options={'movflags': '+faststart'} if faststart else {}) as container:
        video = container.add_stream(codec, rate=25, options=options or {})
        video.height, video.width = frames.shape[1:3]
        video.color_range = full_range + 1  # 1: 16 to 235, 2: 0 to 255.
        video.pix_fmt, video.codec_context.time_base = pixels, clock
        if matrix is not None:
            video.codec_context.colorspace = _MATRICES[matrix]
        if rotate or mirror:
            video.set_display_rotation(rotate, hflip=mirror)
        audio = None
        if waveform is not None:
            audio = container.add_stream(sound_codec, rate=rate)
            audio.layout = 'mono'
        for picture, time in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
            frame.pts, frame.time_base = time, TICK
            frame = frame.reformat(format=pixels, dst_color_range=full_range + 1,
                                   dst_colorspace=None if matrix is None else _MATRICES[matrix])
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            kind = 's16' if sound_codec == 'pcm_s16le' else 'fltp'
            samples = waveform[None] if kind == 'fltp' else np.rint(waveform[None] * 32767).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=kind, layout='mono')
            sound.sample_rate, sound.time_base = rate, Fraction(1, rate)
            sound.pts = sound_at_ms * rate // 1000
            container.mux(audio.encode(sound))
            container.mux(audio.encode())
