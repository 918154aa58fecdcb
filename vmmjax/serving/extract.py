"""Features: any endpoint of a network, for batches of windows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models import MultimodalModel

Batch = Mapping[str, np.ndarray]


class Extractor:
    """A network's endpoints for batches of windows.

    The endpoints are `features` (the clip's embedding before the head), `logits` (of several targets
    `logits/<target>`), those of a stream's own head as `<stream>/logits`, and `<stream>/<endpoint>` for every named
    intermediate of every encoder.
    """

    def __init__(self, model: MultimodalModel, variables: Any, endpoints: Sequence[str]):
        """Takes the network and what is wanted of it.

        Args:
          model: any.
          variables: its variables.
          endpoints: names; they are checked against the first batch.
        """
        self._model, self._wanted = model, tuple(endpoints)
        self._variables = jax.device_put(variables)
        self._chosen = jax.jit(lambda variables, batch: {
            name: value.astype(jnp.float32) for name, value in self._all(variables, batch).items()
            if name in self._wanted})

    def shapes(self, batch: Batch) -> dict[str, tuple[int, ...]]:
        """Every endpoint's shape for one window; nothing is computed."""
        rows = len(batch['mask'])
        found = jax.eval_shape(self._all, self._variables, _inputs(batch))
        return {name: value.shape[1:] for name, value in found.items() if value.shape[:1] == (rows,)}

    def __call__(self, batches: Iterable[Batch]) -> Iterator[dict[str, np.ndarray]]:
        """Yields the endpoints, float32 (n, ...), of the n rows of each batch that are no padding.

        The device computes while the next batch is read.

        Raises:
          UserError: for an endpoint that there is not.
        """
        running: tuple[dict[str, jax.Array], np.ndarray] | None = None
        for batch in batches:
            if running is None:
                self._check(self.shapes(batch))
            following = self._chosen(self._variables, _inputs(batch)), np.asarray(batch['mask']) > 0
            if running is not None:
                yield self._fetched(*running)
            running = following
        if running is not None:
            yield self._fetched(*running)

    def _fetched(self, found: dict[str, jax.Array], real: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(found[name])[real] for name in self._wanted}

    def _check(self, known: Mapping[str, Any]) -> None:
        for name in self._wanted:
            if name not in known:
                raise UserError(f'The network has no endpoint {name!r}: {did_you_mean(name, known)}; see '
                                f'--list_endpoints.')

    def _all(self, variables: Any, batch: Any) -> dict[str, jax.Array]:
        outputs: Any = self._model.apply(variables, self._model.preprocess(batch), train=False)
        found = {'features': outputs.features, **_logits('logits', outputs.logits), **outputs.endpoints}
        for stream, logits in outputs.stream_logits.items():
            found |= _logits(f'{stream}/logits', logits)
        return found


def _logits(name: str, logits: Any) -> dict[str, jax.Array]:
    """Logits under their name; of several targets one entry each."""
    if isinstance(logits, Mapping):
        return {f'{name}/{target}': value for target, value in logits.items()}
    return {} if logits is None else {name: logits}


def _inputs(batch: Batch) -> dict[str, np.ndarray]:
    """What a model reads of a batch."""
    unread = ('id', 'row', 'view')
    return {key: value for key, value in batch.items() if not key.startswith('target/') and key not in unread}
