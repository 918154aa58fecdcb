"""A text stream: a catalog column's texts as positions in a vocabulary, padded and masked."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.pipeline.tokenizers import (
    ENDS,
    MASK,
    PAD,
    SPLITS,
    UNKNOWN,
    WORDPIECE,
    WordPiece,
    hide,
    normal,
    read_vocabulary,
    split,
)
from vmmjax.store.store import Store

PREFIX = 'text:'  # Of a modality that is a catalog column.
_VOCABULARY_SPLIT = 'train'

Draw = Callable[[str, int], np.ndarray]  # (name, numbers) -> float64 (B, numbers), see `sampling.uniform`.


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """What a text encoder reads: an entry of `data.streams` whose modality is `text:<catalog column>`.

    Attributes:
      modality: `text:<catalog column>`.
      tokenizer: `words`, `characters`, `jieba` (Chinese words), `wordpiece`, or your own as package.module:Name, a
        function from a text to its tokens. Their vocabulary is that of the training split, the commonest first.
      vocab: for wordpiece, the vocab.txt of the network.
      length: L, tokens of a text; what is longer is cut.
      lowercase: whether case is dropped (by wordpiece, accents too).
      hide: catalog columns, such as the target, whose value is replaced by [MASK] wherever it stands in the text.
      mask_rate: probability, in training, that a word is replaced by [MASK].
      views: how often, in training, the words to mask are drawn for each text; view k >= 1 is in the batch as
        `view<k>/<stream>`, `view<k>/<stream>_mask` and `view<k>/present/<stream>`, see `training.views.view`.
    """

    modality: str
    tokenizer: str = 'words'
    vocab: str = ''
    length: int = 32
    lowercase: bool = True
    hide: tuple[str, ...] = ()
    mask_rate: float = 0.0
    views: int = 1


class TextStream:
    """Reads one text stream of a store's catalog.

    Attributes:
      name: of the stream, the batch's key; its mask is `<name>_mask`.
      length: L.
      vocabulary: the tokens, a token's id being its place; the first three are [PAD], [UNK] and [MASK], but wordpiece's
        are those of its file.
    """

    def __init__(self, name: str, config: TextConfig, store: Store):
        """Checks the stream against the store, and reads the vocabulary.

        Args:
          name: of the stream.
          config: its options.
          store: where the catalog is; the vocabulary, too, where the store has the one that a run recorded.

        Raises:
          UserError: for a column that the catalog lacks, an unknown tokenizer, a missing package or file, options out
            of range, and a store with no split `train` where the vocabulary is to come from.
        """
        self.name, self.config, self.length = name, config, config.length
        where = f'data.streams.{name}'
        if not 0 <= config.mask_rate <= 1:
            raise UserError(f'{where}.mask_rate is {config.mask_rate}; a probability from 0 to 1 is meant.')
        self._texts = store.values(config.modality.removeprefix(PREFIX))
        self._hidden = [store.values(column) for column in config.hide]
        self._pieces: WordPiece | None = None
        self._ends: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        recorded = store.vocabularies.get(name)
        if config.tokenizer == WORDPIECE:
            if not config.vocab:
                raise UserError(f'{where}.tokenizer is {WORDPIECE}, which needs {where}.vocab: the vocab.txt of the '
                                f'network.')
            self._pieces = WordPiece(recorded or read_vocabulary(Path(config.vocab)), config.lowercase)
            self._ends, self.vocabulary = ENDS, self._pieces.vocabulary
        else:
            if config.vocab:
                raise UserError(f'{where}.vocab is for the tokenizer {WORDPIECE}; leave it out for '
                                f'{config.tokenizer}, whose vocabulary is that of the training split.')
            self._split = registry.find(config.tokenizer, {**SPLITS, WORDPIECE: None}, 'tokenizer')
            self.vocabulary = tuple(recorded or self._count(store))
        if config.length <= sum(map(len, self._ends)):
            raise UserError(f'{where}.length is {config.length}; a text with what stands around it needs at least '
                            f'{sum(map(len, self._ends)) + 1} tokens.')
        self._ids = {token: i for i, token in enumerate(self.vocabulary)}

    @property
    def specs(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every batch key of a clip."""
        flags = np.dtype(bool)
        return {self.name: ((self.length,), np.dtype(np.int32)), f'{self.name}_mask': ((self.length,), flags),
                f'present/{self.name}': ((), flags)}

    def __str__(self) -> str:
        """One line for a summary."""
        config = self.config
        hidden = f', {", ".join(config.hide)} hidden' if config.hide else ''
        return (f'{self.name}: {config.modality} as {config.tokenizer} of {len(self.vocabulary)}{hidden} '
                f'-> ({self.length},)')

    def tokens(self, rows: np.ndarray, draw: Draw, train: bool) -> tuple[np.ndarray, np.ndarray]:
        """The texts of catalog rows.

        Args:
          rows: int64 (B,).
          draw: see `sampling.uniform`; it is asked for numbers only where words are masked.
          train: whether words are masked at `mask_rate`; all pieces of a word are, or none.

        Returns:
          int32 (B, L) ids, [PAD] behind the text's end; bool (B, L), where its tokens are: none where it is empty.
        """
        ids = np.full((len(rows), self.length), self._ids[PAD], np.int32)
        mask = np.zeros((len(rows), self.length), bool)
        draws = draw(f'mask/{self.name}', self.length) if train and self.config.mask_rate else (
            np.ones((len(rows), self.length)))
        before, after = self._ends
        for i, row in enumerate(rows):
            found = [self._ids[MASK] if masked else self._ids.get(token, self._ids[UNKNOWN])
                     # More words than the length do not fit.
                     for word, masked in zip(self._words(row), draws[i] < self.config.mask_rate, strict=False)
                     for token in word]
            if found:
                text = [*(self._ids[token] for token in before), *found[:self.length - len(before) - len(after)],
                        *(self._ids[token] for token in after)]
                ids[i, :len(text)], mask[i, :len(text)] = text, True
        return ids, mask

    def _words(self, row: int) -> list[list[str]]:
        text = normal(self._texts[row], self.config.lowercase)
        for values in self._hidden:
            text = hide(text, normal(values[row], self.config.lowercase))
        return self._pieces(text) if self._pieces else split(text, self._split)

    def _count(self, store: Store) -> tuple[str, ...]:
        """The tokens of the training split, what is hidden there left out."""
        counts = Counter(token for row in store.rows(_VOCABULARY_SPLIT) for word in self._words(row) for token in word)
        special = (PAD, UNKNOWN, MASK)
        return (*special, *sorted(counts.keys() - special, key=lambda token: (-counts[token], token)))
