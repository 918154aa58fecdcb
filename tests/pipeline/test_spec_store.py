import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from vmmjax.experiment import Experiment
from vmmjax.pipeline.spec_store import SpecStore

CONFIGS = sorted(path for path in (Path(__file__).parents[2] / 'experiments' / 'configs').rglob('*.py')
                 if path.name != 'common.py')  # It is what the others share.
# Tasks whose outputs are embeddings, values of patches or of pictures, or words.
WITHOUT_CLASSES = ('adversarial', 'autoencoder', 'captioning', 'contrastive', 'masked', 'masked_tokens',
                   'question_answering', 'transcription', 'video_to_video')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_has_shapes_without_a_clip(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The full-size BERT reads its vocabulary.
    full = {'full'} & set(getattr(module, 'ARGUMENTS', ())) if path.stem != 'bert_vgg' else set()
    for argument in {'', *full}:
        config = module.get_config(argument)
        store = SpecStore(config, classes=7, fps=25.0)
        with config.unlocked():
            config.batch_size = 6
        experiment = Experiment(config, store, devices=jax.devices()[:1])
        pipeline = experiment.pipeline('train', train=True)
        for name, stream in config.data.streams.items():
            shape, dtype = pipeline.spec[name]
            if 'size' in stream:
                channels = 2 if stream.modality == 'flow' else 3
                assert (shape, dtype) == ((6, stream.frames, stream.size, stream.size, channels), np.uint8)
            elif stream.modality == 'audio':
                assert (shape, dtype) == ((6, round(100 * config.data.window.seconds), 64), np.float32)
            elif stream.modality == 'waveform':
                assert (shape, dtype) == ((6, round(16000 * config.data.window.seconds)), np.float32)
            else:
                assert (shape, dtype) == ((6, stream.length), np.int32)
        sizes = experiment.task.num_classes
        sizes = sizes.values() if isinstance(sizes, dict) else [sizes]
        assert set(sizes) == ({0} if config.task.name in WITHOUT_CLASSES else {7})
    assert not caplog.records  # Such as of crops that see little.
