"""Media files track by track: what `tests.media.files` cannot say, such as a track without a packet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media.files import TICK


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    """float32 (S,)."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def pitch(waveform: np.ndarray, rate: int) -> float:
    """Hertz of the strongest tone."""
    power = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(power.argmax() * rate / len(waveform))


@dataclass
class Track:
    """Of pictures, unless it has a rate.

    Attributes:
      codec: of the encoder.
      frames: uint8 (T, H, W, 3), or float32 (S,) or (channels, S); nothing of a track without a packet.
      rate: samples a second of a sound.
      times_ms: when pictures are shown.
      default: flagged so; None leaves it to the container.
      options: of the encoder.
    """

    codec: str
    frames: np.ndarray = field(default_factory=lambda: np.zeros((0, 64, 64, 3), np.uint8))
    rate: int = 0
    times_ms: Sequence[int] | None = None
    default: bool | None = None
    options: dict[str, str] = field(default_factory=dict)


def write_tracks(path: Path, *tracks: Track, format: str | None = None, options: dict[str, str] | None = None) -> Path:
    """Writes a file with tracks in the given order, their packets in the order of time."""
    with av.open(str(path), 'w', format=format, options=options or {}) as container:
        streams = [_stream(container, track) for track in tracks]
        packets = [packet for track, stream in zip(tracks, streams, strict=True) for packet in _packets(track, stream)]
        container.start_encoding()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _stream(container: av.container.OutputContainer, track: Track) -> av.stream.Stream:
    if track.rate:
        layout = 'mono' if track.frames.ndim != 2 or len(track.frames) == 1 else 'stereo'
        stream = container.add_stream(track.codec, rate=track.rate, layout=layout, options=track.options)
    else:
        stream = container.add_stream(track.codec, rate=25, options=track.options)
        stream.height, stream.width = track.frames.shape[1:3]
        stream.pix_fmt = 'pal8' if track.codec == 'gif' else 'yuvj420p' if track.codec == 'mjpeg' else 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 25) if track.codec == 'mpeg2video' else TICK
    if track.default is not None:
        stream.disposition = int(track.default)
    return stream


def _packets(track: Track, stream: av.stream.Stream) -> Iterator[av.Packet]:
    if not track.frames.size:
        return
    yield from (_sound_packets if track.rate else _picture_packets)(track, stream)


def _picture_packets(track: Track, stream: av.stream.Stream) -> Iterator[av.Packet]:
    times = [40 * index for index in range(len(track.frames))] if track.times_ms is None else track.times_ms
    for picture, time in zip(track.frames, times, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
        frame.pts, frame.time_base = time, TICK
        yield from stream.encode(frame)
    yield from stream.encode()


def _sound_packets(track: Track, stream: av.stream.Stream) -> Iterator[av.Packet]:
    samples = np.atleast_2d(track.frames)
    sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format='fltp',
                                       layout='mono' if len(samples) == 1 else 'stereo')
    sound.sample_rate, sound.pts, sound.time_base = track.rate, 0, Fraction(1, track.rate)
    context = stream.codec_context
    context.open()
    resampler = av.AudioResampler(context.format, context.layout, track.rate, frame_size=context.frame_size or None)
    for frame in (*resampler.resample(sound), *resampler.resample(None)):
        yield from stream.encode(frame)
    yield from stream.encode()
