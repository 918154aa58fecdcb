"""Live streams: what an address means to FFmpeg, and how it is opened."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from vmmjax.media.container import ANY_TEXT

# Seconds that opening may take, which includes looking for the tracks; several protocols know no more than 5.
_OPEN_SECONDS = 5.0
# Seconds that reading a playlist waits at least: its segments come one at a time.
_SEGMENT_SECONDS = 30.0
_SEGMENTS = 'mpegts,mov,mp4,m4a,3gp,3g2,mj2,aac'


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What FFmpeg may use for an address; a stream cannot make it open anything else, such as a local file.

    Attributes:
      formats: its readers.
      protocols: its protocols.
      options: of the reader or the protocol.
      device: the reader of a device; empty for streams.
    """

    formats: str
    protocols: str
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    device: str = ''


# UDP has no flow control: what was not fetched in time is lost, and that is no error.
_UDP = MappingProxyType({'overrun_nonfatal': '1', 'fifo_size': '50000'})
PROTOCOLS: Mapping[str, Protocol] = {
    'rtsp': Protocol('rtsp,sdp,rtp', 'rtsp,rtp,udp,tcp', MappingProxyType({'rtsp_transport': 'tcp'})),
    'rtsps': Protocol('rtsp,sdp,rtp', 'rtsps,rtsp,rtp,udp,tcp,tls', MappingProxyType({'rtsp_transport': 'tcp'})),
    'tcp': Protocol('mpegts', 'tcp'),
    'udp': Protocol('mpegts', 'udp', _UDP),
    'http': Protocol(f'hls,{_SEGMENTS}', 'http,https,tcp,tls,crypto'),
    'https': Protocol(f'hls,{_SEGMENTS}', 'http,https,tcp,tls,crypto'),
}
_DEVICE = Protocol('video4linux2,v4l2', 'file', device='v4l2')


class StreamLost(Exception):
    """A stream that cannot be opened or read on, and why, as a clause."""


def is_address(text: str) -> bool:
    """Whether a text is the address of a stream, or a device, and no file or folder."""
    return urlsplit(text).scheme in PROTOCOLS or text.startswith('/dev/')


def without_password(address: str) -> str:
    """An address as it may be shown."""
    return re.sub(r'//[^/@]*@', '//', address)


@contextmanager
def open_stream(address: str, read_seconds: float) -> Iterator[InputContainer]:
    """Opens a stream, and says of everything that goes wrong with it, until the block ends, that it is lost.

    The end of a stream is no error; FFmpeg reports a server that was killed like the end of a file.

    Args:
      address: see `is_address`.
      read_seconds: how long reading may wait for more.

    Raises:
      StreamLost: it says why.
    """
    parts = urlsplit(address)
    protocol = PROTOCOLS.get(parts.scheme, _DEVICE)
    if parts.path.endswith('.m3u8'):
        read_seconds = max(read_seconds, _SEGMENT_SECONDS)
    try:
        with av.open(address, format=protocol.device or None, timeout=(_OPEN_SECONDS, read_seconds), options={
                'format_whitelist': protocol.formats, 'protocol_whitelist': protocol.protocols, **protocol.options},
                **ANY_TEXT) as container:
            yield container
    except av.error.ExitError as error:
        raise StreamLost('nothing came for too long') from error
    except av.error.ArgumentError as error:  # Also what FFmpeg says of a format that is not on the list.
        raise StreamLost('what comes is no stream of a kind that is read') from error
    except (av.error.FFmpegError, OSError) as error:
        raise StreamLost((error.strerror or str(error)).lower()) from error
