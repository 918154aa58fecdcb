from types import SimpleNamespace

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.models.decoders import vocabulary
from vmmjax.pipeline.targets import WindowBatch
from vmmjax.pipeline.text_targets import END, SPECIAL, Texts, Writing, text_of
from vmmjax.pipeline.tokenizers import PAD, UNKNOWN


def store(*texts, train=2):
    return SimpleNamespace(name='a store', values=lambda name: np.array(texts), rows=lambda split: range(train),
                           clip=lambda row: f'clip {row}')


def of(texts, rows, real=None):
    rows = np.array(rows)
    return texts.of(WindowBatch.whole(rows, np.ones(len(rows)))._replace(
        real=np.ones(len(rows), bool) if real is None else np.array(real)))


def test_special_tokens_are_where_decoders_expect_them():
    assert [SPECIAL.index(token) for token in (PAD, END, UNKNOWN)] == [
        vocabulary.PAD_ID, vocabulary.END_ID, vocabulary.UNKNOWN_ID]


def test_tokens_and_letters_of_a_batch():
    texts = Texts(store('Set red', 'red, red!', 'blue'), 'text', Writing())
    assert texts.vocabulary == (*SPECIAL, 'red', 'set')
    assert texts.classes == []
    found = of(texts, [1, 0, 2, 0], real=[True, True, True, False])
    assert {key: (values.shape[1:], values.dtype) for key, values in found.items()} == texts.specs
    assert found['target/text'].tolist() == [[[3, 3]], [[4, 3]], [[vocabulary.UNKNOWN_ID, -1]], [[-1, -1]]]
    assert [text_of(letters[0]) for letters in found['target/text/letters']] == ['red red', 'set red', 'blue', '']


def test_a_text_may_be_several():
    texts = Texts(store('a dog;a cat runs', 'rain'), 'text', Writing(), several=True)
    found = of(texts, [0, 1])
    assert found['target/text'].shape == (2, 2, 3)
    assert [[text_of(one) for one in clip] for clip in found['target/text/letters']] == [['a dog', 'a cat runs'],
                                                                                       ['rain', '']]


@pytest.mark.parametrize(('options', 'text', 'tokens'), [
    (dict(tokenizer='words'), "Don't  stop", ["don't", 'stop']),
    (dict(tokenizer='words', lowercase=False), 'Stop now', ['Stop', 'now']),
    (dict(tokenizer='characters'), 'a  bb', ['a', ' ', 'b', 'b']),
])
def test_a_text_of_its_tokens(options, text, tokens):
    writing = Writing(**options)
    assert writing.splitter()(text) == tokens
    assert writing.splitter()(writing.joined(tokens)) == tokens


def test_wordpiece_joins_its_pieces_and_needs_no_file_where_a_run_has_kept_them(tmp_path):
    pytest.importorskip('tokenizers')
    pieces = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'play', '##ing', 'the')
    (tmp_path / 'vocab.txt').write_text('\n'.join(pieces))
    for writing in (Writing('wordpiece', str(tmp_path / 'vocab.txt')), Writing('wordpiece', pieces=pieces)):
        assert writing.splitter()('the Playing') == ['the', 'play', '##ing']
        assert writing.joined(['the', 'play', '##ing']) == 'the playing'
    with pytest.raises(UserError, match=r'which needs config.task.vocab'):
        Writing('wordpiece').splitter()


def test_chinese_words_touch():
    pytest.importorskip('jieba')
    writing = Writing('jieba')
    assert writing.joined(writing.splitter()('我们 在唱歌')) == '我们在唱歌'


def test_the_vocabulary_of_a_run_is_kept():
    texts = Texts(store('red', 'blue'), 'text', Writing(), (*SPECIAL, 'blue'))
    assert of(texts, [0, 1])['target/text'].ravel().tolist() == [vocabulary.UNKNOWN_ID, 3]


@pytest.mark.parametrize('empty', ['', '  ', '!?'])
def test_a_clip_without_a_text_is_named(empty):
    with pytest.raises(UserError, match=r"The clip 'clip 1' of the store a store has no text in 'words'"):
        Texts(store('red', empty), 'words', Writing())


def test_an_empty_one_of_several_texts_is_named():
    with pytest.raises(UserError, match='clip 0'):
        Texts(store('a dog;', 'rain'), 'text', Writing(), several=True)


def test_letters_that_the_vocabulary_lacks_are_named():
    with pytest.raises(UserError, match=r"'clip 2' of the store a store has the letter 'é'"):
        Texts(store('red', 'blue', 'blé'), 'text', Writing('characters'))


def test_an_unknown_tokenizer():
    with pytest.raises(UserError, match="There is no tokenizer 'word': did you mean 'words'"):
        Texts(store('red', 'blue'), 'text', Writing('word'))
