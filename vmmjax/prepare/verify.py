"""Compares the shards of a store with what was recorded when they were written."""

import json
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.parallel import read_all
from vmmjax.prepare import shards
from vmmjax.store.column import shards_of


def check(store: Path, threads: int, progress: bool = True) -> str:
    """Reads every shard of every complete column and compares its SHA-256.

    Args:
      store: its folder.
      threads: that read.
      progress: whether there are progress bars.

    Returns:
      A sentence with how many are whole.

    Raises:
      UserError: names every shard that is missing, has another size or another content, and the remedy.
    """
    columns = sorted(file.parent for file in store.glob('*/column.json'))
    if not columns:
        raise UserError(f'{store} holds no complete column: make one with `vmmjax prepare --source=... '
                        f'--store={store}`.')
    found = {column.name: damaged(column, threads, progress) for column in columns}
    broken = [f'{file.relative_to(store)} {reason}' for column in found.values() for file, reason in column.items()]
    if broken:
        names = ','.join(name for name, those in found.items() if those)
        raise UserError(f'The store {store} is damaged: {", ".join(broken)}. `vmmjax prepare --source=... '
                        f'--store={store} --columns={names} --verify`, with the source and options it was made '
                        f'from, makes these shards again and leaves the others.')
    return f'{store}: {sum(len(_listed(column)) for column in columns)} shards of {len(columns)} columns are whole.'


def damaged(column: Path, threads: int, progress: bool) -> dict[Path, str]:
    """The shards of a complete column that are not as they were written, and what is wrong with each.

    Args:
      column: its folder.
      threads: that read the shards; 0 compares their sizes alone and reads nothing.
      progress: whether there is a progress bar.
    """
    listed = _listed(column)
    wrong = {}
    for shard in listed:
        file = column / shard['file']
        if not file.is_file():
            wrong[file] = 'is missing'
        elif file.stat().st_size != shard['bytes']:
            wrong[file] = f'has {file.stat().st_size} bytes instead of {shard["bytes"]}'
    whole = [shard for shard in listed if column / shard['file'] not in wrong]
    if threads:
        found = read_all(shards.sha256, [column / shard['file'] for shard in whole], threads=threads,
                         label=f'verifying {column.name}', progress=progress)
        wrong |= {column / shard['file']: 'has another content'
                  for shard, its in zip(whole, found, strict=True) if its != shard['sha256']}
    return wrong


def _listed(column: Path) -> list[dict[str, Any]]:
    return shards_of(json.loads((column / 'column.json').read_text()))
