"""Classes of new clips, and what another run says of them: learning without forgetting, or from a larger network."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError
from vmmjax.tasks.classification import Classification
from vmmjax.tasks.supervised import Sums, of_clips
from vmmjax.training.objective import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation(Classification):
    """The loss of `Classification`, and the distance to what a teacher says of the same clips.

    With the teacher's logits t and the network's z over the classes that both know, the term `distilled` is
    `weight * T^2 KL(softmax(t / T), softmax(z / T))`, whose gradient is that of the cross-entropy with soft targets
    (Hinton et al. 2015, section 2). With the run that this one goes on from as teacher it is learning without
    forgetting (Li and Hoiem 2016, equation 3), where old clips are no longer at hand; the loss of the new clips' labels
    is over all classes. The teacher is in evaluation mode, sees the very windows and augmentations of the step, and
    need not be of the same architecture. It is read again when the run goes on after a stop.

    Attributes:
      workdir: the teacher's run, whose newest checkpoint is read.
      weight: of the distance.
      temperature: T.
    """

    workdir: str = ''
    weight: float = 1.0
    temperature: float = 2.0

    name: ClassVar[str] = 'distillation'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        super().__post_init__()
        if not isinstance(self.target, str):
            raise UserError('config.task.name is distillation, which is of one target; name one as data.target.')
        if not self.workdir:
            raise UserError('config.task.name is distillation, which needs a teacher; name its run as '
                            'config.task.workdir.')
        if self.weight < 0 or self.temperature <= 0:
            raise UserError(f'config.task has weight = {self.weight} and temperature = {self.temperature}; give a '
                            f'weight of 0 or more, and a temperature above 0.')

    @property
    def teacher(self) -> str:
        """See `Task`."""
        return self.workdir

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`; the terms are those of `Classification`, and `distilled`.

        The metric `as_taught` is how often the network's answer, among the classes of the teacher, is the teacher's.
        """
        terms, metrics = super().judge(logits, outputs, batch, mask)
        if (key := f'teacher/{self.target}') not in batch:
            raise UserError('The batch does not hold what the teacher says of it, which training alone asks for; plan '
                            'the step with config.task.name = classification.')
        told = batch[key]
        known, answer = jnp.isfinite(told), of_clips(logits)
        counted = mask * jnp.stack(list(outputs.present.values())).any(0)
        softly, own = (jax.nn.log_softmax(jnp.where(known, x / self.temperature, -jnp.inf)) for x in (told, answer))
        each = jnp.where(known, jnp.exp(softly) * (softly - own), 0).sum(-1) * self.temperature**2
        alike = jnp.where(known, answer, -jnp.inf).argmax(-1) == told.argmax(-1)
        terms['distilled'] = (self.weight * (counted * each).sum(), counted.sum())
        metrics['as_taught'] = ((counted * alike).sum(), counted.sum())
        return terms, metrics
