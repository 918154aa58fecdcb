"""A finite-state grammar: the texts that may be found at all, as a regular expression over words.

`(bin|lay|place|set) (blue|green|red|white) now?`: words stand one after the other, `|` is or, `?`, `*` and `+` are at
most one, any number and at least one of what stands before, `.` is any token, brackets group.
"""

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.models.decoders.search import Scorer
from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID, UNKNOWN_ID

_MOST = 10_000  # States.
_SIGNS = '()|?*+.'
_NEVER = 1 << 30


@dataclasses.dataclass(frozen=True)
class Automaton:
    """A deterministic automaton; a text is in the grammar where its tokens lead from state 0 to an accepting one.

    Attributes:
      following: int32 (S, V), the state after a token, -1 where it must not follow; of the end 0 where it may.
      left: int32 (S,), how few tokens lead to an accepting state.
    """

    following: np.ndarray
    left: np.ndarray

    def check(self, length: int) -> None:
        """Checks that there is a text to be found.

        Args:
          length: tokens of a text at most.

        Raises:
          UserError: where every text of the grammar has more.
        """
        if self.left[0] > length:
            raise UserError(f'config.task.generation.grammar cannot be kept: its shortest text has {self.left[0]} '
                            f'tokens, and a text has at most {length}, config.task.longest or else that of the '
                            f'longest of the training split; shorten the grammar.')

    def constrained(self, scorer: Scorer, length: int) -> Scorer:
        """A scorer by which only texts of the grammar are found, of `length` tokens at most.

        Log-probabilities of tokens that may follow are as they were, all others -inf: those of a text do not change.
        """
        following, left = jnp.asarray(self.following), jnp.asarray(self.left)
        tokens = jnp.arange(self.following.shape[1])

        def step(ids: Any, place: Any, fixed: Any, state: Any) -> tuple[Any, Any]:
            inner, at = state
            scores, inner = scorer.step(ids, place, fixed, inner)
            at = jnp.where(place == 0, at, jnp.where(at < 0, -1, following[at, ids]))
            after = jnp.where((at < 0)[:, None], -1, following[at])
            # Nothing that could not end in time is begun.
            allowed = (after >= 0) & ((tokens == END_ID) | (left[after] <= length - place - 1))
            return jnp.where(allowed, scores, -jnp.inf), (inner, at)

        return Scorer(scorer.vocabulary, scorer.fixed, (scorer.state, jnp.zeros(scorer.rows, jnp.int32)), step)


def automaton(text: str, vocabulary: Sequence[str], split: Callable[[str], list[str]]) -> Automaton:
    """The automaton of a grammar.

    Args:
      text: see the module.
      vocabulary: the tokens. An alternative with a word that is not among them, which no model can say, is left out.
      split: from a word to its tokens.

    Raises:
      UserError: for what is no regular expression, a grammar of no text, of too many states, or of brackets too deep.
    """
    nothing = _Nothing()
    places = {token: place for place, token in enumerate(vocabulary) if place not in (PAD_ID, END_ID, UNKNOWN_ID)}
    try:
        start, end = _Parser(text, nothing, places, split).whole()
    except RecursionError as error:
        raise UserError(f'config.task.generation.grammar has {text.count("(")} brackets, and brackets are nested too '
                        f'deeply; write a simpler one.') from error
    first = nothing.closure({start})
    states, queue, rows = {first: 0}, deque([first]), list[np.ndarray]()
    while queue:
        now = queue.popleft()
        row = np.full(len(vocabulary), -1, np.int32)
        for token in {token for state in now for token, _ in nothing.moves[state]}:
            after = nothing.closure({to for state in now for by, to in nothing.moves[state] if by in (token, _ANY)})
            if after not in states:
                states[after] = len(states)
                queue.append(after)
            chosen = slice(UNKNOWN_ID, None) if token == _ANY else slice(token, token + 1)
            kept = row[chosen]
            # What is named has its own state, which holds that of any token.
            row[chosen] = np.where(kept >= 0, kept, states[after]) if token == _ANY else states[after]
        row[END_ID] = 0 if end in now else -1
        rows.append(row)
        if len(states) > _MOST:
            raise UserError(f'config.task.generation.grammar has more than {_MOST} states; write a simpler one.')
    following = np.stack(rows)
    left = np.where(following[:, END_ID] >= 0, 0, _NEVER)
    following_tokens = np.delete(following, END_ID, axis=1)
    for _ in range(len(rows)):
        after = np.where(following_tokens >= 0, left[following_tokens], _NEVER).min(1)
        new = np.minimum(left, np.minimum(after + 1, _NEVER))
        if (new == left).all():
            break
        left = new
    if left[0] >= _NEVER:
        raise UserError('config.task.generation.grammar has no text of words that the vocabulary of the run has; '
                        'mend it.')
    return Automaton(following, left.astype(np.int32))


