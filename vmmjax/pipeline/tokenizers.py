"""Texts to tokens: words, characters, Chinese words, WordPiece; and words that are to be hidden."""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError

PAD, UNKNOWN, MASK = '[PAD]', '[UNK]', '[MASK]'
WORDPIECE = 'wordpiece'
ENDS = (('[CLS]',), ('[SEP]',))  # Before and after every text of a WordPiece network.
_NO_SPACES = '\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff'  # Chinese and Japanese writing: words touch.

Split = Callable[[str], Iterable[str]]


def words(text: str) -> list[str]:
    """Runs of letters, digits and apostrophes between them; other signs are left out."""
    return re.findall(r"\w+(?:['’]\w+)*", text)


def characters(text: str) -> list[str]:
    """Every character; white space, however much, is one space."""
    return list(' '.join(text.split()))


def chinese_words(text: str) -> list[str]:
    """Chinese text as words, by jieba; white space is left out.

    Raises:
      UserError: where jieba is not installed.
    """
    try:
        import jieba
    except ImportError as error:
        raise _missing('jieba', error) from error
    jieba.setLogLevel('WARNING')
    return [word for word in jieba.cut(text) if word.strip()]


def pieces_joined(tokens: Iterable[str]) -> str:
    """The text of WordPiece's pieces: those that begin with ## belong to the word before."""
    return ' '.join(tokens).replace(' ##', '')


SPLITS: Mapping[str, Split] = {'words': words, 'characters': characters, 'jieba': chinese_words}
# How tokens become a text again; a space joins those of other tokenizers.
JOINS: Mapping[str, Callable[[Iterable[str]], str]] = {
    'characters': ''.join, 'jieba': ''.join, WORDPIECE: pieces_joined}


def normal(text: str, lowercase: bool) -> str:
    """The text in Unicode's composed form (NFC), so that equal words are equal texts."""
    return unicodedata.normalize('NFC', text.lower() if lowercase else text)


def hide(text: str, value: str) -> str:
    """Replaces a value by [MASK] wherever it stands as a word, whatever its case; in Chinese wherever it stands.

    A value of several words is found whatever white space is between them. An empty value hides nothing.
    """
    if not value.strip():
        return text
    return _pattern(value).sub(f' {MASK} ', text)


@functools.lru_cache(maxsize=4096)
def _pattern(value: str) -> re.Pattern[str]:
    parts = value.split()
    within = r'\s+'.join(re.escape(part) for part in parts)
    # A neighbour that is Chinese does not make the value a part of a longer word, nor where the value itself is.
    before = '' if re.match(f'[{_NO_SPACES}]', parts[0]) else rf'(?<![^\W{_NO_SPACES}])'
    after = '' if re.search(f'[{_NO_SPACES}]$', parts[-1]) else rf'(?![^\W{_NO_SPACES}])'
    return re.compile(before + within + after, re.IGNORECASE)


def split(text: str, by: Split) -> list[list[str]]:
    """Words of one token each; [MASK] stays one."""
    parts = re.split(f'({re.escape(MASK)})', text)
    return [[token] for i, part in enumerate(parts) for token in ([MASK] if i % 2 else by(part))]


class WordPiece:
    """Words in pieces, as BERT's networks read them (Devlin et al. 2019), by the package `tokenizers`.

    Attributes:
      vocabulary: the pieces, a piece's id being its place.
    """

    def __init__(self, vocabulary: Sequence[str], lowercase: bool):
        """Takes a vocabulary.

        Args:
          vocabulary: see `read_vocabulary`.
          lowercase: whether the network is an uncased one: case and accents are dropped.

        Raises:
          UserError: where the package is missing.
        """
        try:
            from tokenizers.implementations import BertWordPieceTokenizer
        except ImportError as error:
            raise _missing('tokenizers', error) from error
        self.vocabulary = tuple(vocabulary)
        pieces = {piece: i for i, piece in enumerate(self.vocabulary)}
        self._tokenizer: Any = BertWordPieceTokenizer(pieces, lowercase=lowercase)

    def __call__(self, text: str) -> list[list[str]]:
        """The pieces of each word; without those around the text."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        pieces: dict[int, list[str]] = {}
        for token, word in zip(found.tokens, found.word_ids, strict=True):
            pieces.setdefault(word, []).append(token)
        return list(pieces.values())


def read_vocabulary(file: Path) -> list[str]:
    """The pieces of a WordPiece network.

    Args:
      file: vocab.txt, one piece a line.

    Raises:
      UserError: where the file cannot be read, or lacks a special token.
    """
    try:
        # Not splitlines: a multilingual vocabulary has Unicode's own line ends as pieces.
        lines = file.read_bytes().decode().rstrip('\r\n').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'The vocabulary {file} cannot be read ({error}); give the vocab.txt of the network.'
                        ) from error
    vocabulary = [line.rstrip('\r') for line in lines]
    for token in (PAD, UNKNOWN, MASK, *sum(ENDS, ())):
        if token not in vocabulary:
            raise UserError(f'The vocabulary {file} has no {token}; give the vocab.txt of a WordPiece network.')
    return vocabulary


def _missing(package: str, error: ImportError) -> UserError:
    return UserError(f'This text needs the package {package} ({error}); pip install "vmmjax[text]".')
