"""What `train` and `evaluate` build alike from a config: store, model, mesh, and how a state is measured."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.streaming import frame_by_frame
from vmmjax.ops import SEE_VALID
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.store.store import Store
from vmmjax.training import distributed, sharding
from vmmjax.training.runtime import keep_compiled
from vmmjax.training.state import TrainState
from vmmjax.training.step import make_eval_step

COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, where several processes are one run.')
NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many they are; 1 asks no cluster.', lower_bound=1)
PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0 on.', lower_bound=0)


def several_processes(main: Callable[[], None]) -> Callable[[], None]:
    """The command as one that several processes may run together; see the flags above and `distributed.joined`."""
    @functools.wraps(main)
    def together() -> None:
        with distributed.joined(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value):
            main()

    return together


class Run:
    """The parts of a run that follow from its config: store, task, class names, mesh, model."""

    def __init__(self, config: Any, store: Store | None = None, devices: Sequence[jax.Device] | None = None,
                 streaming: bool = False) -> None:
        """Opens the store, makes the mesh and builds the model.

        Args:
          config: of the run.
          store: in place of the config's.
          devices: of the mesh; all there are unless given.
          streaming: whether clips are measured frame by frame.

        Raises:
          UserError: for whatever the config names that is not there.
        """
        if devices is None:  # What is compiled for devices that are not here cannot be loaded again.
            keep_compiled()
        self.config = config
        self.store = store if store is not None else folded(Store(config.data.store), config.data.fold,
                                                            config.data.fold_validates)
        self.task = tasks.create(config, self.store)
        self.classes = self.task.classes
        self.mesh = sharding.make_mesh(config.mesh, devices)
        self.batch_sharding = sharding.batch_sharding(self.mesh)
        self.model = models.create(config.model, self.task.num_classes)
        self._eval_step = make_eval_step(self._stream if streaming else self.apply, self.mesh, self.task.read)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of, see `workdir.check_same_run`."""
        return {'config': configs.to_json(self.config), 'fingerprint': self.store.fingerprint, 'classes': self.classes}

    @functools.cached_property
    def rows(self) -> slice:
        """The rows of a batch that this process reads."""
        return sharding.local_rows(self.batch_sharding, self.config.batch_size)

    def pipeline(self, split: str, *, train: bool) -> Pipeline:
        """Clip batches of a split."""
        return Pipeline(self.store, self.config.data, split=split, batch_size=self.config.batch_size,
                        train=train, seed=self.config.seed, labels=self.task.labels)

    def init(self, key: jax.Array) -> Any:
        """The model's variables, for clips as the training split has them."""
        spec = self.pipeline('train', train=True).spec
        # Variables do not depend on the number of rows.
        batch = {name: jnp.zeros((1, *shape[1:]), dtype) for name, (shape, dtype) in spec.items()}
        return self.model.init(key, self.model.preprocess(batch), train=False)

    def apply(self, variables: Any, batch: Any, **options: Any) -> Any:
        """The model on a raw clip batch: its preprocessing, then the network."""
        return self.model.apply(variables, self.model.preprocess(batch), **options)

    def _stream(self, variables: Any, batch: Any, **options: Any) -> Any:
        for name, way in self.model.normalisation.items():
            if way in SEE_VALID:
                raise UserError(f'The stream {name!r} is preprocessed by {way!r}, which needs the frames to come; a '
                                f'live stream cannot be. Train with another config.model.preprocess.{name}.')
        return frame_by_frame(self.model, variables, self.model.preprocess(batch), **options)

    def measure(self, predict: Any, state: TrainState, split: str) -> Any:
        """What `predict` (`evaluate.predict` or `Task.predictions`) says of every clip of a split."""
        return predict(self._eval_step, state.eval_params, state.model_state,
                       self.pipeline(split, train=False).batches(rows=self.rows),
                       list(self.config.data.streams), target=self.task.targets, each_view=self.task.each_view,
                       average=self.task.average, put=lambda batch: sharding.put(batch, self.batch_sharding))
