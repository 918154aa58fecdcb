"""Tables of texts: for a terminal, and in Markdown."""

from collections.abc import Iterable, Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]], alignment: str = '<', minimum: Sequence[int] = ()) -> list[str]:
    """The lines of a table for a terminal: columns two spaces apart, without spaces at the end of a line.

    Args:
      rows: cells of every row, the header first where there is one; all rows have as many.
      alignment: '<' or '>' (left or right) for each column; the last one counts for all further columns.
      minimum: widths that the first columns have at least, in characters.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[:len(minimum)] = map(max, widths, minimum)
    sides = _for_columns(alignment, len(widths))
    return ['  '.join(f'{cell:{side}{width}}' for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
            for row in rows]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = '<') -> str:
    """A table in Markdown.

    Args:
      header: names of the columns.
      rows: cells of every row; a `|` in them is escaped.
      alignment: as for `aligned`.
    """
    return '\n'.join(markdown_lines(header, rows, alignment))


def markdown_lines(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = '<') -> Iterator[str]:
    """The lines of `markdown`, each as soon as its row is there."""
    marks = '|'.join({'<': '---', '>': '---:'}[side] for side in _for_columns(alignment, len(header)))
    yield from (_markdown_row(header), f'|{marks}|')
    yield from map(_markdown_row, rows)


def _for_columns(alignment: str, count: int) -> str:
    return (alignment + alignment[-1] * count)[:count]


def _markdown_row(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
