from vmmjax.text_table import aligned, markdown


def test_columns_are_as_wide_as_their_longest_cell_and_the_last_alignment_goes_on():
    assert aligned([['', 'clips', 'F1'], ['bin', '7', '99.5'], ['place', '12', '']], '<>') == [
        '       clips    F1', 'bin        7  99.5', 'place     12']


def test_columns_have_at_least_the_minimum_width():
    assert aligned([['a', 'b', 'c']], '<><', minimum=(3, 4)) == ['a       b  c']
    assert aligned([['long', 'b']], minimum=(2,)) == ['long  b']


def test_markdown_escapes_what_would_end_a_cell():
    assert markdown(['name', 'a|b'], [['x', '1']], '<>') == '| name | a\\|b |\n|---|---:|\n| x | 1 |'
