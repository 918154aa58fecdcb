"""The pages of experiments/results: whether they are what their runs say, and how often test splits were evaluated.

  scripts/results                              # how often each split was evaluated, by the ledger
  scripts/results --check [--root=FOLDER]      # compares the tables of `vmmjax ablate` with the runs that are at hand
  scripts/results --collect runs/a runs/b      # adds the evaluations of runs to the ledger

The ledger, experiments/results/test_evaluations.csv, is only ever added to: a line for every folder of runs, store and
split, with the evaluations since the line before. Runs list theirs in `eval/evaluations.jsonl`; that is `by` log. Where
`by` names a page, the runs were made before evaluations were counted: it is the number of runs in that page, one
evaluation each, and there may have been more.

A page names its command; where the --workdir of that lies below --root, the figure of every run in its tables is
compared with what the run measured. It ends with status 1 where one differs.
"""

import argparse
import collections
import csv
import datetime
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vmmjax.cli import rows
from vmmjax.evaluation import noise_sweep
from vmmjax.evaluation.result import evaluations, read, read_split
from vmmjax.text_table import aligned

RESULTS = Path(__file__).resolve().parents[1] / 'experiments' / 'results'
LEDGER = RESULTS / 'test_evaluations.csv'
_MADE_BY = re.compile(r'Made by `vmmjax ablate ([^`]+)`')


class Figure(NamedTuple):
    """A figure of a run in a page: where the run's folder is, and what the page says of which metric."""

    folder: Path
    split: str
    metric: str
    text: str


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/results', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='Compare pages with their runs.')
    parser.add_argument('--root', type=Path, default=Path(), help='Where the commands of the pages were run.')
    parser.add_argument('--collect', type=Path, nargs='+', default=[], metavar='RUNS', help='Folders of runs.')
    options = parser.parse_args()
    if options.check:
        sys.exit(check(sorted(RESULTS.glob('*.md')), options.root))
    for folder in options.collect:
        collect(folder, LEDGER)
    print('\n'.join(totals(LEDGER)))


def check(pages: Sequence[Path], root: Path) -> int:
    """Prints a line for every page with tables of runs; 1 where a figure is not what its run measured, else 0."""
    status = 0
    for page in pages:
        found = list(figures(page.read_text(encoding='utf-8'), root))
        there = [each for each in found if (each.folder / 'eval' / f'{each.split}.json').is_file()]
        wrong = [f'  {each.folder}: the page says {each.text}, the run {measured}'
                 for each in there if (measured := _measured(each)) != each.text]
        status |= bool(wrong)
        if found:
            print('\n'.join([f'{page.name}: {len(found)} runs, {len(there)} at hand, {len(wrong)} differ', *wrong]))
    return status


def figures(page: str, root: Path) -> Iterator[Figure]:
    """The figures of runs in the tables that `vmmjax ablate` made, by the command below them."""
    end = 0
    for made in _MADE_BY.finditer(page):
        flags = dict(re.findall(r'--(\w+)=(\S+)', made[1]))
        tables, end = page[end:made.start()], made.end()
        columns: list[str] = []
        for line in tables.splitlines():
            cells = [cell.strip() for cell in line.strip('|').split(' | ')] if line.startswith('|') else []
            if 'runs' in cells:
                columns = cells
            elif line.startswith('|---'):
                continue
            elif not cells or len(cells) != len(columns):
                columns = []
            else:
                for run in filter(None, cells[columns.index('runs')].split(', ')):
                    name, _, text = run.partition(' ')
                    if re.fullmatch(r'-?[\d.]+', text):
                        yield Figure(root / flags['workdir'] / rows.folder_of(cells[0]) / name,
                                     flags.get('split', 'test'), columns[1], text)


def _measured(figure: Figure) -> str:
    metric, percent, _ = figure.metric.partition(', %')
    value = read_split(figure.folder, figure.split).metrics[metric]
    return f'{100 * value:.1f}' if percent else f'{value:.4g}'


def collect(folder: Path, ledger: Path) -> None:
    """Adds what the runs below a folder were evaluated more often than the ledger says."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for path in folder.rglob('eval/*.json'):
        if path.stem.endswith(noise_sweep.SUFFIX):
            continue
        result = read(path)
        found[result.store, result.split] += evaluations(path.parents[1], result.split)
    known: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in _lines(ledger):
        if line['runs'] == str(folder):
            known[line['store'], line['split']] += int(line['evaluations'])
    with ledger.open('a', newline='', encoding='utf-8') as file:
        for (store, split), times in sorted((found - known).items()):
            csv.writer(file, lineterminator='\n').writerow((datetime.date.today(), folder, store, split, times, 'log'))


def totals(ledger: Path) -> list[str]:
    """How often each split of each store was evaluated, as a table."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in _lines(ledger):
        found[line['store'], line['split']] += int(line['evaluations'])
    return list(aligned([('store', 'split', 'evaluations'),
                         *((*key, str(times)) for key, times in sorted(found.items()))]))


def _lines(ledger: Path) -> list[dict[str, str]]:
    with ledger.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


if __name__ == '__main__':
    main()
