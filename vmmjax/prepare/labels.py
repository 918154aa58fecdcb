"""Splits and labels as the catalog has them, and what in them is probably a mistake."""

import dataclasses
import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmmjax.checksum import sha256
from vmmjax.prepare.sources.clip import SPLITS, Clip
from vmmjax.store.catalog import FIXED, Catalog


def clean(text: str) -> str:
    """A label, or a name of a split, without blanks around it and with its accents composed (NFC)."""
    return unicodedata.normalize('NFC', text.strip())


def cleaned(clips: Sequence[Clip]) -> list[Clip]:
    """The clips with clean labels, and with the names that splits have here.

    Names such as `Train`, `val` and `eval` stand for train, validation and test; where a source has several for one of
    these (`val` and `dev`), they stay as they are.
    """
    meant = defaultdict[str, set[str]](set)
    for clip in clips:
        name = clean(clip.split).lower()
        meant[SPLITS.get(name, name)].add(name)

    def split(given: str) -> str:
        here = SPLITS.get(clean(given).lower(), '')
        return here if len(meant[here]) == 1 else clean(given)

    return [dataclasses.replace(clip, split=split(clip.split),
                                labels={name: clean(value) for name, value in clip.labels.items()}) for clip in clips]


def warnings(found: Catalog, files: Mapping[str, Path], contents: Mapping[str, str]) -> list[str]:
    """A sentence for each kind of mistake that is probably in a catalog.

    Args:
      found: the catalog.
      files: where each file is, by its name in the catalog.
      contents: by the same names, what `fingerprint.of` found in it.
    """
    sentences = []
    for column, values in found.columns.items():
        if column not in FIXED and (alike := _alike(values)):
            more = f' (and {len(alike) - 1} more)' if len(alike) > 1 else ''
            sentences.append(f'The column {column} has {" and ".join(map(repr, alike[0]))}, which differ in case or '
                             f'blanks alone{more}: where they mean the same, write them alike in the source.')
    meant = defaultdict[str, list[str]](list)
    for split in found.splits:
        meant[SPLITS.get(split.lower(), split)].append(split)
    sentences += [f'The splits {" and ".join(names)} usually mean the same, and were kept apart: where they do, write '
                  f'them alike in the source.' for names in meant.values() if len(names) > 1]
    if both := _in_two_splits(found, files, contents):
        (split, name), (other, second) = both
        sentences.append(f'The file {name} of the split {split} is {second} of the split {other}, too; there may be '
                         f'more such: what is measured on clips that were trained on says nothing.')
    return sentences


def _alike(values: Sequence[str]) -> list[list[str]]:
    """Distinct values that are equal but for case, blanks and composition, those of a group together."""
    groups = defaultdict[str, list[str]](list)
    for value in sorted(set(values)):
        groups[''.join(unicodedata.normalize('NFKC', value).casefold().split())].append(value)
    return [group for group in groups.values() if len(group) > 1]


def _in_two_splits(found: Catalog, files: Mapping[str, Path], contents: Mapping[str, str]
                   ) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Split and name of the first file that is in another split, too, and of that one."""
    seen = defaultdict[str, dict[str, str]](dict)
    for split, name in zip(found.columns['split'], found.columns['path'], strict=True):
        seen[contents[name]].setdefault(split, name)
    for places in seen.values():
        for one, other in itertools.combinations(places.items(), 2):
            if _same(files[one[1]], files[other[1]]):
                return one, other
    return None


def _same(one: Path, other: Path) -> bool:
    """Whether files of one fingerprint are equal: sounds of a data set may begin and end with silence."""
    try:
        return one == other or sha256(one) == sha256(other)
    except OSError:
        return False
