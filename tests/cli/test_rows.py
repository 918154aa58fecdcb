from pathlib import Path

import pytest

from vmmjax.cli import rows
from vmmjax.cli.rows import Variant
from vmmjax.errors import UserError

TOY = 'tests/cli/toy_config.py'
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def plan(given, seeds=1, folds=(), overrides=None):
    return rows.plan(given, Path('D'), seeds=seeds, folds=folds, overrides=overrides or {})


def test_a_grid_is_all_combinations_of_literals_and_texts():
    found = rows.of_grid("config.model.fusion.name=concat, sum;batch_size=8,16;data.window.start=(0.0,0.5),None", TOY)
    assert len(found) == 8
    assert found[0] == Variant('fusion.name=concat, batch_size=8, window.start=(0.0, 0.5)', TOY,
                           {'model.fusion.name': 'concat', 'batch_size': 8, 'data.window.start': (0.0, 0.5)})
    assert [row.changes['batch_size'] for row in found[:4]] == [8, 8, 16, 16]
    assert found[-1].changes == {'model.fusion.name': 'sum', 'batch_size': 16, 'data.window.start': None}


def test_a_dict_replaces_all_that_stood_there():
    row, = rows.of_grid("model.fusion={'name': 'bottleneck', 'num_bottlenecks': 2}", TOY)
    run, = plan([row])
    assert run.config.model.fusion.to_dict() == {'name': 'bottleneck', 'num_bottlenecks': 2}


def test_names_are_as_long_as_they_must_be():
    row, = rows.of_grid('model.encoders.rgb.name=i3d;data.encoders.rgb.name=i3d', TOY)
    assert row.name == 'model.encoders.rgb.name=i3d, data.encoders.rgb.name=i3d'


def test_values_with_commas_and_semicolons_stand_in_quotes():
    found = rows.of_grid("""task.note='a, b;c',"d",it's;data.store="x;y";batch_size= 8 """, TOY)
    assert [row.changes for row in found] == [
        {'task.note': note, 'data.store': 'x;y', 'batch_size': 8} for note in ('a, b;c', 'd', "it's")]


@pytest.mark.parametrize('values', ['8,16,8', "8, 8", "{'a': 1},{'a': 1}"])
def test_a_value_that_stands_there_twice_is_refused(values):
    with pytest.raises(UserError, match=r'--grid has the value .* of x twice; name it once'):
        rows.of_grid(f'x={values}', TOY)


@pytest.mark.parametrize('grid', ['steps', '=3', 'steps=1;steps=2'])
def test_a_grid_of_another_form_is_refused(grid):
    with pytest.raises(UserError, match='key=value,value'):
        rows.of_grid(grid, TOY)


def test_runs_have_folders_and_configs_of_their_own():
    runs = plan(rows.of_grid('streams=rgb,audio+rgb', TOY), seeds=2, folds=[3, 4], overrides={'steps': 7})
    assert [str(run.folder) for run in runs[:3]] == [
        'D/streams=rgb/fold3_seed0', 'D/streams=audio+rgb/fold3_seed0', 'D/streams=rgb/fold4_seed0']
    assert len({run.folder for run in runs}) == len(runs) == 8
    first, last = runs[0].config, runs[-1].config
    assert (first.steps, first.seed, first.data.fold) == (7, 0, 3)
    assert (last.seed, last.data.fold) == (1, 4)
    for part in (first.data.streams, first.model.encoders, first.model.preprocess):
        assert list(part) == ['rgb']
    assert first.data.dropout.to_dict() == {}
    assert first.model.fusion.to_dict() == {'name': 'concat'}
    assert set(last.data.streams) == set(last.data.dropout) == {'audio', 'rgb'}
    assert [run.name for run in plan([Variant('a', TOY)])] == ['seed0']
    assert [run.name for run in plan([Variant('a', TOY)], folds=[1])] == ['fold1']


