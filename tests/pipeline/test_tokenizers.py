from pathlib import Path

import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline import tokenizers

VOCABULARY = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'play', '##ing', '##ed', 'the', 'cafe', ',', '中', '国',
              '\u2028', 'Café', 'last')


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    pytest.importorskip('tokenizers')
    (tmp_path / 'vocab.txt').write_bytes('\n'.join(VOCABULARY).encode() + b'\n')
    return tmp_path / 'vocab.txt'


def test_words_and_characters() -> None:
    assert tokenizers.words("Don't stop: it's 5 o’clock, naïve café!") == [
        "Don't", 'stop', "it's", '5', 'o’clock', 'naïve', 'café']
    assert tokenizers.characters(' a  b\n中国 ') == ['a', ' ', 'b', ' ', '中', '国']


def test_chinese_words() -> None:
    pytest.importorskip('jieba')
    assert list(tokenizers.chinese_words('我来到北京清华大学 hello')) == ['我', '来到', '北京', '清华大学', 'hello']


@pytest.mark.parametrize(('text', 'value', 'hidden'), [
    ('place red at a zero', 'a', 'place red at [MASK] zero'),
    ('Red, infrared and red.', 'red', '[MASK] , infrared and [MASK] .'),
    ('arm  wrestling', 'arm wrestling', '[MASK]'),
    ('1.5 or 115', '1.5', '[MASK] or 115'),
    ('I say C++ now', 'c++', 'I say [MASK] now'),
    ('nothing', '', 'nothing'),
    ('nothing', ' ', 'nothing'),
    ('我来到北京清华大学', '北京', '我来到 [MASK] 清华大学'),
    ('say red北京red', 'red', 'say [MASK] 北京 [MASK]')])
def test_a_value_is_hidden_where_it_stands_as_a_word(text: str, value: str, hidden: str) -> None:
    assert ' '.join(tokenizers.hide(text, value).split()) == hidden


def test_a_mask_stays_one_token() -> None:
    text = tokenizers.hide('place red now', 'red')
    assert tokenizers.split(text, tokenizers.words) == [['place'], ['[MASK]'], ['now']]
    assert tokenizers.split('ab [MASK]', tokenizers.characters) == [['a'], ['b'], ['[MASK]']]


def test_equal_words_are_equal_texts() -> None:
    assert tokenizers.normal('CAFE\u0301', lowercase=True) == 'caf\u00e9'
    assert tokenizers.normal('Cafe\u0301', lowercase=False) == 'Caf\u00e9'


def test_wordpiece_is_berts(vocabulary: Path) -> None:
    pieces = tokenizers.WordPiece(tokenizers.read_vocabulary(vocabulary), lowercase=True)
    assert pieces.vocabulary == VOCABULARY  # A Unicode line end is a piece, not a line's end.
    assert pieces('Playing, the [MASK] played CAFÉ 中国 xyz') == [
        ['play', '##ing'], [','], ['the'], ['[MASK]'], ['play', '##ed'], ['cafe'], ['中'], ['国'], ['[UNK]']]
    assert tokenizers.WordPiece(VOCABULARY, lowercase=False)('Café Play') == [['Café'], ['[UNK]']]


def test_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'vocab\.txt of the network'):
        tokenizers.read_vocabulary(tmp_path / 'missing.txt')
    (tmp_path / 'short.txt').write_text('[PAD]\n[UNK]\nplay\n')
    with pytest.raises(UserError, match=r'has no \[MASK\]'):
        tokenizers.read_vocabulary(tmp_path / 'short.txt')


@pytest.mark.parametrize(('package', 'use'), [
    ('jieba', lambda path: tokenizers.chinese_words('中国')),
    ('tokenizers', lambda path: tokenizers.WordPiece(VOCABULARY, True))])
def test_a_package_that_is_not_installed(package: str, use: object, vocabulary: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, package, None)
    monkeypatch.setitem(__import__('sys').modules, f'{package}.implementations', None)
    with pytest.raises(UserError, match=rf'package {package} .*vmmjax\[text\]'):
        use(vocabulary)  # type: ignore[operator]
