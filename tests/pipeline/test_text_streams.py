import csv
from pathlib import Path

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline import sampling
from vmmjax.pipeline.text_streams import TextConfig, TextStream
from vmmjax.store.store import Store

ROWS = [('train', 'place Red at a zero', 'red'), ('train', 'bin blue at b zero', 'blue'), ('train', '', 'red'),
        ('train', 'bin red now', 'red'), ('test', 'place green by red', 'red'), ('test', 'bin at zero now', 'blue')]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of texts alone: they need no column."""
    with (tmp_path / 'catalog.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['row', 'id', 'split', 'path', 'start', 'end', 'duration', 'fps', 'width', 'height',
                         'audio_rate', 'text', 'color'])
        for i, (split, text, color) in enumerate(ROWS):
            writer.writerow([i, i, split, f'{i}.mp4', 0, 1, 1, '', '', '', '', text, color])
    (tmp_path / 'store.json').write_text(
        '{"format": 1, "source": {"origin": "x", "sha256": ""}, "splits": {"train": [0, 4], "test": [4, 6]}}')
    return Store(tmp_path)


def no_draw(name: str, numbers: int) -> np.ndarray:
    raise AssertionError('Nothing is to be drawn.')


def text_of(stream: TextStream, ids: np.ndarray, mask: np.ndarray) -> list[str]:
    return [' '.join(stream.vocabulary[i] for i in row[inside]) for row, inside in zip(ids, mask, strict=True)]


def test_the_vocabulary_is_that_of_the_training_split(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', length=6), store)
    assert ' '.join(stream.vocabulary) == '[PAD] [UNK] [MASK] at bin red zero a b blue now place'
    ids, mask = stream.tokens(np.array([4, 2, 0]), no_draw, train=False)
    assert (ids.dtype, mask.dtype) == (np.int32, bool)
    np.testing.assert_array_equal(ids, [[11, 1, 1, 5, 0, 0], [0] * 6, [11, 5, 3, 7, 6, 0]])
    np.testing.assert_array_equal(mask.sum(1), [4, 0, 5])
    assert (stream.name, stream.length) == ('text', 6)
    assert str(stream) == 'text: text:text as words of 12 -> (6,)'


def test_a_long_text_is_cut_and_case_is_kept_where_asked_for(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', length=2, lowercase=False), store)
    assert text_of(stream, *stream.tokens(np.arange(2), no_draw, train=False)) == ['place Red', 'bin blue']


def test_the_target_is_hidden_in_the_text_and_from_the_vocabulary(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', length=6, hide=('color',)), store)
    assert 'red' not in stream.vocabulary
    texts = text_of(stream, *stream.tokens(np.arange(6), no_draw, train=False))
    assert texts == ['place [MASK] at a zero', 'bin [MASK] at b zero', '', 'bin [MASK] now', 'place [UNK] [UNK] [MASK]',
                     'bin at zero now']


def test_words_are_masked_at_the_rate_in_training_alone(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', length=6, mask_rate=0.3), store)
    rows = np.zeros(4000, np.int64)

    def draw(name: str, numbers: int) -> np.ndarray:
        return sampling.uniform(0, np.arange(4000), name, numbers)

    ids, mask = stream.tokens(rows, draw, train=True)
    np.testing.assert_array_equal(mask, np.arange(6) < np.full((4000, 1), 5))
    np.testing.assert_allclose((ids == 2).mean(0), [0.3] * 5 + [0], atol=0.03)
    np.testing.assert_array_equal(ids, stream.tokens(rows, draw, train=True)[0])
    plain, _ = stream.tokens(rows[:1], no_draw, train=False)
    assert ((ids == plain) | (ids == 2)).all()


def test_characters_have_a_vocabulary_too(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', 'characters', length=12), store)
    assert text_of(stream, *stream.tokens(np.array([3]), no_draw, train=False)) == ['b i n   r e d   n o w']


def test_a_tokenizer_may_be_ones_own(store: Store) -> None:
    stream = TextStream('text', TextConfig('text:text', f'{__name__}:first_letters', length=4), store)
    assert text_of(stream, *stream.tokens(np.array([1]), no_draw, train=False)) == ['b b a b']


def first_letters(text: str) -> list[str]:
    return [word[0] for word in text.split()]


def test_wordpiece_masks_whole_words_and_keeps_its_ends(store: Store, tmp_path: Path) -> None:
    pytest.importorskip('tokenizers')
    pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'pla', '##ce', 'red', 'at', 'a', 'ze', '##ro']
    (tmp_path / 'vocab.txt').write_text('\n'.join(pieces))
    options = dict(tokenizer='wordpiece', vocab=str(tmp_path / 'vocab.txt'))
    stream = TextStream('text', TextConfig('text:text', length=10, **options), store)
    assert stream.vocabulary == tuple(pieces)
    ids, mask = stream.tokens(np.array([0, 2]), no_draw, train=False)
    assert text_of(stream, ids, mask) == ['[CLS] pla ##ce red at a ze ##ro [SEP]', '']
    cut = TextStream('text', TextConfig('text:text', length=5, **options), store)
    assert text_of(cut, *cut.tokens(np.array([0]), no_draw, train=False)) == ['[CLS] pla ##ce red [SEP]']
    masked = TextStream('text', TextConfig('text:text', length=10, mask_rate=0.5, hide=('color',), **options), store)
    drawn = np.array([[0.1, 0.9, 0.9, 0.9, 0.4, 0, 0, 0, 0, 0]])
    assert text_of(masked, *masked.tokens(np.array([0]), lambda name, numbers: drawn, train=True)) == [
        '[CLS] [MASK] [MASK] [MASK] at a [MASK] [MASK] [SEP]']


@pytest.mark.parametrize(('options', 'said'), [
    (dict(modality='text:txet'), "did you mean 'text'"),
    (dict(hide=('colour',)), "did you mean 'color'"),
    (dict(tokenizer='word'), "did you mean 'words'"),
    (dict(tokenizer='wordpiece'), r'data\.streams\.text\.vocab'),
    (dict(vocab='vocab.txt'), 'leave it out for words'),
    (dict(length=0), r'data\.streams\.text\.length is 0'),
    (dict(mask_rate=1.5), 'a probability from 0 to 1')])
def test_mistakes_are_named(store: Store, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TextStream('text', TextConfig(**dict(modality='text:text') | options), store)  # type: ignore[arg-type]


def test_a_vocabulary_needs_a_training_split(store: Store) -> None:
    del store.splits['train']
    with pytest.raises(UserError, match="no split 'train'"):
        TextStream('text', TextConfig('text:text'), store)
