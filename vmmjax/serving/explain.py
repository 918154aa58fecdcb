"""What a run's prediction of a file rests on, window by window."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vmmjax.errors import UserError, did_you_mean
from vmmjax.experiment import Experiment
from vmmjax.explain import baselines, cams, gradients, layers, occlusion, score, streams
from vmmjax.models import MultimodalModel
from vmmjax.pipeline import inputs, options, sampling
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.prepare import new_clips
from vmmjax.serving.explanation import METHODS, Explanation, Map
from vmmjax.store.store import Store


class Explainer:
    """Explains what a run says of files; what it has compiled serves them all.

    Args:
      run: with its parameters.
      methods: of `METHODS`.
      target: of several targets, the one that is meant; empty for the first.
      layer: the path of a layer for hirescam and gradcam, such as `encoders_rgb/Mixed_4f`; empty for one that is chosen
        for each network.

    Raises:
      UserError: for a method or a target that is not there, or a run whose model names no classes.
    """

    def __init__(self, run: Experiment, *, methods: Sequence[str] = METHODS, target: str = '', layer: str = '') -> None:
        for method in methods:
            if method not in METHODS:
                raise UserError(f'There is no method {method!r}: {did_you_mean(method, METHODS)}.')
        self._run, self._methods, self._layer = run, methods, layer
        self._target, self._names = check_target(run, target)
        self._streams = list(run.config.data.streams)
        if layer and layer.partition('/')[0].removeprefix('encoders_') not in self._streams:
            raise UserError(f'The layer {layer!r} is of no encoder: '
                            f'{did_you_mean(layer, [f"encoders_{stream}" for stream in self._streams])}; behind it '
                            f'stands the name of a module.')
        self._score = score.of_logits(run.model, self._target)

        def logits(variables: Any, batch: Any) -> jax.Array:
            outputs: Any = run.model.apply(variables, batch, train=False)
            return score.logits(outputs, self._target)

        self._logits = jax.jit(logits)
        self._compiled: dict[Any, Any] = {}

    def __call__(self, clip: Any, *, named: str = '', progress: bool = False) -> Explanation:
        """Explains one clip.

        Args:
          clip: a path, or a clip of `sources.clip.of_file`; or arrays by modality, as `Experiment.predict` takes them,
            of one clip.
          named: the class; empty for the one that the run names.
          progress: whether a bar shows the way.

        Raises:
          UserError: where the clip cannot be read or has no stream of the run, or for a class or a layer that is not
            there.
        """
        if named and named not in self._names:
            raise UserError(f'There is no class {named!r}: {did_you_mean(named, self._names)}.')
        recorded = inputs.checked(self._run.run_inputs.get('data'), self._run.config.data.store)
        (group,) = new_clips.in_groups(recorded, clip if isinstance(clip, Mapping) else [clip], 1)
        for failures in (group.errors, group.empty):
            if failures:
                raise failures[0]
        return self._explain(_Read(self._run, group.store, 0, group.names[0]), named, progress)

    def of_row(self, store: Store, row: int) -> Explanation:
        """Explains a clip of a store, for the class that the run names.

        Raises:
          UserError: where a record is damaged, or for a layer that is not there.
        """
        return self._explain(_Read(self._run, store, row, store.clip(row)), '', False)

    def _explain(self, read: '_Read', named: str, progress: bool) -> Explanation:
        variables = self._run.variables
        batches = [jax.device_get(self._run.model.preprocess(batch)) for batch in read.batches]
        logits = np.concatenate([self._logits(variables, batch) for batch in batches]).astype(np.float64)
        place = self._names.index(named) if named else int(logits.mean(0).argmax())
        classes = jnp.full(1, place, jnp.int32)
        present = {name: any(bool(batch[f'present/{name}'].any()) for batch in batches) for name in self._streams}
        coalitions: list[np.ndarray] = []
        maps: list[list[Map]] = []
        steps = (self._cams, self._gradients, self._occlusion)
        with tqdm(total=len(batches) * (1 + len(steps)), desc=read.name, unit='step', delay=2.0, leave=False,
                  disable=None if progress else True) as bar:
            for batch in batches:
                window = _Window(self._run.model, variables, batch, classes, present)
                if 'streams' in self._methods:
                    coalitions.append(self._coalitions(window))
                bar.update()
                maps.append([])
                for step in steps:
                    maps[-1] += step(window)
                    bar.update()
        return Explanation(
            read.name, read.seconds, self._target or '', self._names[place], read.starts, read.length,
            logits[:, place], present, np.concatenate(coalitions, 1) if coalitions else None,
            any(rate > 0 for rate in self._run.config.data.dropout.values()), _joined(maps), read.seen)

    def _coalitions(self, window: '_Window') -> np.ndarray:
        run = self._once('streams', functools.partial(streams.coalition_scores, self._score, self._streams))
        return np.asarray(run(window.variables, window.batch, window.classes), np.float64)

    def _cams(self, window: '_Window') -> Iterator[Map]:
        methods = [method for method in ('hirescam', 'gradcam') if method in self._methods]
        for stream in window.there if methods else ():
            if self._layer and self._layer.partition('/')[0] != f'encoders_{stream}':
                continue

            def made(stream: str = stream) -> tuple[str, Any]:
                encoder, shape = self._run.model.encoders[stream], window.batch[stream].shape
                path, arrange = layers.find(window.layers(stream), self._layer, encoder, shape)
                return path, cams.cams(self._score, path, arrange)

            path, run = self._once(('cams', stream), made)
            found = run(window.variables, window.batch, window.classes)
            change = np.asarray(found.change, np.float64)
            for method in methods:
                values = np.asarray(getattr(found, method))
                yield Map(stream, method, path, values, change,
                          change - values.reshape(1, -1).sum(1, dtype=np.float64))

    def _gradients(self, window: '_Window') -> Iterator[Map]:
        if 'gradients' not in self._methods:
            return

        def made() -> tuple[dict[str, str], Any]:
            # A text is left alone by an encoder whose words cannot be told.
            paths = {name: layers.words(window.layers(name)) for name in window.there if _is_text(window.batch[name])}
            words = {name: path for name, path in paths.items() if path}
            return words, gradients.integrated_gradients(self._score, words)

        words, run = self._once(('gradients', *window.there), made)
        moved = {name: window.baseline(name) for name in window.there if not _is_text(window.batch[name])}
        if not moved and not words:
            return
        found, steps = gradients.until_complete(run, window.variables, window.batch, moved, window.classes)
        for name, values in found.of.items():
            yield Map(name, 'gradients', window.at(name), np.asarray(values), np.asarray(found.change, np.float64),
                      np.asarray(found.residual, np.float64), steps)

    def _occlusion(self, window: '_Window') -> Iterator[Map]:
        for name in window.there if 'occlusion' in self._methods else ():
            x = window.batch[name]
            lengths = x.shape[1:4] if x.ndim == 5 else x.shape[1:]
            parts = lengths if _is_text(x) else occlusion.grid(x.shape)
            run = self._once(('occlusion', name), functools.partial(occlusion.occlusion, self._score, name))
            lost = run(window.variables, window.batch, window.classes, window.baseline(name),
                       occlusion.cells(lengths, parts), int(np.prod(parts)))
            yield Map(name, 'occlusion', window.at(name), np.asarray(lost).T.reshape(1, *parts))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]


@dataclasses.dataclass(frozen=True)
class _Window:
    """A normalised clip batch of one row, and the class that is explained; `present` is of the whole clip."""

    model: MultimodalModel
    variables: Any
    batch: Mapping[str, Any]
    classes: jax.Array
    present: Mapping[str, bool]

    @property
    def there(self) -> list[str]:
        return [name for name, there in self.present.items() if there]

    def layers(self, stream: str) -> dict[str, layers.Layer]:
        return layers.of_encoder(self.model, stream, self.variables, self.batch)

    def baseline(self, stream: str) -> jax.Array:
        return baselines.baseline(self.batch[stream], self.batch.get(f'valid/{stream}'))

    def at(self, stream: str) -> str:
        return baselines.named(self.batch[stream], self.model.normalisation[stream])


class _Read:
    """The windows of a clip, as the run's evaluation sees them, with the crop in the middle."""

    def __init__(self, run: Experiment, store: Store, row: int, name: str) -> None:
        alone = copy.copy(store)
        alone.splits = {**store.splits, new_clips.SPLIT: np.array([row])}
        data = run.config.data.to_dict()
        data['views']['crops'] = 1
        for stream in data['streams'].values():
            stream.pop('noise', None)
        views = options.read(ViewsConfig, data['views'], 'data.views')
        pipeline = Pipeline(alone, data, split=new_clips.SPLIT, batch_size=1, train=False, seed=run.config.seed,
                            labels=NoTargets())
        self.batches: list[dict[str, Any]] = list(pipeline.batches())
        self.name, self.seconds = name, float(store.durations[row])
        self.length = float(data['window']['seconds']) or self.seconds
        self.starts = sampling.window_starts(views.windows(np.arange(len(views))), np.full(len(views), self.seconds),
                                             self.length, data['window']['start'])
        self.seen: dict[str, Any] = {name: np.concatenate([batch[name] for batch in self.batches])
                                     for name in data['streams']}
        for name, texts in pipeline.texts.items():
            mask = self.batches[0][f'{name}_mask'][0]
            self.seen[name] = [texts.vocabulary[place] for place in self.seen[name][0][mask]]


def check_target(run: Experiment, target: str) -> tuple[str | None, list[str]]:
    """The target, None where there is only one, and the names of its classes.

    Raises:
      UserError: for one that the run does not have, or a run that says no class of a clip by itself.
    """
    if run.task.compares_rows:
        raise UserError(f'The task {run.task.name} compares clips, so that none has a logit of its own to explain.')
    classes = run.task.classes
    if not classes:
        raise UserError(f'The task {run.task.name} has no classes, and a logit of one is what is explained.')
    if not isinstance(classes, Mapping):
        if target:
            raise UserError(f'The run has one target; leave out the target {target!r}.')
        return None, list(classes)
    if target and target not in classes:
        raise UserError(f'The run has no target {target!r}: {did_you_mean(target, classes)}.')
    chosen = target or next(iter(classes))
    return chosen, list(classes[chosen])


def _joined(maps: Sequence[Sequence[Map]]) -> list[Map]:
    """Of the maps of every window, those of all windows."""
    def joined(name: str, parts: Sequence[Map]) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return [dataclasses.replace(parts[0], steps=max(part.steps for part in parts),
                                **{name: joined(name, parts) for name in ('values', 'change', 'residual')})
            for parts in zip(*maps, strict=True)]


def _is_text(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.integer))
