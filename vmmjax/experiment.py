"""What follows from a config: store, task, mesh and model; training, evaluation and prediction from Python."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.evaluation import predictions
from vmmjax.evaluation.predictions import ClipPrediction, Predictions
from vmmjax.evaluation.result import Result
from vmmjax.ops import SEE_VALID
from vmmjax.pipeline import inputs, options
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.prepare import new_clips
from vmmjax.store.store import Store
from vmmjax.training import Checkpoints, optimizer, sharding, train, workdir
from vmmjax.training.distributed import say
from vmmjax.training.players import averaged, same_leaves
from vmmjax.training.runtime import keep_compiled
from vmmjax.training.state import TrainState
from vmmjax.training.step import make_eval_step


class Experiment:
    """A config and what follows from it.

        experiment = vmmjax.Experiment(config)
        experiment.train('runs/mine')
        print(experiment.evaluate('test').metrics)

        experiment = vmmjax.Experiment.load('runs/mine')
        experiment.predict(['clip.mp4'])

    Attributes:
      config: of the run, see `vmmjax.config.defaults`.
      task: what is asked.
      mesh: of the devices.
      model: encoders, fusion and head.
      state: what training or loading gave; None before.
    """

    def __init__(self, config: Any, store: Store | None = None, *, devices: Sequence[jax.Device] | None = None,
                 streaming: bool = False, run_inputs: Mapping[str, Any] | None = None) -> None:
        """Makes the mesh and builds the model; opens the store, where what follows from it is not given.

        Args:
          config: of the run.
          store: in place of the config's, such as an `ArrayStore`.
          devices: of the mesh; all there are unless given.
          streaming: whether clips are evaluated frame by frame.
          run_inputs: what a run has recorded of its store, see `run_inputs`.

        Raises:
          UserError: for whatever the config names that is not there.
        """
        if devices is None:  # What is compiled for devices that are not here cannot be loaded again.
            keep_compiled()
        self.config = config
        self._given_store, self._recorded = store, run_inputs
        self.task = tasks.create(config)
        self.task = replace(self.task, facts=run_inputs['task'] if run_inputs else
                            self.task.describe(self.store, config.data))
        self.average = options.read(ViewsConfig, config.data.views, 'data.views').average
        if self.average not in self.task.averaging:
            raise UserError(f'data.views.average is {self.average!r}, and the outputs of the task {self.task.name} '
                            f"stand for none; set it to 'logits', which takes their mean as they are.")
        self.mesh = sharding.make_mesh(config.mesh, devices)
        self.batch_sharding = sharding.batch_sharding(self.mesh)
        self.model = models.create(config.model, self.task.num_classes)
        self.state: TrainState | None = None
        self._eval_step = make_eval_step(self._stream if streaming else self.apply, self.mesh, self.task.compute,
                                         seed=config.seed)

    @classmethod
    def load(cls, folder: str | Path, *, best: bool = False) -> Self:
        """A run as it was trained, with the state of a checkpoint.

        Args:
          folder: the workdir.
          best: takes the best checkpoint by `config.best.metric`, not the newest.

        Raises:
          UserError: where no checkpoint is whole.
        """
        checkpoints = Checkpoints(Path(folder))
        step = checkpoints.best() if best else checkpoints.newest()
        if step is None:
            raise UserError(f'There is no checkpoint in {folder}; train first: vmmjax train --workdir={folder} ...')
        meta = checkpoints.meta(step)
        config = configs.from_json(meta['config'])
        config.mesh.update(configs.defaults().mesh)  # Whatever devices there are now.
        recorded = workdir.run_inputs(Path(folder), meta)
        try:
            found = cls(config, run_inputs=recorded)
        except UserError as error:
            if recorded is not None:
                raise
            raise UserError(f'The run in {folder} was trained by an older vmmjax, which did not write down how its '
                            f'streams are read, and its store cannot be read ({error}) Write it down with `vmmjax '
                            f'inspect {folder} --write_inputs --store=STORE`.') from error
        found.restore(checkpoints, step)
        return found

    @functools.cached_property
    def store(self) -> Store:
        """The clips, with the splits of the run."""
        data, store = self.config.data, self._given_store
        if store is None:
            store = folded(Store(data.store), data.fold, data.fold_validates)
        if data.labels_share == 1 or self.task.learns_unlabelled:
            return store
        from vmmjax.pipeline.few_labels import with_few_labels

        return with_few_labels(store, self.task.columns, data.labels_share, data.labels_seed)

    @functools.cached_property
    def run_inputs(self) -> dict[str, Any]:
        """What prediction needs to know of the training store, plain JSON values: it is kept with the run.

        `data`: how each column is read, see `pipeline.inputs.describe`; `task`: the task's facts, such as the class
        names; `spec`: shape and dtype of the arrays of one row of a batch.
        """
        if self._recorded is not None:
            return dict(self._recorded)
        spec = {name: [list(shape[1:]), str(dtype)] for name, (shape, dtype) in
                self.pipeline('train', train=True).spec.items()}
        return json.loads(json.dumps({'data': inputs.describe(self.store, self.config.data),
                                      'task': dict(self.task.facts), 'spec': spec}))

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of, see `workdir.check_same_run`, and the run's inputs."""
        return {'config': configs.to_json(self.config), 'fingerprint': self.store.fingerprint,
                'classes': self.task.classes, 'inputs': self.run_inputs}

    @functools.cached_property
    def rows(self) -> slice:
        """The rows of a batch that this process reads."""
        return sharding.local_rows(self.batch_sharding, self.config.batch_size)

    @functools.cached_property
    def _targets(self) -> Any:
        return self.task.targets(self.store, self.config.data)

    @property
    def variables(self) -> dict[str, Any]:
        """The model's variables as they are evaluated; moving averages in place of parameters where there are any.

        Low-rank factors are merged into their kernels.

        Raises:
          UserError: before training or loading.
        """
        params, model_state = self._evaluated
        return self._merged({'params': params, **model_state})

    @property
    def _evaluated(self) -> tuple[Any, Any]:
        if self.state is None:
            raise UserError('The experiment has no parameters yet: train it, or load a run with '
                            'vmmjax.Experiment.load(folder).')
        return self.state.eval_params, self.state.model_state

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
        variables = dict(self.model.init(key, self.model.preprocess(batch), train=False))
        own = self.task.init(jax.random.fold_in(key, 1), self.apply(variables, batch, train=False), batch)
        for collection, values in own.items():
            variables[collection] = {**variables.get(collection, {}), **values}
        if self.config.lora.rank:
            from vmmjax.training import lora

            factors = lora.adapters(jax.random.fold_in(key, 2), variables['params'], self.config.lora)
            variables['params'] = {**variables['params'], lora.LORA: factors}
        return variables

    def apply(self, variables: Any, batch: Any, **options: Any) -> Any:
        """The model on a raw clip batch: its preprocessing, then the network."""
        return self.model.apply(self._merged(variables), self.model.preprocess(batch), **options)

    def _merged(self, variables: Any) -> Any:
        """Variables with low-rank factors in their kernels, where there are any."""
        if not self.config.lora.rank:
            return variables
        from vmmjax.training import lora

        return lora.merged(variables, self.config.lora)

    def _stream(self, variables: Any, batch: Any, **options: Any) -> Any:
        for name, way in self.model.normalisation.items():
            if way in SEE_VALID:
                raise UserError(f'The stream {name!r} is preprocessed by {way!r}, which needs the frames to come; a '
                                f'live stream cannot be. Train with another config.model.preprocess.{name}.')
        from vmmjax.evaluation.streaming import frame_by_frame

        return frame_by_frame(self.model, self._merged(variables), self.model.preprocess(batch), **options)

    def train(self, folder: str | Path, *, allow_changed: Sequence[str] = ()) -> Self:
        """Trains to `config.steps`, from the newest whole checkpoint in the folder where there is one.

        Args:
          folder: the workdir; made where it is not there.
          allow_changed: config keys that may differ from those the run in the workdir began with.

        Raises:
          UserError: see `training.train`.
          Preempted: after SIGTERM, once the state is saved; the same call goes on from there.
        """
        folder = Path(folder)
        with workdir.hold(folder):
            pipeline = self.pipeline('train', train=True)
            say(pipeline.summary())
            validates = 'validation' in self.store.splits
            if not validates:
                say('There is no validation split, so nothing is measured while the model trains.')

            def evaluate(state: TrainState) -> dict[str, float]:
                if not validates:
                    return {}
                whole = self.predictions('validation', state=state, subsets=False)
                return {f'validation/{name}': value
                        for name, value in self.task.summary(next(iter(whole.values()))).items()}

            self.state = train(self.config, folder, mesh=self.mesh, apply=self.apply, init=self.init,
                               objective=self.task, batches=lambda step: pipeline.batches(step, self.rows),
                               evaluate=evaluate, identity=self.identity, allow_changed=allow_changed)
        return self

    def restore(self, checkpoints: Checkpoints, step: int) -> None:
        """Reads what evaluation needs of a checkpoint, on every device: parameters (or averages) and model state."""
        where = sharding.replicated(self.mesh)

        def placed(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), tree)

        model_state = placed(dict(jax.eval_shape(self.init, jax.random.key(0))))
        params = model_state.pop('params')
        averages = placed(jax.eval_shape(optimizer.players(self.config).averages, params))
        wanted = {'params': params, 'model_state': model_state, 'ema': averages}
        if averages is None:
            del wanted['ema']
        elif same_leaves(averages, params):
            del wanted['params']  # Every parameter has an average.
        saved = checkpoints.restore(step, wanted)
        found = averaged(saved['params'], saved.get('ema')) if 'params' in saved else saved['ema']
        self.state = TrainState(step=jnp.asarray(step), params=found, model_state=saved['model_state'], opt_state=())

    def predictions(self, split: str, *, state: TrainState | None = None, subsets: bool = True
                    ) -> dict[str, Predictions]:
        """What the model predicts of every clip of a split.

        Args:
          split: of the store.
          state: in place of the experiment's.
          subsets: whether with every subset of the streams; else with all of them only.

        Returns:
          By subset, all streams first.

        Raises:
          UserError: before training or loading, and where the split has no clips with targets.
        """
        params, model_state = (state.eval_params, state.model_state) if state is not None else self._evaluated
        streams = list(self.config.data.streams)
        kept = self.task.subsets(streams)
        if not subsets:
            kept = dict([next(iter(kept.items()))])
        names = [key.removeprefix('target/') for key in self._targets.specs]
        return predictions.subsets(
            self._eval_step, params, model_state, self.pipeline(split, train=False).batches(rows=self.rows), streams,
            put=lambda batch: sharding.put(batch, self.batch_sharding), target=self.task.measured(names),
            each_view=self.task.each_view, average=self.task.averaging[self.average], kept=kept)

    def result(self, found: Mapping[str, Predictions], split: str) -> Result:
        """Measures predictions of a split, by subset, with the experiment's state."""
        assert self.state is not None
        return self.task.result(found, split=split, step=int(np.asarray(self.state.step)), store=self.store)

    def evaluate(self, split: str = 'test') -> Result:
        """Measures the model on a split, with every subset of its streams.

        Raises:
          UserError: see `predictions`.
        """
        return self.result(self.predictions(split), split)

    def predict(self, clips: Sequence[Any] | Mapping[str, Any], *, most: int = 3, progress: bool = False
                ) -> list[ClipPrediction]:
        """What the run predicts of new clips, read as those of its evaluation; its training store is not needed.

        Args:
          clips: paths of files, or clips of `vmmjax.prepare.sources.clip.of_file` with times and texts; or arrays by
            modality as an `ArrayStore` takes them, `{'rgb': uint8 (N, T, H, W, 3)}`, at the run's own rates.
          most: how many classes are named.
          progress: whether a progress bar is shown.

        Returns:
          One for each clip, in order. Where one cannot be read, its `error` says why.

        Raises:
          UserError: before training or loading, and for a run that did not write down how its streams are read.
        """
        self._evaluated  # noqa: B018 - says so where there are no parameters.
        recorded = inputs.checked(self.run_inputs.get('data'), self.config.data.store)
        views = len(options.read(ViewsConfig, self.config.data.views, 'data.views'))
        count = len(next(iter(clips.values()))) if isinstance(clips, Mapping) else len(clips)
        shards = sharding.row_shards(self.batch_sharding)
        # A batch of the training's size would be padding for the most part, of one clip.
        size = max(shards, min(self.config.batch_size, 1 << max(0, count * views - 1).bit_length()))
        found: list[ClipPrediction] = []
        with tqdm(total=count, unit='clip', delay=2.0, leave=False, disable=None if progress else True) as bar:
            for names, store, errors, empty in new_clips.in_groups(recorded, clips, max(1, size // views)):
                rows = iter(self._predicted(store, size, most) if len(store) else ())
                for place, name in enumerate(names):
                    each = None if place in errors else next(rows)
                    error = errors.get(place) or empty.get(place)
                    found.append(ClipPrediction(name, error=str(error)) if error or each is None
                                 else replace(each, clip=name))
                bar.update(len(names))
        return found

    def _predicted(self, store: Store, size: int, most: int) -> list[ClipPrediction]:
        """Of each row of a store in memory."""
        params, model_state = self._evaluated
        data = self.config.data.to_dict()
        for stream in data['streams'].values():
            stream.pop('noise', None)  # Of training and its evaluation.
        streams = list(data['streams'])
        pipeline = Pipeline(store, data, split=new_clips.SPLIT, batch_size=size, train=False, seed=self.config.seed,
                            labels=NoTargets())
        rows = next(iter(predictions.subsets(
            self._eval_step, params, model_state,
            pipeline.batches(rows=sharding.local_rows(self.batch_sharding, size)), streams,
            put=lambda batch: sharding.put(batch, self.batch_sharding), target=(),
            average=self.task.averaging[self.average], kept={'+'.join(streams): tuple(streams)}).values()))
        return [ClipPrediction(
            store.clip(int(row)), float(store.durations[int(row)]),
            {stream: bool(rows.present[stream][place]) for stream in streams}, self.task.reading(rows, place, most),
            jax.tree.map(lambda scores, place=place: scores[place], rows.scores)) for place, row in enumerate(rows.id)]
