"""What an ablation found, to be read: Markdown, CSV, LaTeX, a picture and a page."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vmmjax import atomic
from vmmjax.evaluation.ablation import Line, is_per_clip
from vmmjax.evaluation.config_diff import Difference
from vmmjax.evaluation.cost import short
from vmmjax.evaluation.intervals import Interval
from vmmjax.evaluation.noise_sweep import level_name
from vmmjax.reports import plots
from vmmjax.reports.curves import Panel
from vmmjax.reports.templates import templates
from vmmjax.text_table import markdown

_NONE = '–'


class _Table(NamedTuple):
    """Texts: a name to the left, figures to the right."""

    header: list[str]
    rows: list[list[str]]


# A kind of noise -> the ratio of sound to noise in decibels, None for none -> the lines.
Noisy = Mapping[str, Mapping[float | None, Sequence[Line]]]


def write(folder: Path, lines: Sequence[Line], *, question: str, command: str, metric: str,
          noisy: Noisy | None = None, panels: Sequence[Panel] = (),
          differences: Mapping[str, Sequence[Difference]] | None = None) -> list[Path]:
    """Writes `table.md`, `table.csv`, `table.tex`, `report.html` and, where a row was measured, `plot.svg`; each whole.

    Of what was measured in noise `noise.csv`, and further tables in the others.

    Args:
      folder: of the ablation.
      lines: of the table.
      question: that it answers, above the table.
      command: that makes it.
      metric: that was measured; accuracy is given in percent.
      noisy: the same lines in noise.
      panels: learning curves of the rows, for the page.
      differences: name of a row -> where its config differs from the first row's, for the page.

    Returns:
      The paths.
    """
    main, withheld, notes = _main(lines, metric), _withheld(lines, metric), _notes(lines, metric)
    failed = [f'{line.name}, {name}: {reason}' for line in lines for name, reason in line.failed.items()]
    sections = _in_noise(noisy or {}, metric)
    draw = _intervals(lines, metric) if any(line.mean for line in lines) else None
    size = 8.5, 0.8 + 0.3 * len(lines)
    parts = [question, _markdown(main), *notes]
    if withheld.rows:
        parts += ['The same models with streams withheld, on the clips that have what is given:', _markdown(withheld)]
    for title, content in sections.items():
        parts += [f'{title}:', _markdown(content)]
    parts += ['\n'.join(['Failed:', *(f'- {reason}' for reason in failed)])] * bool(failed)
    page = templates().get_template('ablation_page.html').render(
        title=folder.resolve().name, question=question, main=main, withheld=withheld, sections=sections, notes=notes,
        failed=failed, panels=panels,
        key={curve.name: divmod(curve.colour, plots.COLOURS) for panel in panels for curve in panel.curves},
        differences=differences or {}, first=lines[0].name if lines else '',
        plot=plots.svg('plot', draw, size) if draw else '', command=command)
    texts = {'table.md': '\n\n'.join(filter(None, [*parts, f'Made by `{command}`.'])) + '\n', 'table.csv': _csv(lines),
             'table.tex': _latex(main), 'report.html': page}
    if noisy:
        texts['noise.csv'] = _noise_csv(noisy)
    if draw:
        texts['plot.svg'] = plots.svg_file(draw, size)
    for name, text in texts.items():
        atomic.write(folder / name, text)
    return [folder / name for name in texts]


def _main(lines: Sequence[Line], metric: str) -> _Table:
    """The main table; columns in which nothing stands are left out."""
    percent = is_per_clip(metric)
    columns = ['row', f'{metric}, %' if percent else metric, '95 % CI', 'sd of runs', 'most frequent class',
               'difference', '95 % CI of it', 'to', 'McNemar p', 'clips', 'runs', 'training, s', 'parameters',
               'forward, MACs']
    rows = []
    for line in lines:
        runs = ', '.join([*(f'{name} {_figure(value, percent)}' for name, value
                            in zip(line.runs, line.values, strict=True)),
                          *(f'{name} failed' for name in line.failed),
                          *([f'{line.missing} to come'] if line.missing else [])])
        mean, difference = line.mean, line.difference
        rows.append([
            line.name, _figure(mean.mean if mean else math.nan, percent), _ends(mean, percent),
            _figure(line.deviation, percent), _figure(line.chance, percent),
            _figure(difference.mean if difference else math.nan, percent, sign=True), _ends(difference, percent, True),
            line.against if difference else _NONE, _NONE if math.isnan(line.p) else f'{line.p:.2g}',
            str(line.clips) if line.clips else _NONE, runs,
            _NONE if math.isnan(line.seconds) else f'{line.seconds:.0f}',
            f'{line.parameters / 1e6:.3g} M' if line.parameters else _NONE,
            _NONE if math.isnan(line.macs) else short(line.macs).strip()])
    kept = [i for i, _ in enumerate(columns) if i < 2 or any(row[i] not in (_NONE, '') for row in rows)]
    return _Table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _withheld(lines: Sequence[Line], metric: str) -> _Table:
    percent = is_per_clip(metric)
    rows = []
    for line in lines:
        for subset, found in line.subsets.items():
            other, gain = line.alone.get(subset, (_NONE, None))
            rows.append([line.name, subset, _figure(found.mean, percent), _ends(found, percent),
                         _figure(gain.mean if gain else math.nan, percent, True), _ends(gain, percent, True), other])
    header = ['row', 'given', f'{metric}, %', '95 % CI', 'difference', '95 % CI of it',
              'to a model of these alone']
    # Without a row of such streams there is nothing to compare with.
    keep = len(header) if any(line.alone for line in lines) else 4
    return _Table(header[:keep], [row[:keep] for row in rows])


def _in_noise(noisy: Noisy, metric: str) -> dict[str, _Table]:
    """Two tables a kind of noise, by title: figures by ratio, and what they are more than the row compared with."""
    percent, found = is_per_clip(metric), {}
    for kind, levels in noisy.items():
        names = [level_name(level) for level in levels]
        figures, differences = [], []
        for rows in zip(*levels.values(), strict=True):  # A row of the ablation at every level.
            if not all(line.mean for line in rows):
                continue
            line = rows[0]
            figures.append([line.name, line.streams, *(_with_ends(each.mean, percent) for each in rows)])
            figures += [[line.name, subset, *(_with_ends(each.subsets[subset], percent) for each in rows)]
                        for subset in line.subsets]
            if all(each.difference for each in rows):
                differences.append([line.name, line.against, *(_with_ends(each.difference, percent, True)
                                                               for each in rows)])
        title = f'{metric}{", %," if percent else ""} in {kind} noise, by the ratio of sound to noise'
        found[title] = _Table(['row', 'given', *names], figures)
        if differences:
            pairs = 'clip' if percent else 'run'
            found[f'Differences in {kind} noise, paired by {pairs}'] = _Table(['row', 'to', *names], differences)
    return {title: table for title, table in found.items() if table.rows}


def _with_ends(found: Interval | None, percent: bool, sign: bool = False) -> str:
    if found is None:
        return _NONE
    return _figure(found.mean, percent, sign) + ('' if found.missing else f' ({_ends(found, percent, sign)})')


def _notes(lines: Sequence[Line], metric: str) -> list[str]:
    measured = [line for line in lines if line.mean]
    if not measured:
        return []
    means, differences = ('; '.join(dict.fromkeys(found.label for found in each if found)) for each in (
        [line.mean for line in measured], [line.difference for line in measured]))
    methods = f'Confidence intervals (CI) of the metric: {means}.' + (
        f' Of the differences: {differences}.' if differences else '')
    times = sum(line.evaluations for line in measured)
    counted = f'The split was evaluated {times} {"times" if times > 1 else "time"}.'
    if not any(line.clips for line in measured):
        return [f'{methods} Over the runs; differences are paired by run. {counted}']
    known = [line for line in measured if line.clips and line.mean and not line.mean.missing]
    weak = [line.name for line in known if not line.beats_chance]
    return [
        f'{methods} Over clips and, where the catalog has them, groups; differences are paired by clip and seed. With '
        f'folds each clip is tested once. {counted}',
        *([f'The interval reaches down to the most frequent class: {"; ".join(weak)}.' if weak else
           "Every row's interval lies above the most frequent class."] if known else [])]


def _figure(value: float, percent: bool, sign: bool = False) -> str:
    if math.isnan(value):
        return _NONE
    if percent:
        return f'{100 * value:+.1f}' if sign else f'{100 * value:.1f}'
    return f'{value:+.4g}' if sign else f'{value:.4g}'


def _ends(found: Interval | None, percent: bool, sign: bool = False) -> str:
    if found is None or found.missing:
        return _NONE
    return f'{_figure(found.low, percent, sign)} to {_figure(found.high, percent, sign)}'


def _markdown(table: _Table) -> str:
    return markdown(table.header, table.rows, '<>')


def _csv(lines: Sequence[Line]) -> str:
    """Numbers as they are, fractions as fractions, a subset of the streams in a row of its own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['row', 'streams', 'mean', 'low', 'high', 'interval', 'deviation', 'chance', 'against',
                     'difference', 'difference_low', 'difference_high', 'difference_interval', 'p', 'clips', 'runs',
                     'values', 'failed', 'missing', 'seconds', 'parameters', 'macs'])
    for line in lines:
        figures = [*_numbers(line.mean), line.deviation, line.chance, line.against, *_numbers(line.difference), line.p,
                   line.clips, ' '.join(line.runs), ' '.join(map(str, line.values)), ' '.join(line.failed),
                   line.missing, line.seconds, line.parameters, line.macs]
        writer.writerow([line.name, 'all', *('' if figure != figure else figure for figure in figures)])  # NaN.
        for subset, found in line.subsets.items():
            writer.writerow([line.name, subset, *_numbers(found), *[''] * 15])
    return text.getvalue()