_ANY = -1


class _Nothing:
    """An automaton whose states may follow each other by nothing (Thompson 1968)."""

    def __init__(self) -> None:
        self.moves: list[list[tuple[int, int]]] = []  # Of every state: by which token, and to which state.
        self.free: list[list[int]] = []  # To which states by nothing.

    def state(self) -> int:
        self.moves.append([])
        self.free.append([])
        return len(self.moves) - 1

    def closure(self, states: set[int]) -> frozenset[int]:
        found, queue = set(states), list(states)
        while queue:
            for state in self.free[queue.pop()]:
                if state not in found:
                    found.add(state)
                    queue.append(state)
        return frozenset(found)


class _Parser:
    """Reads an expression from left to right; each part is a pair of states, where it begins and where it ends."""

    def __init__(self, text: str, made: _Nothing, places: dict[str, int], split: Callable[[str], list[str]]) -> None:
        self._parts = re.findall(r'[()|?*+.]|[^\s()|?*+.]+', text)
        self._text, self._made, self._places, self._split = text, made, places, split

    def whole(self) -> tuple[int, int]:
        found = self._either()
        if self._parts:
            raise self._error(f'{self._parts[0]!r} stands where nothing is expected')
        return found

    def _either(self) -> tuple[int, int]:
        start, end = self._made.state(), self._made.state()
        while True:
            first, last = self._row()
            self._made.free[start].append(first)
            self._made.free[last].append(end)
            if not (self._parts and self._parts[0] == '|'):
                return start, end
            self._parts.pop(0)

    def _row(self) -> tuple[int, int]:
        start = end = self._made.state()
        while self._parts and self._parts[0] not in '|)':
            first, last = self._repeated()
            self._made.free[end].append(first)
            end = last
        return start, end

    def _repeated(self) -> tuple[int, int]:
        first, last = self._one()
        while self._parts and self._parts[0] in '?*+':
            sign = self._parts.pop(0)
            start, end = self._made.state(), self._made.state()
            self._made.free[start].append(first)
            self._made.free[last].append(end)
            if sign in '?*':
                self._made.free[start].append(end)
            if sign in '*+':
                self._made.free[last].append(first)
            first, last = start, end
        return first, last

    def _one(self) -> tuple[int, int]:
        part = self._parts.pop(0)
        if part == '(':
            found = self._either()
            if not (self._parts and self._parts.pop(0) == ')'):
                raise self._error('a bracket is not closed')
            return found
        if part != '.' and part in _SIGNS:
            raise self._error(f'{part!r} follows nothing')
        start = end = self._made.state()
        for token in ['.'] if part == '.' else self._split(part):
            after = self._made.state()
            if part == '.' or token in self._places:
                self._made.moves[end].append((_ANY if part == '.' else self._places[token], after))
            end = after
        return start, end

    def _error(self, what: str) -> UserError:
        return UserError(f'config.task.generation.grammar is {self._text!r}, and {what}; write words, brackets, | and '
                         f"?, * or +, such as '(bin|lay) (red|blue) now?'.")
