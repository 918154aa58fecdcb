"""Asks what features tell by a linear classifier, and what the columns of a catalog give away.

  vmmjax probe features/grid --target=digit
  vmmjax probe features/grid --target=command,digit --endpoint=rgb/Mixed_4f --folds
  vmmjax probe features/grid --target=digit --kinds=linear,knn

trains logistic regression and a linear support vector machine on features that `vmmjax extract` made of a store, or
asks their nearest neighbours, and prints how many clips they tell rightly, with a confidence interval, beside always
naming the most frequent value.

  vmmjax probe stores/grid --target=command,digit,letter

asks a random forest to tell each target from the other columns of the catalog, by cross-validation: what it can tell
needs no looking and no listening, so a model that reads those words would not learn to. Each target's figures are also
written to probe_<target>.json or leak_<target>.json, in the folder that was named, or in --output.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import probe
from vmmjax.evaluation.result import write_text
from vmmjax.store import catalog, feature_files
from vmmjax.text_table import aligned

POSITIONAL = 'FEATURES|STORE'
TARGET = flags.DEFINE_list('target', None, 'Catalog columns that are to be told.', required=True)
ENDPOINT = flags.DEFINE_string('endpoint', '', 'Which of the features; `features` unless given.')
KINDS = flags.DEFINE_list('kinds', ['linear', 'svm'], f'Classifiers of features, of {", ".join(probe.KINDS)}.')
FOLDS = flags.DEFINE_bool('folds', False, "Test by cross-validation over the catalog's folds, not by its splits.")
COLUMNS = flags.DEFINE_list(
    'columns', [], 'Columns of a store that the target is told from; all that say something of a clip unless given.')
_LEAK = {True: 'LEAKS', False: 'no leak', None: 'not known'}
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the figures.')
_SIDES = '<>>>>><'  # Numbers to the right.


def main(paths: list[str]) -> None:
    """The command."""
    if len(paths) > 1:
        raise UserError(f'`vmmjax probe` looks at one folder, not at {len(paths)}.')
    path = Path(paths[0])
    if os.path.isfile(path / 'store.json'):
        _leaks(path)
    else:
        _features(path)


def _features(path: Path) -> None:
    for kind in KINDS.value:
        if kind not in probe.KINDS:
            raise UserError(f'--kinds names {kind!r}: {did_you_mean(kind, probe.KINDS)}.')
    x, labels = feature_files.of_clips(path, ENDPOINT.value)
    _check_targets(labels)
    rows = []
    for target in TARGET.value:
        found = [probe.classify(x, labels[target], labels, kind=kind, folds=FOLDS.value) for kind in KINDS.value]
        rows += [[target, *_figures(figures), figures['kind']] for figures in found]
        told = {'target': target, 'endpoint': ENDPOINT.value or 'features', 'length': x.shape[1],
                'folds': FOLDS.value, 'probes': found}
        _write(path if path.is_dir() else path.parent, f'probe_{target}.json', told)
    print('\n'.join(aligned(
        [['target', 'clips', 'classes', 'majority', 'accuracy', 'interval', 'probe'], *rows], _SIDES)))


def _leaks(path: Path) -> None:
    read = catalog.read(path).columns
    labels = {name: np.array(values, np.str_) for name, values in read.items()
              if name not in catalog.FIXED or name == 'split'}
    _check_targets(labels)
    named = {name: values for name, values in labels.items() if name != 'split'}
    rows = []
    for target in TARGET.value:
        found = probe.leak(probe.columns_of(named, target, COLUMNS.value), labels[target], labels)
        shares = ', '.join(f'{name} {share:.0%}' for name, share in list(found['columns'].items())[:3])
        rows.append([target, *_figures(found), _LEAK[found['leaks']], shares])
        _write(path, f'leak_{target}.json', {'target': target, **found})
    print('\n'.join(aligned(
        [['target', 'clips', 'classes', 'majority', 'forest', 'interval', '', 'looks most at'], *rows], _SIDES)))


def _check_targets(labels: Mapping[str, Any]) -> None:
    for target in TARGET.value:
        if target not in labels:
            raise UserError(f'The catalog has no column {target!r}: {did_you_mean(target, labels)}.')


def _write(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    write_text(Path(OUTPUT.value or folder) / name, json.dumps(told, indent=2) + '\n')


def _figures(found: Mapping[str, Any]) -> list[str]:
    ends = '' if found['low'] is None else f'{100 * found["low"]:.1f} to {100 * found["high"]:.1f} '
    return [str(found['examples']), str(found['classes']), f'{100 * found["majority"]:.1f}',
            f'{100 * found["accuracy"]:.1f}', f'{ends}({found["interval"]})']
