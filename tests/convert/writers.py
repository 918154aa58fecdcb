"""Writes files as the published ones are, and the golden cases' tensors into them."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np

from vmmjax.convert import torchfile


def write_torch(path, tensors, legacy=False):
    """What `torch.save(tensors, path)` writes: nested dicts of arrays, in the form of today or of before 1.6."""
    if not legacy:
        torchfile.save(path, tensors)
        return
    with Path(path).open('wb') as file:
        for header in (torchfile.MAGIC, 1001, {'protocol_version': 1001, 'little_endian': True}):
            file.write(pickle.dumps(header, 2))
        contents = list(torchfile.write_pickle(file, tensors, (None,)))
        file.write(pickle.dumps([str(key) for key in range(len(contents))], 2))
        for content, size in contents:
            file.write((len(content) // size).to_bytes(8, 'little') + content)


def write_tensorflow(prefix, tensors):
    """A TensorFlow checkpoint of the second version with these names."""
    import tensorflow as tf
    names = list(tensors)
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[''] * len(names),
                      tensors=[tf.constant(tensors[name]) for name in names])


def write_tensorflow_v1(path, tensors):
    """A TensorFlow checkpoint of the first version: one file."""
    import tensorflow as tf
    names = list(tensors)
    tf.raw_ops.Save(filename=str(path), tensor_names=names, data=[tf.constant(tensors[name]) for name in names])


def write_safetensors(path, tensors):
    """A file of the safetensors format."""
    from safetensors.numpy import save_file
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)


def recipe(shared_golden):
    """The module that makes the golden cases' arrays."""
    spec = importlib.util.spec_from_file_location('recipe', shared_golden / 'recipe.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden(shared_golden, name):
    """A golden case: what was run (its JSON), and what came out."""
    folder = shared_golden / 'cases'
    return json.loads((folder / f'{name}.json').read_text()), np.load(folder / f'{name}.npz')


def golden_tensors(shared_golden, case):
    """The tensors of a case by published name, from its JSON."""
    weight = recipe(shared_golden).weight
    return {name: weight(name, tuple(shape), kind) for name, shape, kind in case['tensors']}


def golden_input(shared_golden, case):
    """The input of a case."""
    return recipe(shared_golden).inputs(case['case'], tuple(case['input_shape']))


def assert_near(found, expected, tolerance=2e-5):
    """The tolerance of the golden cases: relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
