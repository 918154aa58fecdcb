"""The configs of published rows: each is built, and is as large as published; full-size networks are never run."""

import os
import re
import subprocess
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.experiments.test_configs import ROOT
from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.training import make_train_step, optimizer, path_patterns
from vmmjax.training.fitting import fitted
from vmmjax.training.state import initializer

papers = configs.load(ROOT / 'scripts' / 'papers.py')
FOUND = papers.read()
TRAINED = {name: row for name, row in FOUND.items() if not row.fuse}
FILES = {row.paper.__name__: row.paper for row in FOUND.values()}


@pytest.mark.parametrize('file', FILES)
def test_a_file_says_what_it_is_and_refuses_other_rows(file):
    paper = FILES[file]
    assert f'vmmjax train --config=experiments/papers/{file}.py:' in paper.__doc__
    assert 'ublished' in paper.__doc__
    assert 'chosen here' in paper.__doc__
    assert paper.get_config().data.streams
    with pytest.raises(UserError, match=rf"{file}.py has no row 'imaginary'"):
        paper.get_config('imaginary')


def test_every_row_has_a_config_that_survives_json_and_begins_with_something_that_is_made():
    for name, row in TRAINED.items():
        config = row.config()
        assert configs.to_json(configs.from_json(configs.to_json(config))) == configs.to_json(config), name
        assert config.data.store in row.paper.STORES, name
        begin = config.init_from.workdir
        assert not begin or begin in row.paper.STARTS or begin in {row.workdir for row in TRAINED.values()}, name
        optimizer.learning_rate(config.optimizer.lr, config.steps)
    stores = [(store, arguments) for paper in FILES.values() for store, arguments in paper.STORES.items()]
    assert len(set(stores)) == len(dict(stores))  # A store that two files use is prepared by one command.


def test_every_row_says_where_its_figures_are_from():
    for name, row in FOUND.items():
        figures = [value for _, found in row.tests.values() for value in found.values()]
        assert bool(row.source) == bool(figures), name
        assert all(0 < value < 100 for value in figures), name
        assert all(part in TRAINED for part in (f'{row.paper.__name__}.py:{each}' for each in row.fuse)), name


def test_what_is_reproduced_is_said_of_every_network_with_a_test_that_is_there():
    wanted = Counter((f'{row.paper.__name__}.py', name) for row in TRAINED.values()
                     for name in {encoder.name for encoder in row.config().model.encoders.values()})
    said: Counter[tuple[str, str]] = Counter()
    for line in (ROOT / 'experiments' / 'papers' / 'REPRODUCED.md').read_text().splitlines():
        if line.startswith('| `'):
            paper, network, rows, _, tests = (cell.strip() for cell in line.strip('|').split('|'))
            said[paper.strip('`'), network.split('`')[1]] += int(rows)
            for file, _, test in (name.partition('::') for name in re.findall(r'`(tests/[^`]+)`', tests)):
                assert f'def {test}(' in (ROOT / file).read_text() if test else (ROOT / file).is_file(), (file, test)
    assert said == wanted


def test_every_protocol_is_one_that_clips_can_be_read_by():
    for row in TRAINED.values():
        for changes, _ in row.tests.values():
            config = row.config(changes)
            spec = papers.pipeline(row, config, train=False).spec
            for stream, options in config.data.streams.items():
                assert options.to_dict().get('frames') in (None, spec[stream][0][1])


def agrees(name):
    row = FOUND[name]
    parameters, gmacs = papers.count(row)
    assert row.parameters is None or parameters == pytest.approx(row.parameters, rel=2e-3), name
    assert row.gmacs is None or gmacs == pytest.approx(row.gmacs, rel=0.01), name


@pytest.mark.parametrize('name', ['i3d.py:kinetics400,rgb', 'tsm.py:kinetics400,r50,8f', 'panns.py:audioset,cnn14'])
def test_a_network_is_as_large_as_published(name):
    agrees(name)


@pytest.mark.parametrize('row', FILES['mbt'].ROWS)
def test_mbt_begins_with_a_vit(row):
    config = FOUND[f'mbt.py:{row}'].config()
    network, vit = models.create(config.model, 527), models.create_model('vit', num_classes=0)
    shapes = {'audio': (1, 800, 128), 'rgb': (1, 32, 224, 224, 3)}
    batch = {name: jax.ShapeDtypeStruct(shapes[name], 'float32') for name in config.data.streams}
    here, there = (named(jax.eval_shape(lambda model=model, clips=clips: model.init(
        jax.random.key(0), {name: jnp.zeros(clip.shape) for name, clip in clips.items()}, train=False)))
        for model, clips in ((network, batch), (vit, {'rgb': jax.ShapeDtypeStruct((1, 1, 224, 224, 3), 'float32')})))
    begun = set()
    for name, shape in here.items():
        if any(re.search(pattern, name) for pattern in config.init_from.skip):
            continue
        other = next((re.sub(*pair, name) for pair in config.init_from.rename if re.search(pair[0], name)), name)
        how = next((how for pattern, how in config.init_from.fit if re.search(pattern, name)), None)
        assert other in there, name
        if how is None:
            assert there[other] == shape, name
        else:
            fitted(np.zeros(there[other], np.float32), shape, how, name)
        begun.add(other)
    assert set(there) - begun == {'params/encoders_rgb/embeddings/cls_token'}


