"""How texts are found: the options of `config.task.generation`."""

import dataclasses
from typing import Any

import jax

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.decoders import ctc, search
from vmmjax.models.decoders.grammar import Automaton
from vmmjax.models.decoders.writer import Writer, Written

WAYS = ('greedy', 'beam', 'sample')


@dataclasses.dataclass(frozen=True)
class Generation:
    """Finds texts, in a compiled loop of fixed length.

    Attributes:
      name: `greedy`: the likeliest token each time, and of CTC alone the best path (`ctc.best_path`); `beam`: see
        `search.beam`; `sample`: drawn at random, by keys of the run's seed and the clip.
      beam: texts that a beam keeps, or that are drawn.
      penalty: by what the log-probabilities of a beam's texts are divided: `none` (1), `gnmt` (((5 + n) / 6)^alpha)
        or `power` (n^alpha), n tokens with the end.
      alpha: of the penalty.
      temperature: of `sample`.
      grammar: the texts that may be found, a regular expression over words, see `grammar`; empty for all.
    """

    name: str = 'greedy'
    beam: int = 8
    penalty: str = 'none'
    alpha: float = 0.6
    temperature: float = 1.0
    grammar: str = ''

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if self.name not in WAYS:
            raise UserError(f'config.task.generation.name is {self.name!r}: {did_you_mean(self.name, WAYS)}.')
        if self.beam < 1:
            raise UserError(f'config.task.generation.beam is {self.beam}; a beam keeps at least 1 text.')
        if self.alpha < 0 or self.temperature <= 0:
            raise UserError(f'config.task.generation has alpha={self.alpha} and temperature={self.temperature}; alpha '
                            f'is at least 0, and the temperature above.')
        registry.find(self.penalty, search.PENALTIES, 'length penalty')

    @property
    def texts(self) -> int:
        """How many texts are found of each clip."""
        return 1 if self.name == 'greedy' else self.beam

    def __call__(self, writer: Writer, params: Any, written: Written, weight: float, length: int, keys: jax.Array,
                 automaton: Automaton | None = None) -> search.Hypotheses:
        """The texts of every row.

        Args:
          writer: what is asked.
          params: its parameters.
          written: what it said of the rows, without a text.
          weight: of CTC, see `Writer.scorer`.
          length: tokens at most.
          keys: a random key for every row, for `sample`.
          automaton: of the grammar; None for none.
        """
        if self.name == 'greedy' and weight == 1 and automaton is None:
            assert written.ctc is not None
            return ctc.greedy(written.ctc, written.memory.mask, length)
        scorer = writer.scorer(params, written, weight, length)
        if automaton is not None:
            scorer = automaton.constrained(scorer, length)
        if self.name == 'greedy':
            return search.greedy(scorer, length)
        if self.name == 'sample':
            return search.sample(scorer, length, self.beam, keys, self.temperature)
        return search.beam(scorer, length, self.beam, search.PENALTIES[self.penalty], self.alpha)
