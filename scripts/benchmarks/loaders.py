"""The sides of `scripts/bench data`: endless batches of TSM's training clips, of vmmjax and of PyTorch's DataLoader.

All give the same: uint8 (B, 8, 224, 224, 3), a random frame of each eighth of the clip, TSN's multi-scale crop and a
flip with probability 1/2, and a target. Each side runs in a process of its own, `python loaders.py SIDE FOLDER BATCH
WORKERS`, and is asked for a number of batches by a line on its standard input; the answer is the seconds it took.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FRAMES, SIZE = 8, 224
SCALES = (1.0, 0.875, 0.75, 0.66)
PAIRS = [(a, b) for i, a in enumerate(SCALES) for j, b in enumerate(SCALES) if abs(i - j) <= 1]
PLACES = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (0, 2), (2, 4), (4, 2), (2, 0), (1, 1), (1, 3), (3, 1), (3, 3)]


def ours(folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """From the store, with as many threads as the peers have workers."""
    from vmmjax import config
    from vmmjax.pipeline.pipeline import Pipeline
    from vmmjax.store.store import Store

    options = config.defaults().data.to_dict()
    options |= {'target': 'split', 'window': {'seconds': 0, 'start': None}, 'streams': {
        'rgb': {'modality': 'rgb', 'frames': FRAMES, 'sampling': 'segments', 'size': SIZE}}}
    options['augment'] |= {'crop': 'multi_scale', 'flip': 0.5}
    return Pipeline(Store(folder / 'store'), options, split='train', batch_size=batch, train=True, seed=0,
                    threads=workers).batches()


def of_pyav(clip: dict[str, Any], wanted: np.ndarray) -> list[np.ndarray]:
    """Decodes the file from its beginning and converts the wanted pictures alone; one thread a worker."""
    import av

    pictures: list[np.ndarray] = []
    with av.open(clip['path']) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for i, frame in enumerate(container.decode(stream)):
            if i == wanted[len(pictures)]:
                shown = frame.to_ndarray(format='rgb24')
                while len(pictures) < len(wanted) and wanted[len(pictures)] == i:
                    pictures.append(shown)
                if len(pictures) == len(wanted):
                    break
    return pictures + [pictures[-1]] * (len(wanted) - len(pictures))


def of_torchcodec(clip: dict[str, Any], wanted: np.ndarray) -> list[np.ndarray]:
    """As its manual advises for speed: one thread a worker, no scan of the file."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(clip['path'], num_ffmpeg_threads=1, seek_mode='approximate', dimension_order='NHWC')
    count = decoder.metadata.num_frames or int(wanted[-1]) + 1
    return list(decoder.get_frames_at(indices=np.minimum(wanted, count - 1).tolist()).data.numpy())


def of_jpegs(clip: dict[str, Any], wanted: np.ndarray) -> list[np.ndarray]:
    """The files that the store holds, one a picture, by OpenCV."""
    return [cv2.imread(f'{clip["pictures"]}/{i:05d}.jpg', cv2.IMREAD_COLOR_RGB) for i in wanted]


def of_simplejpeg(clip: dict[str, Any], wanted: np.ndarray) -> list[np.ndarray]:
    """The same files by libjpeg-turbo's own interface."""
    import simplejpeg

    return [simplejpeg.decode_jpeg(Path(f'{clip["pictures"]}/{i:05d}.jpg').read_bytes(), 'RGB') for i in wanted]


PEERS: dict[str, Callable[[dict[str, Any], np.ndarray], list[np.ndarray]]] = {
    'pyav': of_pyav, 'torchcodec': of_torchcodec, 'jpegs': of_jpegs, 'simplejpeg': of_simplejpeg}


class Clips:
    """A data set as PyTorch's DataLoader reads one."""

    def __init__(self, folder: Path, side: str):
        """Reads the list of clips; a video is looked up by its own frame numbers, pictures by the store's."""
        self.clips = json.loads((folder / 'clips.json').read_text())
        self.read, self.frames = PEERS[side], 'frames' if 'jpeg' in side else 'source_frames'

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        cv2.setNumThreads(0)
        rng, clip = np.random.default_rng(), self.clips[index]
        wanted = np.floor((np.arange(FRAMES) + rng.random(FRAMES)) / FRAMES * clip[self.frames]).astype(int)
        height, width = clip['size']
        # The crop of a picture of the store's size, in shares: a decoded one is cut and resized in one go.
        (tall, wide), (down, across) = PAIRS[rng.integers(len(PAIRS))], PLACES[rng.integers(len(PLACES))]
        side = min(height, width)
        tall, wide = tall * side / height, wide * side / width
        flip, out = rng.random() < 0.5, np.empty((FRAMES, SIZE, SIZE, 3), np.uint8)
        for picture, kept in zip(self.read(clip, wanted), out, strict=True):
            rows, columns = picture.shape[:2]
            top, left = int(down * (1 - tall) / 4 * rows), int(across * (1 - wide) / 4 * columns)
            part = picture[top:top + round(tall * rows), left:left + round(wide * columns)]
            if not flip:
                _resize(part, kept)
            else:
                cv2.flip(_resize(part, np.empty_like(kept)), 1, dst=kept)
        return out, 0


def _resize(part: np.ndarray, out: np.ndarray) -> np.ndarray:
    if part.shape == out.shape:
        out[:] = part
        return out
    return cv2.resize(part, (SIZE, SIZE), dst=out)


def theirs(side: str, folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """PyTorch's DataLoader, endless."""
    from torch.utils.data import DataLoader, RandomSampler

    clips: Any = Clips(folder, side)
    return iter(DataLoader(clips, batch, sampler=RandomSampler(clips, replacement=True, num_samples=1 << 40),
                           num_workers=workers, prefetch_factor=2, persistent_workers=True))


def main() -> None:
    """Serves one side until its standard input ends."""
    side, folder, batch, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    batches = ours(folder, batch, workers) if side == 'ours' else theirs(side, folder, batch, workers)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            given = next(batches)
        seconds = time.perf_counter() - begin
        pictures = given['rgb'] if side == 'ours' else given[0]
        assert tuple(pictures.shape) == (batch, FRAMES, SIZE, SIZE, 3), pictures.shape
        print(json.dumps(seconds), flush=True)


if __name__ == '__main__':
    main()
