"""From NumPy arrays to a trained model and its predictions, without a file: python experiments/examples/arrays.py."""

import numpy as np

import vmmjax


def clips(count: int, seed: int) -> dict[str, np.ndarray]:
    """Bright and dark clips of 8 frames of noise."""
    label, draw = np.arange(count) % 2, np.random.default_rng(seed)
    frames = draw.integers(0, 100, (count, 8, 32, 32, 3)) + 100 * label[:, None, None, None, None]
    return {'rgb': frames.astype('uint8'), 'label': np.array(['dark', 'bright'])[label]}


if __name__ == '__main__':
    config = vmmjax.config.defaults()
    config.steps, config.batch_size, config.evaluate_every = 20, 8, 0
    config.optimizer.lr.warmup_steps = 2
    config.data.window.seconds = 1.0
    config.data.streams.rgb = dict(modality='rgb', frames=4, size=32)
    config.model.encoders.rgb = dict(name='tsn_resnet18', width_multiplier=0.25)
    config.model.preprocess.rgb = 'imagenet'

    store = vmmjax.ArrayStore({'train': clips(32, 0), 'test': clips(16, 1)}, rates={'rgb': 8})
    experiment = vmmjax.Experiment(config, store).train('runs/arrays')
    print(experiment.evaluate('test').metrics)
    for prediction in experiment.predict({'rgb': clips(2, 2)['rgb']}):
        print(prediction.clip, prediction.reading[0]['named'])
