"""The kinds of questions, one file each. What a command needs to know of one stands in its class, see `base.Task`."""

import dataclasses
from typing import Any

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.registry import build, find
from vmmjax.tasks.base import Task

__all__ = ['TASKS', 'Adversarial', 'Autoencoder', 'Captioning', 'Classification', 'Contrastive', 'Distillation',
           'Events', 'Masked', 'MaskedTokens', 'MultiLabel', 'QuestionAnswering', 'Regression', 'Retrieval',
           'SemiSupervised', 'Several', 'Summarization', 'Task', 'Transcription', 'VideoToVideo', 'create']

# Imported when asked for.
TASKS = {'adversarial': 'vmmjax.tasks.adversarial:Adversarial',
         'autoencoder': 'vmmjax.tasks.autoencoder:Autoencoder',
         'captioning': 'vmmjax.tasks.captioning:Captioning',
         'classification': 'vmmjax.tasks.classification:Classification',
         'contrastive': 'vmmjax.tasks.contrastive:Contrastive',
         'distillation': 'vmmjax.tasks.distillation:Distillation', 'events': 'vmmjax.tasks.events:Events',
         'masked': 'vmmjax.tasks.masked:Masked',
         'masked_tokens': 'vmmjax.tasks.masked_tokens:MaskedTokens',
         'multi_label': 'vmmjax.tasks.multi_label:MultiLabel',
         'question_answering': 'vmmjax.tasks.question_answering:QuestionAnswering',
         'regression': 'vmmjax.tasks.regression:Regression', 'retrieval': 'vmmjax.tasks.retrieval:Retrieval',
         'semi_supervised': 'vmmjax.tasks.semi_supervised:SemiSupervised',
         'summarization': 'vmmjax.tasks.summarization:Summarization',
         'transcription': 'vmmjax.tasks.transcription:Transcription',
         'video_to_video': 'vmmjax.tasks.video_to_video:VideoToVideo'}
_SEVERAL = 'vmmjax.tasks.classification:Several'  # Of several targets.


def __getattr__(name: str) -> Any:
    for path in (*TASKS.values(), _SEVERAL):
        if path.endswith(f':{name}'):
            return find(path, {}, 'task')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def create(config: Any, facts: dict[str, Any] | None = None) -> Task:
    """The task of a run's config.

    Args:
      config: the run's; `config.task.name` is a key of `TASKS`, or a `Task` of your own as package.module:Name, and
        the other keys of `config.task` are its options. Options of the default task that it lacks are left out where
        they have their default; those that it has, such as `label_smoothing`, count as they stand there.
      facts: what it found in the training store, see `Task.describe`; None before that was asked.

    Raises:
      UserError: for a name or an option that is not there, and for what is no task.
    """
    target = config.data.target
    several = not isinstance(target, str)
    known = {**TASKS, 'classification': _SEVERAL} if several else TASKS
    kind = find(config.task.name, known, 'task') if 'name' in config.task else Task
    if not (isinstance(kind, type) and issubclass(kind, Task) and dataclasses.is_dataclass(kind)):
        raise UserError(f'The task {config.task.name!r} is no dataclass that derives from vmmjax.tasks.Task: write\n'
                        f'  @dataclasses.dataclass(frozen=True, kw_only=True)\n'
                        f'  class {getattr(kind, "__name__", "Mine")}(vmmjax.tasks.Task)\n'
                        f'with the methods targets, loss and summary.')
    # Where the name alone was set, as by --config.task.name, the options of the default task still stand beside it.
    default, own = configs.defaults().task.to_dict(), {field.name for field in dataclasses.fields(kind)}
    options = {key: value for key, value in config.task.to_dict().items()
               if key == 'name' or key in own or key not in default or value != default[key]}
    task: Task = build(options, known, 'task', target=tuple(target) if several else target,
                       facts=facts or {})
    task.check(config)
    return task