def test_a_row_has_its_own_folds_and_argument():
    one = Variant('a', 'experiments/configs/motion_sound.py', {'arg': 'shuffled'}, folds=(1, 2, 3))
    other = Variant('b', TOY)
    runs = plan([one, other])
    assert [(run.row.name, run.name) for run in runs] == [
        ('a', 'fold1'), ('b', 'seed0'), ('a', 'fold2'), ('a', 'fold3')]
    assert runs[0].config.data.streams.rgb.sampling == 'shuffled'
    assert [run.name for run in plan([one], folds=(2, 9))] == ['fold2']
    with pytest.raises(UserError, match=r'the folds 1, 2, 3 and none of --folds=9'):
        plan([one], folds=[9])


@pytest.mark.parametrize(('changes', 'message'), [
    ({'data.window.secnds': 1.0}, 'did you mean'),
    ({'dta.window.seconds': 1.0}, r"has no 'dta': did you mean 'data'"),
    ({'streams': 'rgb+sound'}, r"keeps the stream 'sound'"),
    ({'steps': 0}, 'at least 1'),
])
def test_what_does_not_fit_the_config_is_refused_before_anything_runs(changes, message):
    with pytest.raises(UserError, match=message):
        plan([Variant('a', TOY, changes)])


def test_rows_that_cannot_be_told_apart_are_refused():
    with pytest.raises(UserError, match='Two rows would have the folder'):
        plan([Variant('a b', TOY), Variant('a/b', TOY)])
    with pytest.raises(UserError, match='names no config'):
        plan([Variant('a', '')])
    with pytest.raises(UserError, match=r'nowhere\.py is not there'):
        plan([Variant('a', 'nowhere.py')])


def write(path, text):
    path.write_text(text)
    return path


def test_rows_stand_in_a_file(tmp_path):
    path = write(tmp_path / 'rows.py', """
QUESTION = 'Which?'
ROWS = {'one': dict(changes={'steps': 3}), 'two': dict(config='x.py', against='one', folds=(0, 1))}
""")
    question, (one, two) = rows.of_file(path, TOY)
    assert question == 'Which?'
    assert one == Variant('one', TOY, {'steps': 3})
    assert two == Variant('two', 'x.py', {}, (0, 1), 'one')


def test_a_row_is_compared_with_the_first_another_or_none():
    found = [Variant('a', ''), Variant('b', ''), Variant('c', '', against='c'), Variant('d', '', against='c')]
    assert [rows.compared_with(row, found) for row in found] == ['', 'a', '', 'c']


@pytest.mark.parametrize(('text', 'message'), [
    ("ROWS = {}", 'has no QUESTION'),
    ("QUESTION = ''; ROWS = {'a': dict(fold=1)}", r"'fold': did you mean 'folds'"),
    ("QUESTION = ''; ROWS = {'a': dict(against='b')}", r"compared with 'b', which is no row"),
    ("QUESTION = ''; ROWS = {'a': dict(begin=['b']), 'b': {}}", r"begins with 'b', which is no row above it"),
    ("QUESTION = ''; ROWS = {'a': dict(pretraining=True)}", r"the table needs one that is not"),
])
def test_a_file_of_another_form_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        rows.of_file(write(tmp_path / 'rows.py', text), TOY)


def test_a_row_begins_with_those_above_it(tmp_path):
    sound, pictures = (Variant(name, TOY, folds=(0, 1)) for name in ('sound', 'pictures'))
    both = Variant('both', TOY, {'init_from.skip': ('head',)}, folds=(1,), begin=('sound', 'pictures'))
    runs = {(run.row.name, run.name): run for run in rows.plan([sound, pictures, both], tmp_path, seeds=1, folds=[],
                                                               overrides={})}
    found = runs['both', 'fold1']
    assert list(found.begin) == [runs['sound', 'fold1'], runs['pictures', 'fold1']]
    assert found.config.init_from.workdir == f'{tmp_path / "sound" / "fold1"},{tmp_path / "pictures" / "fold1"}'
    assert runs['sound', 'fold1'].config.init_from.workdir == ''
    with pytest.raises(UserError, match='has the run fold1, and the rows that it begins with have not'):
        rows.plan([Variant('sound', TOY, folds=(0,)), Variant('both', TOY, folds=(1,), begin=('sound',))], tmp_path,
                  seeds=1, folds=[], overrides={})
