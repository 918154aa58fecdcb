"""Shipped configs are built and stepped twice on generated data, and in shapes where that says as much."""

import csv
import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.training import make_train_step, optimizer, path_patterns
from vmmjax.training.state import initializer

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'experiments' / 'configs'
SHIPPED = {'motion_sound': ('', 'single_frame', 'shuffled'), 'grid_command': ('', 'rgb', 'audio'),
           'motion_adversary': ('',), 'motion_continued': ('next',), 'motion_few': ('', 'supervised'),
           'motion_video': ('', 'denoising'),
           'grid_autoencoder': ('joint',), 'grid_contrast': ('', 'lips', 'sentence'), 'grid_masked': ('', 'command'),
           'grid_noise': ('', 'fused,babble'), 'grid_words': ('',), 'grid_sentence': ('', 'audio', 'rgb,letters,joint',
           'audio,local,words', 'rgb,local,words', 'audio,local,grammar,babble', 'audio,rgb,local,grammar,babble'),
           'own_clips': ('rgb,audio,50',), 'grid_search': ('', 'rgb'), 'told_scenes': ('captions', 'summaries')}
# Network and task are those of another config, as motion_sound's in systems/i3d_tsm_audio, or their tests' own: a step
# in shapes says the rest.
ALIKE = {'grid_command', 'grid_contrast', 'grid_masked', 'grid_noise', 'grid_words', 'motion_continued', 'motion_few',
         'motion_sound', 'own_clips', 'told_scenes'}
TRACED_FOR_SECONDS = {'grid_command', 'motion_sound', 'own_clips', 'told_scenes'}  # They have I3D.
CLASSES, LOG_MEL_RATE, BANDS, SOUND_RATE = 8, 100, 64, 16000
WORDS = 53  # Of GRID, with those that stand for none.
WRITING = ('transcription', 'captioning', 'question_answering')
TEXTS = dict(classes=[], vocabulary=['[PAD]', '[END]', '[UNK]', *(f'word {i}' for i in range(WORDS))], longest=31)
QUICK = {'xla_backend_optimization_level': 0}


def load(name, argument):
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.get_config(argument)


def targets(config):
    return [config.data.target] if isinstance(config.data.target, str) else list(config.data.target)


def clips(config, batch):
    """Random clips of the shapes that the config asks for; the last row lacks the first stream."""
    generator = np.random.default_rng(0)
    found = {'mask': np.ones(batch, np.float32), 'id': np.arange(batch, dtype=np.int32)}
    for target in targets(config):
        least, shape = (3, (batch, 1, TEXTS['longest'])) if config.task.name in WRITING else (0, batch)
        found[f'target/{target}'] = generator.integers(least, CLASSES, shape).astype(np.int32)
    if config.task.name == 'summarization':
        found['target/segments'] = np.tile(np.float32([0.5, 1.5, 1.0]), (batch, 1, 1))
        found['target/window'] = np.tile(np.float32([0.0, config.data.window.seconds]), (batch, 1))
    for i, (name, stream) in enumerate(config.data.streams.items()):
        if stream.modality in ('audio', 'waveform'):
            rate, shape = (LOG_MEL_RATE, (BANDS,)) if stream.modality == 'audio' else (SOUND_RATE, ())
            shape = (batch, round(config.data.window.seconds * rate), *shape)
            found[name] = generator.standard_normal(shape).astype(np.float32)
        elif stream.modality.startswith('text:'):
            found[name] = generator.integers(0, WORDS, (batch, stream.length)).astype(np.int32)
        else:
            shape = (batch, stream.frames, stream.size, stream.size, 2 if stream.modality == 'flow' else 3)
            found[name] = generator.integers(0, 256, shape).astype(np.uint8)
        valid = f'{name}_mask' if stream.modality.startswith('text:') else f'valid/{name}'
        found[valid] = np.ones(found[name].shape[:2], bool)
        found[f'present/{name}'] = np.arange(batch) < batch - (i == 0)
        for view in range(1, stream.get('views', 1)):
            found |= {f'view{view}/{key}': found[key] for key in (valid, f'present/{name}')}
            found[f'view{view}/{name}'] = found[name][::-1]
    return found


def test_no_docstring_says_that_nothing_was_measured_yet():
    waiting = re.compile(r'(not|never)\s+(yet\s+)?(been\s+)?measured\s+(with\s+\w+\s+)?yet|not\s+yet\s+(been\s+)?'
                         r'measured|no\s+figures\s+have\s+been', re.IGNORECASE)
    assert waiting.search('No figures\nhave been measured')
    assert waiting.search('accuracy: not yet measured')
    found = [str(path) for folder in ('vmmjax', 'experiments', 'scripts') for path in (ROOT / folder).rglob('*.py')
             if waiting.search(path.read_text())]
    assert not found


def test_every_config_is_tested():
    assert {path.stem for path in CONFIGS.glob('*.py')} == SHIPPED.keys()


