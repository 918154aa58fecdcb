import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.serving import tiny
from vmmjax import models
from vmmjax.errors import UserError
from vmmjax.serving import extract


@pytest.fixture(scope='module')
def network():
    return tiny.network()


def batch_of(rows, real=None):
    rng = np.random.default_rng(rows)
    mask = np.arange(rows) < (rows if real is None else real)
    return {'rgb': rng.integers(0, 256, (rows, 4, 24, 24, 3), np.uint8), 'valid/rgb': np.repeat(mask[:, None], 4, 1),
            'present/rgb': mask, 'mask': mask.astype(np.float32), 'target/id': np.zeros(rows, np.int32)}


def test_the_endpoints_are_those_of_the_model_and_padding_is_left_out(network):
    model, variables = network
    batches = [batch_of(4), batch_of(4, real=3)]
    found = list(extract.Extractor(model, variables, ['logits', 'rgb/tokens', 'features'])(iter(batches)))
    assert [len(part['logits']) for part in found] == [4, 3]
    for part, batch in zip(found, batches, strict=True):
        outputs = model.apply(variables, model.preprocess(batch), train=False)
        assert list(part) == ['logits', 'rgb/tokens', 'features']
        for name, value in {'logits': outputs.logits, 'features': outputs.features,
                            'rgb/tokens': outputs.endpoints['rgb/tokens']}.items():
            np.testing.assert_allclose(part[name], value[:len(part[name])], rtol=1e-4)


def test_every_endpoint_can_be_listed_without_computing(network):
    tiny.TRACED.clear()
    shapes = extract.Extractor(*network, []).shapes(batch_of(2))
    assert shapes == {'features': (3,), 'logits': (3,), 'rgb/tokens': (1, 3)}
    assert len(tiny.TRACED) == 1


def test_heads_of_several_targets_and_of_single_streams_have_names_of_their_own():
    config = tiny.CONFIG | dict(stream_head=dict(name='consensus'))
    model = models.create(config, {'colour': 2, 'place': 5})
    variables = jax.jit(lambda key: model.init(key, {'rgb': jnp.zeros((1, 4, 24, 24, 3))}, train=False))(
        jax.random.key(0))
    shapes = extract.Extractor(model, variables, []).shapes(batch_of(1))
    assert shapes == {'features': (3,), 'logits/colour': (2,), 'logits/place': (5,), 'rgb/logits/colour': (2,),
                      'rgb/logits/place': (5,), 'rgb/tokens': (1, 3)}


def test_a_misspelt_endpoint_is_named(network):
    with pytest.raises(UserError, match="no endpoint 'rgb/token': did you mean 'rgb/tokens'"):
        next(extract.Extractor(*network, ['rgb/token'])(iter([batch_of(1)])))


def test_one_compilation_serves_batches_of_one_size(network):
    tiny.TRACED.clear()
    list(extract.Extractor(*network, ['features'])(batch_of(2) for _ in range(3)))
    assert len(tiny.TRACED) == 2  # The names are checked, then it is compiled.


def test_a_window_s_features_do_not_depend_on_its_neighbours(network):
    among = batch_of(5)
    alone = {key: values[2:3] for key, values in among.items()}
    extractor = extract.Extractor(*network, ['features', 'logits'])
    (many,), (one,) = extractor(iter([among])), extractor(iter([alone]))
    for name, value in one.items():
        np.testing.assert_allclose(value[0], many[name][2], rtol=1e-4)
