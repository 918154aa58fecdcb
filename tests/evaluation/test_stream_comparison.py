import numpy as np
import pytest

from vmmjax.evaluation.statistics import Scores
from vmmjax.evaluation.stream_comparison import remarks


def scores(fused: float, rgb: float, audio: float, clips: int = 200, silent: int = 0, groups: int = 0) -> Scores:
    """Of two classes: the share of clips that are told rightly, by subset; the last `silent` have no sound."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, clips)

    def said(share: float) -> dict[str, np.ndarray]:
        right = np.arange(clips) < round(share * clips)
        return {'': np.eye(2)[np.where(right, target, 1 - target)]}

    heard = np.arange(clips) < clips - silent
    group = np.array([f'g{place % groups}' if groups else '' for place in range(clips)])
    return Scores(np.array([f'c{place}' for place in range(clips)]), group, {'': target},
                  {'audio+rgb': said(fused), 'audio': said(audio), 'rgb': said(rgb)},
                  {'audio': heard, 'rgb': np.ones(clips, bool)})


def test_a_fused_row_below_its_best_stream_is_told():
    told, = remarks(scores(fused=0.56, rgb=0.75, audio=0.6))
    assert told.startswith('All streams together are right for 56.0 % of 200 clips, rgb alone for 75.0 %: -19.0 points')
    assert '97.5 % CI' in told
    assert 'audio alone for 75' in remarks(scores(fused=0.56, rgb=0.6, audio=0.75))[0]


def test_many_streams_that_are_as_good_are_seldom_told():
    rng, names, told = np.random.default_rng(0), 'abcdef', 0
    for _ in range(400):
        target = rng.integers(0, 2, 100)
        said = {name: {'': np.eye(2)[np.where(rng.random(100) < 0.7, target, 1 - target)]}
                for name in ('+'.join(names), *names)}
        told += len(remarks(Scores(np.arange(100).astype(str), np.full(100, ''), {'': target}, said,
                                   {name: np.ones(100, bool) for name in names})))
    assert told <= 0.04 * 400  # Of the best stream alone, unadjusted, a tenth would be.


@pytest.mark.parametrize('found', [
    scores(fused=0.9, rgb=0.75, audio=0.6), scores(fused=0.74, rgb=0.75, audio=0.6, clips=100),
    scores(fused=0.56, rgb=0.75, audio=0.6, groups=3), scores(fused=0.56, rgb=0.75, audio=0.6, silent=200)])
def test_what_is_not_worse_by_more_than_chance_is_not(found):
    assert not remarks(found)


def test_only_clips_with_every_stream_are_compared():
    found = scores(fused=0.5, rgb=1.0, audio=0.5, silent=100)  # With both all of the first hundred are right.
    assert not remarks(found)


def test_scores_that_are_none_of_classes_are_not_compared():
    found = scores(fused=0.5, rgb=1.0, audio=0.5)
    numbers = {name: {'': values[''][:, 0]} for name, values in found.scores.items()}
    assert not remarks(Scores(found.clip, found.group, found.target, numbers, found.present))
    alone = Scores(found.clip, found.group, found.target, {'rgb': found.scores['rgb']}, {'rgb': found.present['rgb']})
    assert not remarks(alone)