@pytest.mark.parametrize('size', ['50', '500', '5000'])
def test_own_clips_are_trained_with_few_and_many(size):
    _, alone = load('own_clips', f'rgb,{size}')
    _, heard = load('own_clips', f'audio,{size}')
    _, default = load('own_clips', '')
    assert (alone.data.window.seconds, alone.data.streams.rgb.sampling) == (0, 'segments')  # The whole clip.
    assert heard.data.views.clips * heard.data.window.seconds == 12
    assert not heard.init_from.workdir
    assert heard.steps > alone.steps
    assert 4 <= alone.steps * alone.batch_size / int(size) <= 11
    assert (size == '500') == (default.to_dict() == alone.to_dict())


class Prepared:
    """A config with everything that a step of it needs."""

    def __init__(self, name, argument):
        module, config = load(name, argument)
        assert f'vmmjax train --config=experiments/configs/{name}.py' in module.__doc__
        assert configs.to_json(configs.from_json(configs.to_json(config))) == configs.to_json(config)
        self.config = config
        several = not isinstance(config.data.target, str)
        writes = config.task.name in WRITING
        if writes:
            pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')
        facts = TEXTS if writes else dict(classes=[], vocabulary=['[PAD]', '[UNK]', '[MASK]', *TEXTS['vocabulary'][3:]],
                                          names=[f'class {i}' for i in range(CLASSES)])
        task = tasks.create(config, facts if writes or config.task.name in ('masked_tokens', 'adversarial') else None)
        outputs = dict.fromkeys(targets(config), CLASSES) if several else CLASSES
        outputs = 1 if config.task.name == 'summarization' else outputs
        model = models.create(config.model, 0 if writes else outputs)
        self.batch = batch = clips(config, 3)
        players = optimizer.players(config)

        def apply(variables, batch, **options):
            return model.apply(variables, model.preprocess(batch), **options)

        def init(key):
            variables = dict(model.init(key, model.preprocess(batch), train=False))
            own = task.init(key, apply(variables, batch, train=False), batch)
            return variables | {name: {**variables.get(name, {}), **values} for name, values in own.items()}

        self.create = initializer(init, players)
        self.step = make_train_step(apply, task, players, seed=config.seed)


def stepped_twice(prepared):
    """The state after two steps with finite metrics, and of each parameter whether it moved."""
    state = jax.jit(prepared.create, compiler_options=QUICK)(jax.random.key(prepared.config.seed))
    before = jax.device_get(state.params)
    step = jax.jit(prepared.step, compiler_options=QUICK)
    for _ in range(2):
        state, metrics = step(state, prepared.batch)
    assert all(np.isfinite(value) for value in metrics.values())
    return state, jax.tree.map(lambda a, b: not np.array_equal(a, b), before, jax.device_get(state.params))


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in SHIPPED if name not in ALIKE])
def test_it_is_built_and_stepped_twice(name):
    prepared = Prepared(name, SHIPPED[name][0])
    state, moved = stepped_twice(prepared)
    assert state.step == 2
    # What stands for an absent stream moves with rows that lack it, which here is one stream's alone.
    frozen = [*optimizer.frozen(prepared.config), '/absent_']
    free = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(moved)
            if not path_patterns.matches(frozen, path)]
    # Attention over a single token learns nothing.
    assert np.mean(free) > 0.8
    assert not any(leaf for path, leaf in jax.tree_util.tree_leaves_with_path(moved)
                   if path_patterns.matches(optimizer.frozen(prepared.config), path))


def stepped_in_shapes(prepared):
    """The state that a step of nothing but shapes begins with, and ends with."""
    state = jax.eval_shape(prepared.create, jax.random.key(0))
    after, metrics = jax.eval_shape(prepared.step, state, prepared.batch)
    assert jax.tree.structure(after.params) == jax.tree.structure(state.params)
    assert metrics['loss'].shape == ()
    return state


@pytest.mark.parametrize(('name', 'argument'), [
    pytest.param(name, argument, marks=[pytest.mark.slow] * (name in TRACED_FOR_SECONDS))
    for name, arguments in SHIPPED.items() for argument in (arguments if name in ALIKE else arguments[1:])])
def test_others_are_stepped_in_shapes(name, argument):
    stepped_in_shapes(Prepared(name, argument))


def test_babble_needs_sound():
    with pytest.raises(UserError, match="'rgb' alone has none; add 'audio'"):
        load('grid_sentence', 'rgb,local,babble')


def test_the_grammar_of_grid_has_every_sentence(shared_data):
    module, config = load('grid_sentence', 'audio,local,grammar')
    grammar = re.compile(config.task.generation.grammar)
    with (shared_data / 'grid' / 'manifest.csv').open() as file:
        texts = [row['text'] for row in csv.DictReader(file)]
    assert len(texts) == 700
    assert all(grammar.fullmatch(text) for text in texts)
    assert not grammar.fullmatch('place red at w two now')  # The one letter that GRID leaves out.
    assert module.GRAMMAR.count(' ') == 5