def named(tree):
    return {path_patterns.name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.slow
def test_every_network_is_as_large_as_published():
    for name in FOUND:
        agrees(name)


def kinds():
    """A row for each way to train; one of several streams stands for those of fewer."""
    found = {}
    for name, row in TRAINED.items():
        config = row.config()
        options, rates = next(iter(config.model.encoders.values())).keys(), len(config.optimizer.multipliers)
        found.setdefault((row.paper.__name__, config.task.name, config.optimizer.name, rates, config.freeze,
                          tuple(config.data.streams), tuple(options)), name)
    return [name for key, name in found.items()
            if not any(key[:3] == other[:3] and {*key[5]} < {*other[5]} for other in found)]


@pytest.mark.slow
@pytest.mark.parametrize('name', kinds())
def test_a_row_is_stepped_in_shapes(name):
    row = FOUND[name]
    config = row.config()
    model = models.create(config.model, row.classes)
    spec = papers.pipeline(row, config, train=True).spec
    batch = {key: jax.ShapeDtypeStruct((2, *shape[1:]), dtype) for key, (shape, dtype) in spec.items()}
    players = optimizer.players(config)
    step = make_train_step(
        lambda variables, batch, **options: model.apply(variables, model.preprocess(batch), **options),
        tasks.create(config), players, seed=0, freeze=tuple(config.freeze))

    def begun(batch):
        create = initializer(lambda key: model.init(key, model.preprocess(batch), train=False), players)
        return create(jax.random.key(0))

    state = jax.eval_shape(begun, batch)
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.structure(after.params) == jax.tree.structure(state.params)
    assert metrics['loss'].shape == ()


def test_commands_follow_from_a_row():
    assert papers.commands(FOUND['tsm.py:something1,r50,8f']) == [
        'vmmjax train --config=experiments/papers/tsm.py:something1,r50,8f --workdir=runs/papers/tsm/something1_r50_8f',
        'vmmjax evaluate --workdir=runs/papers/tsm/something1_r50_8f --split=validation',
        'vmmjax evaluate --workdir=runs/papers/tsm/something1_r50_8f --split=validation '
        "--change='data.streams.rgb.size=256;data.views.clips=2;data.views.crops=3'"]
    *parts, fused = papers.commands(FOUND['i3d.py:kinetics400,imagenet,both'])
    assert [part.partition(' --change')[0] for part in parts] == [
        f'vmmjax evaluate --workdir=runs/papers/i3d/kinetics400_imagenet_{stream}' for stream in ('rgb', 'flow')]
    assert fused == ('vmmjax evaluate --fuse=runs/papers/i3d/kinetics400_imagenet_rgb/eval/test.npz,'
                     'runs/papers/i3d/kinetics400_imagenet_flow/eval/test.npz --weights=1,1')
    (folds,) = papers.commands(FOUND['panns.py:esc50,cnn14,scratch'])
    assert folds.startswith('for fold in 1 2 3 4 5; do vmmjax train ')


@pytest.mark.slow
def test_the_page_is_what_the_configs_say():
    text = papers.page(FOUND, papers.read_plans())
    assert papers.is_in(text), 'run scripts/papers --write'
    name = 'tsm.py:kinetics400,r50,8f'
    planned = papers.page({name: FOUND[name]}, {name: dict(chip_hours=123.4, topology='v5e:4x4', date='2026-11-21')})
    assert 'not run: needs 120 chip-hours of v5e:4x4 (2026-11-21)' in planned
    name = 'i3d.py:kinetics400,both'
    assert 'not run: adds rows above' in papers.page({name: FOUND[name]}, {})


def test_rows_that_differ_in_their_beginning_alone_are_planned_as_one_step():
    steps = {name: papers.step_of(row.config()) for name, row in TRAINED.items()}
    for config in steps.values():
        optimizer.learning_rate(config.optimizer.lr, config.steps)
    kinds = {name: configs.to_json(config) for name, config in steps.items()}
    assert kinds['i3d.py:kinetics400,imagenet,rgb'] == kinds['i3d.py:kinetics400,rgb']
    assert kinds['i3d.py:ucf101,full,rgb'] == kinds['i3d.py:ucf101,original,rgb'] != kinds['i3d.py:ucf101,fixed,rgb']


@pytest.mark.slow
def test_a_row_that_is_not_there_cannot_be_planned():
    found = subprocess.run([os.sys.executable, 'scripts/papers.py', '--plan=cpu:2', 'i3d.py:kinetics40,rgb'], cwd=ROOT,
                           env=os.environ | {'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "no row 'i3d.py:kinetics40,rgb' that is trained: did you mean 'i3d.py:kinetics400,rgb'" in found.stderr
