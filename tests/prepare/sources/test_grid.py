from collections import Counter

import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources

LINES = ('0 23750 sil', '23750 29500 bin', '29500 34000 blue', '34000 35500 at', '35500 41000 f', '41000 47250 two',
         '47250 53000 now', '53000 74500 sil')


def test_sentence_and_times_of_the_words(put, tmp_path):
    put('alignments/s1/bbaf2n.align', *LINES)
    put('s1/bbaf2n.mpg')
    put('audio_25k/s1/bbaf2n.wav')
    clip, = sources.read(f'grid:{tmp_path}')
    assert (clip.path, clip.name, clip.id) == (tmp_path / 's1/bbaf2n.mpg', 's1/bbaf2n.mpg', 's1/bbaf2n')
    assert clip.labels == {
        'text': 'bin blue at f two now', 'speaker': 's1',
        'command': 'bin', 'command_start_s': '0.95', 'command_end_s': '1.18',
        'color': 'blue', 'color_start_s': '1.18', 'color_end_s': '1.36',
        'preposition': 'at', 'preposition_start_s': '1.36', 'preposition_end_s': '1.42',
        'letter': 'f', 'letter_start_s': '1.42', 'letter_end_s': '1.64',
        'digit': 'two', 'digit_start_s': '1.64', 'digit_end_s': '1.89',
        'adverb': 'now', 'adverb_start_s': '1.89', 'adverb_end_s': '2.12'}


def test_talkers_say_the_same_sentence(put, tmp_path):
    for talker in ('s1', 's12'):
        put(f'{talker}/align/bbaf2n.align', *LINES)
        put(f'{talker}/video/bbaf2n.mpg')
    clips = sources.read(f'grid:{tmp_path}')
    assert [(clip.id, clip.name) for clip in clips] == [
        ('s1/bbaf2n', 's1/video/bbaf2n.mpg'), ('s12/bbaf2n', 's12/video/bbaf2n.mpg')]


def test_a_short_pause_between_words(put, tmp_path):
    put('align/bbaf2n.align', *LINES[:3], '34000 34200 sp', *LINES[3:])
    put('bbaf2n.mpg')
    clip, = sources.read(f'grid:{tmp_path}/align', media=tmp_path)
    assert clip.labels['text'] == 'bin blue at f two now'


def test_a_tenth_is_kept_for_validation_and_a_tenth_for_the_test(put, tmp_path):
    for number in range(300):
        put(f's1/clip{number}.align', *LINES)
    put('s1/clip0.mpg')
    splits = {clip.id: clip.split for clip in sources.read(f'grid:{tmp_path}')}
    counts = Counter(splits.values())
    assert 210 < counts['train'] < 270
    assert min(counts['validation'], counts['test']) > 15
    for number in range(200, 300):
        (tmp_path / f's1/clip{number}.align').unlink()
    fewer = {clip.id: clip.split for clip in sources.read(f'grid:{tmp_path}')}
    assert fewer == {id: splits[id] for id in fewer}


def test_folders_of_splits(put, tmp_path):
    for split in ('train', 'val', 'test'):
        put(f'{split}/s1/clip_{split}.align', *LINES)
        put(f'{split}/s1/clip_{split}.mpg')
    clips = sources.read(f'grid:{tmp_path}')
    assert {clip.id: clip.split for clip in clips} == {
        's1/clip_train': 'train', 's1/clip_val': 'validation', 's1/clip_test': 'test'}


def test_other_files(put, tmp_path):
    with pytest.raises(UserError, match=r'with \.align files'):
        sources.read(f'grid:{tmp_path}')
    put('a.align', *LINES[:4])
    with pytest.raises(UserError, match='it has 3 words, not 6'):
        sources.read(f'grid:{tmp_path}')
    put('a.align', 'word 0 1')
    with pytest.raises(UserError, match='is not two times and a word'):
        sources.read(f'grid:{tmp_path}')
