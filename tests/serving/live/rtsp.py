"""Plays a file with H.264 and AAC by RTSP, for Debian's Python, which has GStreamer: rtsp.py FILE.

It prints its port, then, each time the film begins, the seconds since 1970.
"""

import sys
import time

import gi

gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main():
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(address='127.0.0.1', service='0'), GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location={sys.argv[1]} ! qtdemux name=film film.video_0 ! queue ! h264parse !'
        ' rtph264pay config-interval=-1 name=pay0 pt=96 film.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )')
    factory.connect('media-configure', lambda _, media: media.connect('new-state', begun))
    server.get_mount_points().add_factory('/film', factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


def begun(_, state):
    if state == Gst.State.PLAYING:
        print(time.time(), flush=True)


if __name__ == '__main__':
    main()
