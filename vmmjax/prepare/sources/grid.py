"""The GRID corpus: talkers that speak sentences of six words, with the times of the words."""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import SPLITS, Clip
from vmmjax.prepare.sources.media_index import Files, lines_of

WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
# Times in the files count samples of the corpus's sound.
RATE = 25000
_PAUSES = ('sil', 'sp')


def read(folders: Sequence[Path], media: Files) -> list[Clip]:
    """Reads all `*.align` files below folders (spandh.dcs.shef.ac.uk/gridcorpus, zenodo.org/record/3625687).

    A line is `23750 29500 bin`: from 0.95 s to 1.18 s, in samples at 25 kHz, the word bin is spoken; `sil` and
    `sp` are pauses. The files lie as `align/bbaf2n.align` of a talker's archive, or with a folder a talker (s1,
    s2 ...) above or below: the talker is the last such folder in the path, and a clip `bbaf2n` is looked for in a
    folder of that name (the same sentence is spoken by several).

    GRID publishes no split. Where a folder train, validation or test is in an align file's path, that is its
    split; else a checksum of talker and clip gives a tenth of the clips to validation, a tenth to test and the
    others to train, the same ones whatever else is there. All talkers are in all splits then.

    Returns:
      The clips with `text` (the sentence), each of its words under the name of its place (command, color,
      preposition, letter, digit, adverb) with `<place>_start_s` and `<place>_end_s` in seconds of the video, and
      `speaker`.

    Raises:
      UserError: for a folder without such files, or a file of another layout.
    """
    clips = []
    for folder in folders:
        files = sorted(folder.rglob('*.align'))
        if not files:
            raise UserError(f'There is no folder {folder} with .align files of GRID: name one that holds them.')
        clips += [_clip(folder, file, media) for file in files]
    return clips


def _clip(folder: Path, file: Path, media: Files) -> Clip:
    words = []
    for line in lines_of(file):
        match = re.fullmatch(r'(\d+)\s+(\d+)\s+(\S+)', line)
        if match is None:
            raise UserError(f'{file} is no alignment of GRID: the line {line!r} is not two times and a word.')
        if match[3] not in _PAUSES:
            words.append((int(match[1]) / RATE, int(match[2]) / RATE, match[3]))
    if len(words) != len(WORDS):
        raise UserError(f'{file} is no alignment of GRID: it has {len(words)} words, not {len(WORDS)}; correct or '
                        f'remove it.')
    speaker = next((part for part in reversed(file.absolute().parts[:-1]) if re.fullmatch(r's\d{1,2}', part)), '')
    labels = {'text': ' '.join(word for _, _, word in words), 'speaker': speaker}
    for place, (start, end, word) in zip(WORDS, words, strict=True):
        labels |= {place: word, f'{place}_start_s': f'{start:g}', f'{place}_end_s': f'{end:g}'}
    name = f'{speaker}/{file.stem}' if speaker else file.stem
    drawn = ('validation', 'test', *['train'] * 8)[zlib.crc32(name.encode()) % 10]
    below = file.relative_to(folder).parts[:-1]
    split = next((SPLITS[part] for part in below if part in SPLITS), drawn)
    return media.clip(media.find(file.stem, speaker), name, split, labels, id=name)
