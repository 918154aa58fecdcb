"""Texts as targets: the tokens that a model writes, and the text itself, by which it is measured."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.pipeline.targets import Specs, WindowBatch
from vmmjax.pipeline.tokenizers import JOINS, PAD, SPLITS, UNKNOWN, WORDPIECE, WordPiece, normal, read_vocabulary
from vmmjax.store.catalog import JOIN

if TYPE_CHECKING:
    from vmmjax.store.store import Store

END = '[END]'
SPECIAL = (PAD, END, UNKNOWN)
"""The first tokens of every vocabulary, as `models.decoders.vocabulary` counts on them."""
_INSIDE = '##'  # Before a piece of wordpiece that goes on with a word.
LETTERS = '/letters'  # Behind the name of a target: the texts themselves.


@dataclasses.dataclass(frozen=True)
class Writing:
    """How texts become tokens and tokens texts.

    Attributes:
      tokenizer: `words`, `characters`, `jieba`, `wordpiece`, or your own as package.module:Name, a function from a text
        to its tokens, which a space joins again.
      vocab: for wordpiece, the vocab.txt.
      lowercase: whether case is dropped.
      pieces: what stands in that file, of a run that has kept it; else it is read.
    """

    tokenizer: str = 'words'
    vocab: str = ''
    lowercase: bool = True
    pieces: tuple[str, ...] = ()

    def pieces_of_file(self) -> tuple[str, ...]:
        """What stands in the vocab.txt of wordpiece, see `pieces`.

        Raises:
          UserError: where it is not named or cannot be read.
        """
        if not self.pieces and not self.vocab:
            raise UserError(f'config.task.tokenizer is {WORDPIECE}, which needs config.task.vocab: a vocab.txt.')
        return self.pieces or tuple(read_vocabulary(Path(self.vocab)))

    def splitter(self) -> Callable[[str], list[str]]:
        """A function from a text to its tokens.

        Raises:
          UserError: for an unknown tokenizer, a missing package or file.
        """
        if self.tokenizer == WORDPIECE:
            pieces = WordPiece(self.pieces_of_file(), self.lowercase)
            return lambda text: [piece for word in pieces(normal(text, self.lowercase)) for piece in word]
        found = registry.find(self.tokenizer, {**SPLITS, WORDPIECE: None}, 'tokenizer')
        return lambda text: list(found(normal(text, self.lowercase)))

    def joined(self, tokens: Sequence[str]) -> str:
        """A text of tokens."""
        return JOINS.get(self.tokenizer, ' '.join)(tokens)


    def words(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Where the words of a text begin and end among its tokens; letters and pieces are parts of them."""
        if self.tokenizer == 'characters':
            spaces = [-1, *(place for place, token in enumerate(tokens) if token == ' '), len(tokens)]
            return [(first + 1, last) for first, last in itertools.pairwise(spaces) if last > first + 1]
        begins = [place for place, token in enumerate(tokens)
                  if not (place and self.tokenizer == WORDPIECE and token.startswith(_INSIDE))]
        return list(itertools.pairwise([*begins, len(tokens)]))


class Texts:
    """What stands in a catalog column, one text a clip or several joined by `;`.

    `target/<column>` int32 (R, L): the tokens of up to R texts, -1 behind each. `target/<column>/letters` int32
    (R, C): their characters as Unicode numbers, -1 behind each; so measuring knows words that the vocabulary lacks.

    Attributes:
      classes: empty: a model's head has no outputs for texts.
      vocabulary: the tokens, a token's id being its place; the first three are `SPECIAL`.
    """

    def __init__(self, store: 'Store', column: str, writing: Writing, vocabulary: Sequence[str] = (),
                 several: bool = False):
        """Reads the catalog.

        Args:
          store: the store.
          column: of its catalog.
          writing: how texts become tokens.
          vocabulary: of the run; where it is empty, the tokens of the training split, the commonest first.
          several: whether a clip has texts joined by `;`.

        Raises:
          UserError: for a column that is not there, a clip without a text, and letters that the vocabulary lacks;
            what `Writing.splitter` raises.
        """
        self.classes: Any = []
        self._key, split = f'target/{column}', writing.splitter()
        self._tokens = [[split(text) for text in (value.split(JOIN) if several else [value])]
                        for value in store.values(column).tolist()]
        for row, texts in enumerate(self._tokens):
            if not all(texts):
                raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has no text in {column!r}; '
                                f'fill it in in the manifest, or leave the clip out, and prepare a new store.')
        if not vocabulary:
            counts = Counter(token for row in store.rows('train') for text in self._tokens[row] for token in text)
            vocabulary = (*SPECIAL, *sorted(counts.keys() - {*SPECIAL}, key=lambda token: (-counts[token], token)))
        self.vocabulary = tuple(vocabulary)
        places = {token: place for place, token in enumerate(self.vocabulary)}
        if writing.tokenizer == 'characters':
            self._check_letters(store, column, places)
        unknown = places[UNKNOWN]
        self._ids = [[[places.get(token, unknown) for token in text] for text in texts] for texts in self._tokens]
        self._letters = [[[ord(letter) for letter in writing.joined(text)] for text in texts]
                         for texts in self._tokens]
        count = max(map(len, self._ids))
        self.specs: Specs = {
            f'{self._key}{suffix}': ((count, max(len(text) for texts in values for text in texts)), np.dtype(np.int32))
            for suffix, values in (('', self._ids), (LETTERS, self._letters))}

    def __str__(self) -> str:
        return f'{self._key.removeprefix("target/")}: texts of {len(self.vocabulary) - len(SPECIAL)} tokens'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        found = {}
        for suffix, values in (('', self._ids), (LETTERS, self._letters)):
            shape, dtype = self.specs[f'{self._key}{suffix}']
            texts = np.full((len(windows.rows), *shape), -1, dtype)
            for place in np.flatnonzero(windows.real):
                for i, text in enumerate(values[windows.rows[place]]):
                    texts[place, i, :len(text)] = text
            found[f'{self._key}{suffix}'] = texts
        return found

    def ids(self, row: int) -> list[list[int]]:
        """The tokens of the texts of a catalog row."""
        return self._ids[row]

    def _check_letters(self, store: 'Store', column: str, places: dict[str, int]) -> None:
        for row, texts in enumerate(self._tokens):
            for letter in (letter for text in texts for letter in text):
                if letter not in places:
                    raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has the letter '
                                    f'{letter!r} in {column!r}, which no text of the training split has; mend it in '
                                    f"the manifest, or choose config.task.tokenizer = 'words'.")


def text_of(letters: np.ndarray) -> str:
    """The text of `target/<column>/letters` (C,)."""
    return ''.join(map(chr, letters[letters >= 0].tolist()))
