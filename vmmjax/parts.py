"""What follows from a config before anything is computed: store, task, mesh, model, batches."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.ops import SEE_VALID
from vmmjax.pipeline import inputs, options
from vmmjax.pipeline.few_labels import with_few_labels
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.store.joined import joined
from vmmjax.store.store import Store
from vmmjax.training import lora, sharding
from vmmjax.training.runtime import keep_compiled


class Parts:
    """A config and what follows from it.

    Attributes:
      config: of the run, see `vmmjax.config.defaults`.
      task: what is asked.
      mesh: of the devices.
      batch_sharding: of the rows of a batch over the mesh.
      model: encoders, fusion and head.
    """

    def __init__(self, config: Any, store: Store | None = None, *, devices: Sequence[jax.Device] | None = None,
                 run_inputs: Mapping[str, Any] | None = None) -> None:
        """Makes the mesh and builds the model; opens the store, where what follows from it is not given.

        Args:
          config: of the run.
          store: in place of the config's, such as an `ArrayStore`.
          devices: of the mesh; all there are unless given.
          run_inputs: what a run has recorded of its store, see `run_inputs`.

        Raises:
          UserError: for whatever the config names that is not there.
        """
        if devices is None:  # What is compiled for devices that are not here cannot be loaded again.
            keep_compiled()
        self.config = config
        self._given_store, self._recorded = store, run_inputs
        self.task = tasks.create(config)
        self.task = replace(self.task, facts=run_inputs['task'] if run_inputs else self._described())
        self.average = options.read(ViewsConfig, config.data.views, 'data.views').average
        self.mesh = sharding.make_mesh(config.mesh, devices)
        self.batch_sharding = sharding.batch_sharding(self.mesh)
        self.model = models.create(config.model, self.task.num_classes)

    def _described(self) -> dict[str, Any]:
        """The task's facts; with the classes of the run that this one begins with before those that it lacks."""
        found, begin = self.task.describe(self.store, self.config.data), self.config.init_from
        if not begin.classes:
            return found
        from vmmjax.training import warmstart

        classes = warmstart.grown(begin.workdir, found['classes'])
        if self.config.data.parts:
            raise UserError('data.parts names parts of the classes of the store, and config.init_from.classes has '
                            'further classes; leave one of them out.')
        found = replace(self.task, facts={'classes': classes}).describe(self.store, self.config.data)
        if found['classes'] != classes:
            raise UserError(f'config.init_from.classes lets the classes of a run grow, and the task {self.task.name} '
                            f'has none that could; leave it out.')
        return found

    @functools.cached_property
    def store(self) -> Store:
        """The clips, with the splits of the run."""
        data, store = self.config.data, self._given_store
        if store is None:
            store = folded(Store(data.store), data.fold, data.fold_validates)
        if not self.task.learns_unlabelled:
            store = with_few_labels(store, self.task.columns, data.labels_share, data.labels_seed)
        for entry in data.replay:
            if not isinstance(entry, tuple | list) or [type(part) for part in entry] != [str, float]:
                raise UserError(f"data.replay has {entry!r}; give pairs of a store and its share of a batch, as in "
                                f"(('stores/old', .2),).")
        return joined(store, [(folded(Store(name), data.fold, data.fold_validates), share)
                              for name, share in data.replay])

    @functools.cached_property
    def run_inputs(self) -> dict[str, Any]:
        """What prediction needs to know of the training store, plain JSON values: it is kept with the run.

        `data`: how each column is read, see `pipeline.inputs.describe`; `task`: the task's facts, such as the class
        names; `spec`: shape and dtype of the arrays of one row of a batch.
        """
        if self._recorded is not None:
            return dict(self._recorded)
        spec = {name: [list(shape[1:]), str(dtype)] for name, (shape, dtype) in
                self._training.spec.items()}
        return json.loads(json.dumps({'data': inputs.describe(self.store, self.config.data),
                                      'task': dict(self.task.facts), 'spec': spec}))

    @functools.cached_property
    def _training(self) -> Pipeline:
        return self.pipeline('train', train=True)

    @functools.cached_property
    def rows(self) -> slice:
        """The rows of a batch that this process reads."""
        return sharding.local_rows(self.batch_sharding, self.config.batch_size)

    @functools.cached_property
    def _targets(self) -> Any:
        return self.task.targets(self.store, self.config.data)

    @property
    def average(self) -> str:
        """What is averaged over test views: `config.data.views.average`, unless it is set to another that the task has.

        Raises:
          UserError: where it is set to one that the task has not.
        """
        return self._average

    @average.setter
    def average(self, name: str) -> None:
        if name not in self.task.averaging:
            raise UserError(f'{name!r} are to be averaged over test views (data.views.average, --average), and the '
                            f"outputs of the task {self.task.name} stand for none; name 'logits', which takes their "
                            f'mean as they are.')
        self._average = name

    @property
    def classes_of_store(self) -> Any:
        """The names of the outputs that the store's targets have, which are `task.classes` where it is the run's."""
        return self.task.describe(self.store, self.config.data)['classes']

    def pipeline(self, split: str, *, train: bool) -> Pipeline:
        """Clip batches of a split."""
        return Pipeline(self.store, self.config.data, split=split, batch_size=self.config.batch_size,
                        train=train, seed=self.config.seed, labels=self._targets)

    def init(self, key: jax.Array) -> Any:
        """The variables of the model and the task, for clips as the training split has them."""
        # Variables do not depend on the number of rows.
        batch = {name: jnp.zeros((1, *shape), dtype) for name, (shape, dtype) in self.run_inputs['spec'].items()}
        outputs, variables = self.model.init_with_output(key, self.model.preprocess(batch), train=False)
        variables = dict(variables)
        own = self.task.init(jax.random.fold_in(key, 1), outputs, batch)
        for collection, values in own.items():
            variables[collection] = {**variables.get(collection, {}), **values}
        if self.config.lora.rank:
            factors = lora.adapters(jax.random.fold_in(key, 2), variables['params'], self.config.lora)
            variables['params'] = {**variables['params'], lora.LORA: factors}
        return variables

    def apply(self, variables: Any, batch: Any, **options: Any) -> Any:
        """The model on a raw clip batch: its preprocessing, then the network."""
        return self.model.apply(lora.merged(variables, self.config.lora), self.model.preprocess(batch), **options)

    def check_streaming(self) -> None:
        """Refuses a model whose preprocessing needs the frames to come.

        Raises:
          UserError: for such a model.
        """
        for name, way in self.model.normalisation.items():
            if way in SEE_VALID:
                raise UserError(f'The stream {name!r} is preprocessed by {way!r}, which needs the frames to come; a '
                                f'live stream cannot be. Train with another config.model.preprocess.{name}.')

    def apply_streaming(self, variables: Any, batch: Any, **options: Any) -> Any:
        """`apply`, of a model that sees the frames of a clip one by one; see `frame_by_frame`."""
        from vmmjax.evaluation.streaming import frame_by_frame

        self.check_streaming()
        return frame_by_frame(self.model, lora.merged(variables, self.config.lora), self.model.preprocess(batch),
                              **options)
