"""Says what a score on a store rests on: what tells the target without a model that looks and listens.

  vmmjax audit stores/grid --target=digit
  vmmjax audit stores/fights --target=event --folds

trains a random forest on parts of the clips that should not tell the target (metadata, which tracks there are, one
frame, frames in no order, the loudness of the sound, the other columns of the catalog), and tests it on the clips that
a model is tested on. What it tells is there; what it does not tell may still be there for a better reader. A score of
yours means something where it is above these.

It also prints which columns of the catalog depend on the target, which values occur together too seldom or too often,
how the target is spread over splits or folds, and which clips of different splits look alike or come from one source.

The figures are written to audit_<target>.json, a page with the look-alikes beside it to audit_<target>.html, in the
store or in --output.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import audit, audit_columns, audit_features, audit_splits, probe
from vmmjax.evaluation.result import write_text
from vmmjax.reports import audit_page
from vmmjax.store import catalog
from vmmjax.store.store import Store

POSITIONAL = 'STORE'
TARGET = flags.DEFINE_list('target', None, 'Catalog columns that a model is to tell.', required=True)
FOLDS = flags.DEFINE_bool('folds', False, "Test by cross-validation over the catalog's folds, not by its splits.")
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the figures and the page; the store unless given.')


def main(paths: list[str]) -> None:
    """The command."""
    if len(paths) > 1:
        raise UserError(f'`vmmjax audit` looks at one store, not at {len(paths)}.')
    store = Store(paths[0])
    labels = {name: np.array(values, np.str_) for name, values in catalog.read(store.path).columns.items()
              if name not in catalog.FIXED or name == 'split'}
    for target in TARGET.value:
        if target not in labels or target == 'split':
            named = [name for name in labels if name != 'split']
            raise UserError(f'The catalog has no column {target!r}: {did_you_mean(target, named)}.')
    part = labels['fold' if FOLDS.value and 'fold' in labels else 'split']
    probe.turns(labels, FOLDS.value)  # What cannot be tested is said before all clips are read.
    controls, seen = audit_features.controls(store)
    pairs = audit_splits.near_duplicates(seen.hashes, seen.rows, part)
    folder = Path(OUTPUT.value or store.path)
    for target in TARGET.value:
        others = audit_columns.categories(labels, target)
        found = audit_page.Findings(
            target, 'folds' if FOLDS.value else 'splits', controls_of(controls, labels, target),
            audit_columns.relations(others, labels[target]),
            audit_columns.combinations(others, target, labels[target]),
            audit_splits.priors(labels[target], part), pairs,
            {name: audit_splits.shared(values, part) for name, values in (
                ('path', store.values('path')), ('group', labels.get('group', np.array([], np.str_)))) if len(values)})
        print(audit_page.terminal_table(found))
        write_text(folder / f'audit_{target}.json', json.dumps(found.to_json(), indent=2) + '\n')
        page = audit_page.write(folder / f'audit_{target}.html', store, found)
        print(f'\nOpen {page} in a browser.')


def controls_of(controls: list[audit_features.Control], labels: dict[str, np.ndarray],
                target: str) -> list[tuple[str, str, audit.Told]]:
    """Name, sentence and figures of every control, and of the catalog's other columns."""
    found = [(each.name, each.text, audit.told(each.features, labels[target], labels, folds=FOLDS.value))
             for each in controls]
    columns = probe.columns_of({name: values for name, values in labels.items() if name != 'split'}, target, [])
    if columns:
        found.append(('columns', f'The other columns of the catalog: {", ".join(columns)}.',
                      audit.told(probe.encoded(columns, labels[target]), labels[target], labels, folds=FOLDS.value)))
    return found