def _numbers(found: Interval | None) -> tuple[Any, ...]:
    """Mean, ends and method, or why there are no ends."""
    if found is None:
        return '', '', '', ''
    return found.mean, *(('', '') if found.missing else (found.low, found.high)), found.label


def _noise_csv(noisy: Noisy) -> str:
    """A line a row, subset of its streams, kind of noise and ratio."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['row', 'streams', 'noise', 'ratio', 'mean', 'low', 'high', 'interval', 'against', 'difference',
                     'difference_low', 'difference_high', 'difference_interval', 'p', 'clips', 'runs'])
    for kind, levels in noisy.items():
        for level, lines in levels.items():
            for line in lines:
                if line.mean is None:
                    continue
                p = '' if math.isnan(line.p) else line.p
                start = [kind, '' if level is None else f'{level:g}']
                writer.writerow([line.name, line.streams, *start, *_numbers(line.mean), line.against,
                                 *_numbers(line.difference), p, line.clips, ' '.join(line.runs)])
                for subset, found in line.subsets.items():
                    other, gain = line.alone.get(subset, ('', None))
                    writer.writerow([line.name, subset, *start, *_numbers(found), other, *_numbers(gain), '', '',
                                     ' '.join(line.runs)])
    return text.getvalue()


def _latex(table: _Table) -> str:
    def joined(cells: Sequence[str]) -> str:
        return ' & '.join(map(_escaped, cells)) + r' \\'

    return '\n'.join([r'\begin{tabular}{l' + 'r' * (len(table.header) - 1) + '}', r'\toprule', joined(table.header),
                      r'\midrule', *map(joined, table.rows), r'\bottomrule', r'\end{tabular}', ''])


def _escaped(text: str) -> str:
    for letter in '&%$#_{}':
        text = text.replace(letter, '\\' + letter)
    return text.replace(_NONE, '--')


def _intervals(lines: Sequence[Line], metric: str) -> plots.Draw:
    """Draws a point and its interval a row, and a tick where the most frequent class lies."""
    scale = 100 if is_per_clip(metric) else 1

    def draw(figure: Any, palette: plots.Palette) -> None:
        point, chance, *_ = palette.lines
        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            if line.mean is None:
                continue
            mean, low, high = (scale * value for value in line.mean[:3])
            if not math.isnan(low):
                axes.plot([low, high], [place, place], color=point, linewidth=2)
            axes.plot([mean], [place], 'o', color=point, markersize=6)
            axes.plot([scale * line.chance], [place], '|', color=chance, markersize=11, markeredgewidth=2)
        axes.set_yticks(range(len(lines)), [line.name for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(axis='x', linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(f'{metric}, % (bar: 95 % CI; tick: most frequent class)' if scale == 100 else metric)

    return draw
