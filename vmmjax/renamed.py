"""Modules that had other names before version 0.2: old imports and configs work for one release, with a warning."""

import importlib
import importlib.abc
import importlib.util
import logging
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_LOG = logging.getLogger(__name__)

# Package of before -> module of before -> module of today, in vmmjax.
_MOVED = {
    'vmmjax.cli': {
        'cache': 'training.runtime', 'setup': 'experiment'},
    'vmmjax.data': {
        'assembly': 'prepare.column_writer', 'augment': 'pipeline.transforms.frames', 'beam': 'prepare.beam',
        'cached': 'prepare.feature_column', 'catalog': 'store.catalog', 'changes': 'pipeline.transforms.config',
        'columns': 'prepare.columns', 'crops': 'pipeline.transforms.crops', 'cuts': 'pipeline.windows',
        'events': 'pipeline.event_targets', 'features': 'store.feature_files', 'filling': 'pipeline.batch_builder',
        'fingerprint': 'prepare.fingerprint', 'folds': 'pipeline.folds', 'imagined': 'pipeline.spec_store',
        'labels': 'pipeline.targets', 'locks': 'store.locks', 'making': 'prepare.build',
        'mixing': 'pipeline.transforms.mixup', 'noise': 'pipeline.transforms.audio',
        'options': 'prepare.audio_columns', 'pictures': 'pipeline.transforms.frames', 'pipeline': 'pipeline.pipeline',
        'pool': 'parallel', 'prepare': 'prepare.build', 'rand_augment': 'pipeline.transforms.rand_augment',
        'reading': 'store.records', 'records': 'store.records', 'remote': 'store.remote',
        'runners': 'prepare.runners', 'sampling': 'pipeline.sampling', 'settings': 'pipeline.options',
        'shards': 'prepare.shards', 'sound': 'prepare.audio_columns', 'sounds': 'pipeline.transforms.audio',
        'sources': 'prepare.sources', 'store': 'store.store', 'streams': 'pipeline.streams',
        'synthetic': 'prepare.sources.synthetic', 'text': 'pipeline.text_streams', 'verify': 'prepare.verify',
        'views': 'pipeline.views', 'windows': 'pipeline.windows', 'words': 'pipeline.tokenizers'},
    'vmmjax.data.sources': {
        'actions': 'prepare.sources.ucf_hmdb', 'clip': 'prepare.sources.clip',
        'examples': 'prepare.sources.record_files', 'files': 'prepare.sources.media_index',
        'folders': 'prepare.sources.folders', 'grid': 'prepare.sources.grid', 'kinetics': 'prepare.sources.kinetics',
        'manifest': 'prepare.sources.manifest', 'records_dmvr': 'prepare.sources.dmvr',
        'records_tfds': 'prepare.sources.tfds', 'something': 'prepare.sources.something',
        'sounds': 'prepare.sources.audioset_esc50'},
    'vmmjax.evaluation': {
        'alarms': 'tasks.alarms', 'averages': 'evaluation.view_averages', 'blending': 'evaluation.gradient_blending',
        'board': 'reports.tensorboard', 'curves': 'reports.curves', 'differing': 'evaluation.config_diff',
        'evaluate': 'evaluation.predictions', 'extra': 'optional', 'frechet': 'evaluation.fvd.frechet',
        'fusing': 'evaluation.score_fusion', 'fvd_compare': 'evaluation.fvd.compare',
        'fvd_protocols': 'evaluation.fvd.protocols', 'fvd_videos': 'evaluation.fvd.clips',
        'inspection': 'reports.inspect', 'lanes': 'reports.timeline', 'noise': 'evaluation.noise_sweep',
        'pictures': 'reports.plots', 'preview': 'reports.store_page', 'report': 'reports.run_page',
        'results': 'reports.results_page', 'tables': 'reports.ablation_page', 'tasks': 'tasks',
        'worst': 'reports.worst_clips'},
    'vmmjax.evaluation.tasks': {
        'base': 'tasks.base', 'classification': 'tasks.classification', 'events': 'tasks.events',
        'multi_label': 'tasks.multi_label', 'regression': 'tasks.regression', 'retrieval': 'tasks.retrieval'},
    'vmmjax.models': {
        'audio': 'models.conv2d_audio', 'frames': 'models.frame_network', 'stages': 'models.encoder_steps',
        'temporal': 'models.temporal_shift', 'words': 'models.embedding'},
    'vmmjax.models.fusion': {
        'moments': 'models.fusion.over_time', 'simple': 'models.fusion.concat_sum', 'streams': 'models.fusion.base'},
    'vmmjax.objectives': {
        'base': 'training.objective', 'classification': 'tasks.classification', 'events': 'tasks.events',
        'multi_label': 'tasks.multi_label', 'regression': 'tasks.regression', 'retrieval': 'tasks.retrieval',
        'supervised': 'tasks.supervised'},
    'vmmjax.serving': {
        'files': 'serving.readers', 'streaming': 'evaluation.streaming'},
    'vmmjax.training': {
        'best': 'training.early_stopping', 'deterministic': 'training.runtime',
        'meter': 'training.throughput', 'paths': 'training.path_patterns', 'prefetch': 'training.sharding',
        'rules': 'training.sharding', 'unfetched': 'training.metric_buffer'},
}
MODULES = {f'{package}.{name}': f'vmmjax.{new}' for package, moved in _MOVED.items() for name, new in moved.items()}
"""Module of before -> module of today."""
_GONE = ('vmmjax.data', 'vmmjax.objectives')  # Packages that they were in.


def current(text: str) -> str:
    """A text of a config, such as its JSON, with today's names in place of `vmmjax.old.module:Name`."""
    return re.sub(r'\bvmmjax(?:\.\w+)+(?=:)', lambda found: MODULES.get(found[0], found[0]), text)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports today's module where one of before is asked for."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
                  ) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        if fullname in _GONE:
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return importlib.util.spec_from_loader(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module of today, which stays what it is."""
        if spec.name in _GONE:
            return None  # An empty package.
        new = MODULES[spec.name]
        _LOG.warning('The module %s is called %s now; the old name will go with the next release.', spec.name, new)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Puts back what the import system has written over the module's own."""
        assert module.__spec__ is not None
        if module.__spec__.name not in _GONE:
            module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Has Python find the old names."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # First: some old names are new ones of other modules' neighbours.
