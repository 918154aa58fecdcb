"""Arrays to a media file (H.264 and AAC), or encoded pictures as they are."""

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media.container import MediaError

# How an encoded picture begins, and what FFmpeg calls it.
_PICTURES = {b'\xff\xd8\xff': 'mjpeg', b'\x89PNG': 'png'}


def check_output(path: Path, source: Path) -> None:
    """Checks the name of a video that is made of another one, before anything is read.

    Args:
      path: of what is to be written.
      source: of what it is made of.

    Raises:
      UserError: for a name that is not one of an MP4 file, or is that of the source.
    """
    if path.suffix != '.mp4':
        raise UserError(f'--output is {path}; a video is written as .mp4.')
    if path.resolve() == source.resolve():
        raise UserError(f'{path} is the video itself; name another --output.')


def even(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with its last row and column twice where H.264 needs one more."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def write_clip(path: Path, frames: Iterable[np.ndarray], *, fps: float,
               waveform: np.ndarray | Iterable[np.ndarray] | None = None, rate: int = 16000, quantiser: int = 20,
               group: int = 1) -> None:
    """Writes an MP4 file, under a temporary name until it is whole.

    Every picture is coded with a constant quantiser, and by itself unless `group` says otherwise, so that a decoded
    picture depends on nothing but the picture that went in. The same arrays give the same bytes with the same build of
    FFmpeg.

    Args:
      path: the file; its folder must be there.
      frames: at least one uint8 (H, W, 3), RGB, one after the other or as an array; H and W even, and all alike.
      fps: pictures a second.
      waveform: float32 (S,) within -1..1, beginning with the first picture, at once or in pieces one after the other;
        None, or no sample, for no sound track.
      rate: samples a second.
      quantiser: of H.264, 0 (lossless) to 51.
      group: pictures of which all but the first are coded as what they differ in: the more, the smaller is the file.

    Raises:
      UserError: for shapes or types that H.264 cannot carry, or where the file cannot be written.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None or first.dtype != np.uint8 or first.ndim != 3 or first.shape[-1] != 3:
        found = 'none' if first is None else f'{first.dtype} {first.shape}'
        raise UserError(f'{path}: pictures must be uint8 (H, W, 3), and at least one, not {found}.')
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UserError(f'{path}: H.264 needs an even height and width, not {height} x {width}; pad or crop.')
    exact = Fraction(fps).limit_denominator(1001)
    pieces = filter(len, [waveform] if isinstance(waveform, np.ndarray) else waveform or ())
    try:
        piece = next(pieces, None)  # Tracks are added before anything is written.
        with (atomic.replacing(path) as partial,
              av.open(str(partial), 'w', format='mp4', options={'fflags': '+bitexact'}) as container):
            video = container.add_stream('libx264', rate=exact, options={
                'preset': 'ultrafast', 'qp': str(quantiser), 'g': str(group), 'threads': '1', 'flags': '+bitexact'})
            video.width, video.height, video.pix_fmt = width, height, 'yuv420p'
            video.time_base = 1 / exact
            audio = None
            if piece is not None:
                audio = container.add_stream('aac', rate=rate, options={
                    'aac_coder': 'fast', 'threads': '1', 'flags': '+bitexact'})
                audio.layout, audio.bit_rate = 'mono', 64000
            for index, picture in enumerate(itertools.chain([first], coming)):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
                frame.pts, frame.time_base = index, 1 / exact
                container.mux(video.encode(frame.reformat(format='yuv420p', threads=1)))
            container.mux(video.encode())
            if audio is not None:
                written = 0
                while piece is not None:
                    samples = np.ascontiguousarray(piece, np.float32)[None]
                    sound = av.AudioFrame.from_ndarray(samples, format='fltp', layout='mono')
                    sound.sample_rate, sound.pts, sound.time_base = rate, written, Fraction(1, rate)
                    container.mux(audio.encode(sound))
                    written += len(piece)
                    piece = next(pieces, None)
                container.mux(audio.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f'{path} cannot be written: {error.strerror}.') from error


def write_pictures(path: Path, pictures: Sequence[bytes], *, fps: float, waveform: np.ndarray | None = None,
                   rate: int = 16000) -> None:
    """Writes encoded pictures, their bytes unchanged, and sound without loss, to a QuickTime file.

    It is under a temporary name until it is whole. The same arguments give the same bytes with the same build of
    FFmpeg. (QuickTime, since Matroska takes no PNG and rounds times to milliseconds.)

    Args:
      path: the file, such as `clip.mov`; its folder must be there.
      pictures: JPEG files, or PNG files, all of one size; may be none where there is sound.
      fps: pictures a second; the first is shown at 0.
      waveform: float32 (S,) within -1..1, beginning with the first picture; None for no sound track.
      rate: samples a second.

    Raises:
      MediaError: for pictures of another or of no known format, where the first cannot be decoded, or where there
        are neither pictures nor sound.
      UserError: where the file cannot be written.
    """
    samples = np.zeros(0, np.float32) if waveform is None else np.ascontiguousarray(waveform, np.float32)
    if not len(pictures) and not len(samples):
        raise MediaError(path, 'there are neither pictures nor sound to write')
    codec = _codec(path, pictures) if pictures else ''
    exact = Fraction(fps).limit_denominator(1001)
    try:
        with (atomic.replacing(path) as partial,
              av.open(str(partial), 'w', format='mov', options={'fflags': '+bitexact'}) as container):
            video = None
            if codec:
                width, height = _size(path, pictures[0], codec)
                video = container.add_mux_stream(codec, rate=exact, width=width, height=height, time_base=1 / exact)
            audio = None
            if waveform is not None:
                audio = container.add_stream('pcm_f32le', rate=rate, options={'flags': '+bitexact'})
                audio.layout = 'mono'
            written = 0
            for index in range(max(1, len(pictures))):
                if video is not None:
                    packet = av.Packet(pictures[index])
                    packet.stream, packet.time_base, packet.is_keyframe = video, 1 / exact, True
                    packet.pts, packet.dts, packet.duration = index, index, 1
                    container.mux(packet)
                # The sound of each picture beside it, so that a reader of a window finds both.
                end = len(samples) if index + 1 >= len(pictures) else int((index + 1) / exact * rate)
                if audio is not None and samples[written:end].size:
                    sound = av.AudioFrame.from_ndarray(samples[None, written:end], format='flt', layout='mono')
                    sound.sample_rate, sound.pts, sound.time_base = rate, written, Fraction(1, rate)
                    container.mux(audio.encode(sound))
                    written = end
            if audio is not None:
                container.mux(audio.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f'{path} cannot be written: {error.strerror}.') from error


def _codec(path: Path, pictures: Sequence[bytes]) -> str:
    codecs = {next((name for head, name in _PICTURES.items() if picture.startswith(head)), '') for picture in pictures}
    if len(codecs) > 1 or '' in codecs:
        raise MediaError(path, 'its pictures are not all JPEG, or all PNG files')
    return codecs.pop()


def _size(path: Path, picture: bytes, codec: str) -> tuple[int, int]:
    """Width and height."""
    decoder = av.CodecContext.create(codec, 'r')
    assert isinstance(decoder, VideoCodecContext)
    try:
        for frame in [*decoder.decode(av.Packet(picture)), *decoder.decode(None)]:
            return frame.width, frame.height
    except av.error.FFmpegError:
        pass
    raise MediaError(path, 'its first picture is damaged')
