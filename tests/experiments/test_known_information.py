"""The table of known information: what is there to recover, and what the features say of it."""

import itertools

import numpy as np
import pytest

from tests.experiments.test_configs import ROOT
from vmmjax import config as configs
from vmmjax.prepare.sources import known_information as known

table = configs.load(ROOT / 'experiments' / 'known_information.py')


def counted(target, streams):
    """Mutual information from the probability of every combination of true bits, flips and missing streams."""
    parts = known.STREAMS if target == 'redundant' else known.PARITIES[target]
    flip, missing = table.SETTINGS.flip, table.SETTINGS.missing
    joint = {}
    for true in itertools.product((0, 1), repeat=len(parts)):
        if target == 'redundant' and len(set(true)) > 1:
            continue
        chance = 0.5 if target == 'redundant' else 0.5 ** len(parts)
        label = true[0] if target == 'redundant' else sum(true) % 2
        for seen in itertools.product((0, 1, None), repeat=len(parts)):
            p = chance
            for stream, bit, shown in zip(parts, true, seen, strict=True):
                if stream not in streams:
                    p *= shown is None
                else:
                    p *= missing if shown is None else (1 - missing) * (1 - flip if shown == bit else flip)
            joint[label, seen] = joint.get((label, seen), 0) + p
    found = 0.0
    for (_, seen), p in joint.items():
        if p:
            found += p * np.log2(2 * p / sum(joint[value, seen] for value in (0, 1)))
    return found


@pytest.mark.parametrize('target', known.TARGETS)
def test_bits_that_are_there_are_counted(target):
    for streams in (known.STREAMS, ('rgb', 'text'), ('audio',)):
        assert known.bits(table.SETTINGS, target, streams) == pytest.approx(counted(target, streams), abs=1e-12)


def test_features_show_what_the_clip_shows():
    for scene in known.plan(known.Settings(missing=0.3), 0, 'train', 12):
        found = table.features(scene)
        for stream in known.STREAMS:
            assert found[f'present/{stream}'] == (scene.labels[f'has_{stream}'] == '1')
            assert found[f'present/{stream}'] == np.any(found[stream] != 0) or stream == 'rgb'
        if found['present/rgb']:
            rises = (found['rgb'][-5:] - found['rgb'][:5]).mean(0).reshape(4, 3).mean(1)
            assert (rises > 0).astype(int).tolist() == scene.bits('rgb')
        if found['present/audio']:
            rises = (found['audio'][-4:] - found['audio'][:4]).mean(0)[:4]
            assert (rises > 0).astype(int).tolist() == scene.bits('audio')
        if found['present/text']:
            assert found['text'].sum() == 3
