"""Mistakes in a user's own encoder, fusion or head: each is one sentence that shows the right signature."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models import Fused, Tokens, create

CLIP = {'rgb': jnp.zeros((2, 4, 5, 5, 3))}


class Encoder(nn.Module):
    features: int = 3

    def __call__(self, x, valid, train):
        return Tokens(x.mean((2, 3)), valid), {}


class WithoutFeatures(nn.Module):
    def __call__(self, x, valid, train):
        return Tokens(x.mean((2, 3)), valid), {}


class OtherArguments(Encoder):
    def __call__(self, x):
        return x


class OtherOrder(Encoder):
    def __call__(self, x, train, valid):
        return x


class NotCallable(nn.Module):
    features: int = 3


class NoModule:
    features = 3

    def __call__(self, x, valid, train):
        return Tokens(x.mean((2, 3)), valid), {}


class NeedsWidth(nn.Module):
    width: int
    features: int = 3


class TokensAlone(Encoder):
    def __call__(self, x, valid, train):
        return Tokens(x.mean((2, 3)), valid)


class ArrayAndEndpoints(Encoder):
    def __call__(self, x, valid, train):
        return x.mean((2, 3)), {}


class OneVector(Encoder):
    def __call__(self, x, valid, train):
        return Tokens(x.mean((1, 2, 3)), valid), {}


class FloatMask(Encoder):
    def __call__(self, x, valid, train):
        return Tokens(x.mean((2, 3)), valid.astype(jnp.float32)), {}


class OtherLength(Encoder):
    features: int = 7


class Fusion(nn.Module):
    def __call__(self, tokens, present, train):
        only = tokens['rgb']
        return Fused(only, only.mean())


class FusionOfTokens(nn.Module):
    def __call__(self, tokens, train):
        return tokens


class FusionWithoutModule:
    def __call__(self, tokens, present, train):
        return Fused(tokens['rgb'], tokens['rgb'].mean())


class FusedArray(nn.Module):
    def __call__(self, tokens, present, train):
        return tokens['rgb'].mean()


class FusedFeaturesOfTokens(nn.Module):
    def __call__(self, tokens, present, train):
        return Fused(tokens['rgb'], tokens['rgb'].x)


class FusedWithoutTokens(nn.Module):
    def __call__(self, tokens, present, train):
        return Fused(tokens['rgb'].x, tokens['rgb'].mean())


class HeadOfFixedSize(nn.Module):
    def __call__(self, fused, train):
        return nn.Dense(5)(fused.features)


class Head(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, fused, train):
        return nn.Dense(self.num_classes)(fused.features)


NUMBER = 3


def model(encoder='Encoder', fusion='Fusion', head='Head'):
    own = {key: dict(name=f'{__name__}:{name}') for key, name in (('e', encoder), ('f', fusion), ('h', head))}
    return create(dict(encoders=dict(rgb=own['e']), preprocess=dict(rgb='none'), fusion=own['f'], head=own['h']), 2)


def outputs(made):
    return jax.eval_shape(lambda: made.init_with_output(jax.random.key(0), CLIP, train=False))[0]


def test_only_what_a_part_declares_is_passed_to_it():
    assert outputs(model()).logits.shape == (2, 2)


@pytest.mark.parametrize(('parts', 'message'), [
    (dict(encoder='WithoutFeatures'), "has no whole number 'features'"),
    (dict(encoder='OtherArguments'), r'has __call__\(x\)'),
    (dict(encoder='OtherOrder'), r'has __call__\(x, train, valid\)'),
    (dict(encoder='NotCallable'), 'has no __call__'),
    (dict(encoder='NoModule'), r'is a NoModule and no flax.linen.Module'),
    (dict(fusion='FusionOfTokens'), r'has __call__\(tokens, train\)'),
    (dict(fusion='FusionWithoutModule'), 'is a FusionWithoutModule and no flax.linen.Module'),
    (dict(head='HeadOfFixedSize'), "has no whole number 'num_classes'"),
])
def test_a_part_that_cannot_be_called_is_refused_when_it_is_built(parts, message):
    (what, name), = parts.items()
    with pytest.raises(UserError, match=rf"The {what} '{__name__}:{name}' {message}; an? {what} is a .*__call__\(self"):
        model(**parts)


@pytest.mark.parametrize(('parts', 'message'), [
    (dict(encoder='NeedsWidth'), 'needs width: write dict.*width=...'),
    (dict(encoder='NUMBER'), 'is 3; name a class or a function'),
    (dict(encoder='Encodr'), "has no 'Encodr': did you mean 'Encoder'"),
])
def test_what_is_no_part_at_all(parts, message):
    with pytest.raises(UserError, match=message):
        model(**parts)


@pytest.mark.parametrize(('parts', 'message'), [
    (dict(encoder='TokensAlone'), 'TokensAlone of the stream \'rgb\' returns Tokens; an encoder is'),
    (dict(encoder='ArrayAndEndpoints'), r'returns \(float32\[2, 4, 3\], dict\); an encoder is'),
    (dict(encoder='OneVector'), r'returns Tokens\(float32\[2, 3\], bool\[2, 4\]\); an encoder is'),
    (dict(encoder='FloatMask'), r'returns Tokens\(float32\[2, 4, 3\], float32\[2, 4\]\); an encoder is'),
    (dict(encoder='OtherLength'), 'returns tokens of length 3 and has features=7; an encoder is'),
    (dict(fusion='FusedArray'), r'returns float32\[2, 3\]; a fusion is'),
    (dict(fusion='FusedFeaturesOfTokens'), r'returns Fused whose features are float32\[2, 4, 3\]; a fusion is'),
    (dict(fusion='FusedWithoutTokens'), r'returns Fused whose tokens are float32\[2, 4, 3\]; a fusion is'),
])
def test_what_a_part_must_return(parts, message):
    made = model(**parts)
    with pytest.raises(UserError, match=message):
        outputs(made)
