"""Training, evaluation and prediction from Python, by a config."""

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips, predictions, statistics, stream_comparison
from vmmjax.evaluation.prediction_lines import ClipPrediction
from vmmjax.evaluation.predictions import Batch, Predictions
from vmmjax.evaluation.rehearsal import rehearsed, remark_on_size
from vmmjax.evaluation.result import Result
from vmmjax.parts import Parts
from vmmjax.store.store import Store, columns_at_hand
from vmmjax.training import Checkpoints, lora, sharding, train, workdir
from vmmjax.training.distributed import say
from vmmjax.training.early_stopping import check_metric
from vmmjax.training.state import TrainState, evaluated
from vmmjax.training.step import make_eval_step

if TYPE_CHECKING:
    from vmmjax.convert.bundle import Bundle
    from vmmjax.convert.saved_run import SavedRun


class Experiment(Parts):
    """A config, what follows from it, and a model that is trained, measured and asked.

        experiment = vmmjax.Experiment(config)
        experiment.train('runs/mine')
        print(experiment.evaluate('test').metrics)

        experiment = vmmjax.Experiment.load('runs/mine')
        experiment.predict(['clip.mp4'])

    Attributes:
      state: what training or loading gave; None before. The others are those of `Parts`.
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
        super().__init__(config, store, devices=devices, run_inputs=run_inputs)
        self.state: TrainState | None = None
        step = functools.partial(make_eval_step, self.apply_streaming if streaming else self.apply, self.mesh,
                                 seed=config.seed)
        quick = self.task.in_training
        self._eval_step = step(compute=self.task.compute)
        self._quick_step = self._eval_step if quick is self.task else step(compute=quick.compute)

    @classmethod
    def load(cls, folder: str | Path, *, best: bool = False) -> Self:
        """A run as it was trained, with the state of a checkpoint.

        Args:
          folder: the workdir, or a bundle of `vmmjax export`.
          best: takes the best checkpoint by `config.best.metric`, not the newest.

        Raises:
          UserError: where no checkpoint is whole.
        """
        from vmmjax.convert.saved_run import SavedRun  # Training reads none of it.

        return cls.of(SavedRun.open(folder, best=best))

    @classmethod
    def of(cls, run: 'SavedRun') -> Self:
        """A run as it was trained, with the state of the checkpoint that was opened; see `load`."""
        recorded = run.run_inputs
        try:
            found = cls(run.config, run_inputs=recorded)
        except UserError as error:
            if recorded is not None:
                raise
            raise UserError(f'The run in {run.folder} was trained by an older vmmjax, which did not write down how its '
                            f'streams are read, and its store cannot be read ({error}) Write it down with `vmmjax '
                            f'inspect {run.folder} --write_inputs --store=STORE`.') from error
        found.restore(run.checkpoints, run.step)
        return found

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of, see `workdir.check_same_run`, and the run's inputs."""
        return {'config': configs.to_json(self.config), 'fingerprint': self.store.fingerprint,
                'classes': self.task.classes, 'inputs': self.run_inputs, 'replayed': list(self.store.replayed)}

    @property
    def variables(self) -> dict[str, Any]:
        """The model's variables as they are evaluated; moving averages in place of parameters where there are any.

        Low-rank factors are merged into their kernels.

        Raises:
          UserError: before training or loading.
        """
        params, model_state = self._evaluated
        return lora.merged({'params': params, **model_state}, self.config.lora)

    @property
    def _evaluated(self) -> tuple[Any, Any]:
        if self.state is None:
            raise UserError('The experiment has no parameters yet: train it, or load a run with '
                            'vmmjax.Experiment.load(folder).')
        return self.state.eval_params, self.state.model_state

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
            say(self._training.summary())
            validates = 'validation' in self.store.splits
            if not validates:
                say('There is no validation split, so nothing is measured while the model trains.')
            figures = self._rehearse('validation') if validates else []
            if metric := self.config.best.metric:
                check_metric(metric, [f'validation/{name}' for name in figures])
                if remark := remark_on_size(len(self.store.rows('validation'))):
                    say(remark)

            def evaluate(state: TrainState) -> dict[str, float]:
                if not validates:
                    return {}
                whole = self.predictions('validation', state=state, subsets=False, quick=True)
                return {f'validation/{name}': value
                        for name, value in self.task.summary(next(iter(whole.values()))).items()}

            self.state = train(self.config, folder, mesh=self.mesh, apply=self.apply, init=self.init,
                               objective=self.task, batches=lambda step: self._training.batches(step, self.rows),
                               evaluate=evaluate, identity=self.identity, allow_changed=allow_changed,
                               complete=self._teacher())
        return self

    def _teacher(self) -> Callable[[Any], Any] | None:
        """Adds to a batch what the task's teacher says of it; None without one."""
        if not self.task.teacher:
            return None
        from vmmjax.teacher import answers  # Few runs have one.

        return answers(self)

    def _rehearse(self, split: str) -> list[str]:
        """What of a split is measured, if the best is kept by it; where no clip has a target it raises a UserError."""
        spec = self.pipeline(split, train=False).spec
        scores: Any = jax.ShapeDtypeStruct((1,), np.float32)
        if self.config.best.metric:  # Else there is no need to trace the model.
            variables = jax.eval_shape(self.init, jax.random.key(0))
            batch = {name: jax.ShapeDtypeStruct(*of) for name, of in spec.items()}
            scores = jax.eval_shape(self._quick_step, variables.pop('params'), variables, batch)
        names = [key.removeprefix('target/') for key in self._targets.specs]
        rows = rehearsed(self.store, split, self._targets, list(self.config.data.streams), scores,
                         target=self.task.measured(names), each_view=self.task.each_view)
        return list(self.task.summary(rows)) if self.config.best.metric else []

    def restore(self, checkpoints: 'Checkpoints | Bundle', step: int) -> None:
        """Reads what evaluation needs of a checkpoint, on every device: parameters (or averages) and model state."""
        self.state = evaluated(checkpoints, step, self.config, self.init, sharding.replicated(self.mesh))

    def predictions(self, split: str, *, state: TrainState | None = None, subsets: bool = True,
                    quick: bool = False) -> dict[str, Predictions]:
        """What the model predicts of every clip of a split.

        Args:
          split: of the store.
          state: in place of the experiment's.
          subsets: whether with every subset of the streams; else with all of them only.
          quick: whether as the task is measured while a model trains (`Task.in_training`).

        Returns:
          By subset, all streams first.

        Raises:
          UserError: before training or loading, and where the split has no clips with targets.
        """
        names = [key.removeprefix('target/') for key in self._targets.specs]
        return self.predictions_of(self.pipeline(split, train=False).batches(rows=self.rows),
                                   self.task.measured(names), state=state, subsets=subsets, quick=quick)

    def predictions_of(self, batches: Iterable[Batch], target: str | Sequence[str], *,
                       state: TrainState | None = None, subsets: bool = True, quick: bool = False
                       ) -> dict[str, Predictions]:
        """What the model predicts of the clips of batches.

        Args:
          batches: of evaluation, this process's rows, such as of a `Pipeline` of any store.
          target: which of their targets are returned, see `evaluation.predictions.predict`.
          state: in place of the experiment's.
          subsets: see `predictions`.
          quick: likewise.

        Returns:
          By subset, all streams first.

        Raises:
          UserError: before training or loading, and where there are no clips.
        """
        params, model_state = (state.eval_params, state.model_state) if state is not None else self._evaluated
        streams = list(self.config.data.streams)
        kept = self.task.subsets(streams)
        if not subsets:
            kept = dict([next(iter(kept.items()))])
        return predictions.subsets(
            self._quick_step if quick else self._eval_step, params, model_state, batches, streams,
            put=lambda batch: sharding.put(batch, self.batch_sharding), target=target,
            each_view=self.task.each_view, average=self.task.averaging[self.average], kept=kept)

    def result(self, found: Mapping[str, Predictions], split: str, store: Store | None = None) -> Result:
        """Measures predictions of a split, by subset, with the experiment's state; of another store where given."""
        assert self.state is not None
        store = store or self.store
        measured = copy.copy(store)  # What is far away and not read is not fetched to be compared with, either.
        measured.columns = columns_at_hand(store, [stream.modality for stream in self.config.data.streams.values()])
        result = self.task.result(found, split=split, step=int(np.asarray(self.state.step)), store=measured)
        return replace(result, store=store.name,
                       remarks=stream_comparison.remarks(statistics.scores_of(found, store)))

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
          UserError: before training or loading, for a run that did not write down how its streams are read, and for a
            task that predicts nothing of one clip.
        """
        return list(new_clips.each(self, clips, most=most, progress=progress))
