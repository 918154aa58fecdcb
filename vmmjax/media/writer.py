"""Arrays to a media file: H.264 with no prediction between pictures, and AAC."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError


def write_clip(path: Path, frames: np.ndarray, *, fps: int, waveform: np.ndarray | None = None,
               rate: int = 16000, quantiser: int = 20) -> None:
    """Writes an MP4 file, under a temporary name until it is whole.

    Every picture is coded by itself with a constant quantiser, so that a decoded picture depends on nothing
    but the picture that went in. The same arrays give the same bytes with the same build of FFmpeg.

    Args:
      path: the file; its folder must be there.
      frames: uint8 (T, H, W, 3), RGB; H and W even.
      fps: pictures a second.
      waveform: float32 (S,) within -1..1, beginning with the first picture; None for no sound track.
      rate: samples a second.
      quantiser: of H.264, 0 (lossless) to 51.

    Raises:
      UserError: for shapes or types that H.264 cannot carry, or where the file cannot be written.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise UserError(f'{path}: pictures must be uint8 (T, H, W, 3), not {frames.dtype} {frames.shape}.')
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise UserError(f'{path}: H.264 needs an even height and width, not {height} x {width}; pad or crop.')
    try:
        with (atomic.replacing(path) as partial,
              av.open(str(partial), 'w', format='mp4', options={'fflags': '+bitexact'}) as container):
            video = container.add_stream('libx264', rate=fps, options={
                'preset': 'ultrafast', 'qp': str(quantiser), 'g': '1', 'threads': '1', 'flags': '+bitexact'})
            video.width, video.height, video.pix_fmt = width, height, 'yuv420p'
            video.time_base = Fraction(1, fps)
            audio = None
            if waveform is not None:
                audio = container.add_stream('aac', rate=rate, options={
                    'aac_coder': 'fast', 'threads': '1', 'flags': '+bitexact'})
                audio.layout, audio.bit_rate = 'mono', 64000
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(video.encode(frame.reformat(format='yuv420p', threads=1)))
            container.mux(video.encode())
            if audio is not None and waveform is not None:
                samples = np.ascontiguousarray(waveform, np.float32)[None]
                sound = av.AudioFrame.from_ndarray(samples, format='fltp', layout='mono')
                sound.sample_rate, sound.pts, sound.time_base = rate, 0, Fraction(1, rate)
                container.mux(audio.encode(sound))
                container.mux(audio.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f'{path} cannot be written: {error.strerror}.') from error
