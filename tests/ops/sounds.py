"""The sounds of the golden cases."""

import importlib.util
import json
from pathlib import Path

import numpy as np


def golden_waveform(folder: Path, case: str) -> np.ndarray:
    """float32 (S,), by the formula in the cases' README."""
    spec = importlib.util.spec_from_file_location('golden_recipe', folder / 'recipe.py')
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    sound = json.loads((folder / f'cases/{case}.json').read_text())['waveform']
    rate, seconds = sound['rate'], sound['seconds']
    t = np.arange(rate * seconds) / rate
    noise = recipe.generator('wave/' + sound['case']).standard_normal(len(t))
    chirp = 0.3 * np.sin(2 * np.pi * (200 * t + 0.5 * (rate / 5 - 200) / seconds * t ** 2))
    beeps = 0.2 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 3 * t) > 0)
    return (chirp + 0.02 * noise + beeps).astype(np.float32)
