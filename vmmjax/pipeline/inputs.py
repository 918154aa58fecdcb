"""How a run's streams are read, as plain JSON: what prediction needs of the training store, which may be gone then.

`config.data` says the rest (windows, sampling, crops, views, tokenizers). What `describe` gives belongs into what a
run keeps beside its weights:

    {'format': 1,
     'columns': {'rgb': {'kind': 'picture', 'rate': 25.0, 'chunk': 1, 'shape': [],
                         'options': {'fps': 25.0, 'short_side': 128}, 'builder': '', 'version': 2}},
     'texts': {'words': {'column': 'text', 'hide': [], 'vocabulary': ['[PAD]', '[UNK]', '[MASK]', 'a', ...]}}}

The entries of `columns`, by name, are those of `store.column.Column` (runs of an older vmmjax have no `version`, which
was 1); those of `texts`, by stream, are the catalog
columns that it reads and the tokens, a token's id being its place.
"""

from collections.abc import Mapping
from typing import Any

from vmmjax.errors import UserError
from vmmjax.pipeline import options
from vmmjax.pipeline.text_streams import PREFIX, TextConfig, TextStream
from vmmjax.store.store import Store

FORMAT = 1
_COLUMN = {'kind': str, 'rate': int | float, 'chunk': int, 'shape': list, 'options': dict | None, 'builder': str}
_TEXT = {'column': str, 'hide': list, 'vocabulary': list}


def describe(store: Store, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run keeps of its store.

    Args:
      store: as its pipelines are given it: of a cross-validation, with the splits of its fold.
      data: `config.data`.

    Returns:
      Values of JSON, see the module.

    Raises:
      UserError: see `Pipeline`.
    """
    columns, texts = {}, {}
    for name, given in data['streams'].items():
        modality = given.get('modality', '')
        if modality.startswith(PREFIX):
            stream = TextStream(name, options.read(TextConfig, given, f'data.streams.{name}'), store)
            texts[name] = {'column': modality.removeprefix(PREFIX), 'hide': list(stream.config.hide),
                           'vocabulary': list(stream.vocabulary)}
        else:
            column = store.column(modality)
            columns[modality] = {
                'kind': column.kind, 'rate': float(column.rate), 'chunk': column.chunk, 'shape': list(column.shape),
                'options': None if column.options is None else dict(column.options), 'builder': column.builder,
                'version': column.version}
    return {'format': FORMAT, 'columns': columns, 'texts': texts}


def checked(found: Any, run: str) -> dict[str, Any]:
    """What `describe` gave, after it came back from a file.

    Args:
      found: what the run has kept; None where it has kept nothing.
      run: its name, for the message.

    Raises:
      UserError: for a run of an older vmmjax, which kept nothing, for one of a newer format, or for something else.
    """
    if found is None:
        raise UserError(f'The run {run} was trained by an older vmmjax, which did not write down how its streams are '
                        f'read; evaluate it on its store, or train it again.')
    if not isinstance(found, dict) or not isinstance(found.get('format'), int):
        raise UserError(f'What the run {run} says of how its streams are read is damaged; take its folder from where '
                        f'it was made again.')
    if found['format'] != FORMAT:
        raise UserError(f'The run {run} says how its streams are read in format {found["format"]}, and this vmmjax '
                        f'reads format {FORMAT}; install the vmmjax that trained it.')
    for part, keys in (('columns', _COLUMN), ('texts', _TEXT)):
        entries = found.get(part)
        if not isinstance(entries, dict) or not all(
                isinstance(entry, dict) and all(key in entry and isinstance(entry[key], kind)
                                                for key, kind in keys.items()) for entry in entries.values()):
            raise UserError(f'What the run {run} says of the {part} that it reads is damaged; take its folder from '
                            f'where it was made again.')
    return found
