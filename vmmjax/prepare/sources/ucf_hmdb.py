"""The split lists of UCF101 and of HMDB51."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vmmjax.errors import UserError, did_you_mean
from vmmjax.prepare.sources.clip import Clip
from vmmjax.prepare.sources.media_index import Files, lines_of

_UCF_CLIP = re.compile(r'(?:(\w+)/)?(v_(\w+)_g(\d\d)_c\d\d)\.\w+(?: (\d+))?')
_HMDB_CLIP = re.compile(r'(.+)\.\w+\s+([012])')
_HMDB_SPLITS = {'1': 'train', '2': 'test'}


def read_ucf101(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads `trainlist01.txt`, `testlist01.txt` and their like (www.crcv.ucf.edu/data/UCF101.php).

    A line is `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, in a test list without the number, which counts
    the classes from 1 as in `classInd.txt` (`1 ApplyEyeMakeup`); where that stands beside the list, both are
    compared with it. Clips of one group (g08) show the same people and places: the column `group` names it.

    Raises:
      UserError: for a file of another layout or name, or a class that classInd.txt does not have so.
    """
    clips = []
    for file in files:
        split = {'train': 'train', 'testl': 'test'}.get(file.name[:5])
        if split is None:
            raise UserError(f'{file} is neither a trainlist nor a testlist of UCF101.')
        classes = _class_numbers(file.with_name('classInd.txt'))
        for line in lines_of(file):
            match = _UCF_CLIP.fullmatch(line)
            if match is None or match[1] is None:
                raise UserError(f'{file} is no list of UCF101: the line {line!r} is not of the form '
                                f'Class/v_Class_g01_c01.avi.')
            label, stem, _, group, number = match.groups()
            if classes and label not in classes:
                raise UserError(f'{file} has the class {label!r}, which classInd.txt beside it does not have; '
                                f'{did_you_mean(label, classes)}.')
            if classes and number is not None and classes[label] != number:
                raise UserError(f'{file} numbers the class {label} {number}, classInd.txt beside it '
                                f'{classes[label]}: they are not of one data set.')
            labels = {'label': label, 'group': f'{label}_g{group}'}
            clips.append(media.clip(media.find(stem, label), stem, split, labels))
    return clips


def _class_numbers(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    pairs = [line.split() for line in lines_of(file)]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f'{file} is no list of UCF101\'s classes: a line is a number and a name.')
    return {name: number for number, name in pairs}


def read_hmdb51(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads `brush_hair_test_split1.txt` and its like, one file a class (serre-lab.clps.brown.edu/resource/hmdb).

    A line is `April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1`: 1 is for training, 2 for the test, and clips with 0
    are not in this split. The class is in the file's name; a user names all of them by a pattern, such as
    `testTrainMulti_7030_splits/*_test_split1.txt`.

    Raises:
      UserError: for a file of another layout or name, or files of several splits.
    """
    clips = []
    numbers = set()
    for file in files:
        name = re.fullmatch(r'(\w+)_test_split(\d)', PurePosixPath(file.name).stem)
        if name is None:
            raise UserError(f'{file} is no list of HMDB51: its name is not of the form brush_hair_test_split1.txt.')
        numbers.add(name[2])
        for line in lines_of(file):
            match = _HMDB_CLIP.fullmatch(line)
            if match is None:
                raise UserError(f'{file} is no list of HMDB51: the line {line!r} is not a file and 0, 1 or 2.')
            if match[2] in _HMDB_SPLITS:
                clips.append(media.clip(media.find(match[1], name[1]), f'{name[1]}/{match[1]}', _HMDB_SPLITS[match[2]],
                                        {'label': name[1]}))
    if len(numbers) > 1:
        raise UserError(f'The files are of the splits {", ".join(sorted(numbers))} of HMDB51, each of which has '
                        f'its own training clips: name the files of one, as in *_test_split1.txt.')
    return clips
