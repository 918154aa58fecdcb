"""Reads pickles without running them.

A pickle is a program for a small machine that may import and call anything. This is such a machine that imports
nothing: the few names that files of weights contain stand for functions of ours, every other name is an error, and
nothing it builds is larger than the file allows.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from vmmjax.convert.objects import KNOWN, Global, Inert, Stateful, key_of, mapping
from vmmjax.errors import UserError

# Published files need some forty steps a tensor.
_MOST_STEPS = 1_000_000
_VALUES = frozenset({
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'STRING', 'BINSTRING',
    'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8', 'UNICODE', 'SHORT_BINUNICODE',
    'BINUNICODE', 'BINUNICODE8'})
_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None, 'NEWTRUE': lambda: True, 'NEWFALSE': lambda: False, 'EMPTY_TUPLE': tuple,
    'EMPTY_LIST': list, 'EMPTY_DICT': dict, 'EMPTY_SET': list}


class _Machine:
    """One run over one pickle."""

    def __init__(self, known: Mapping[str, Global], persistent: Callable[[Any], Any] | None, budget: int) -> None:
        self._known = {**KNOWN, **known}
        self._persistent = persistent
        self._budget = budget
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: Any) -> Any:
        """The object that a pickle describes; leaves the stream behind it."""
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if steps > _MOST_STEPS:
                raise ValueError(f'it has more than {_MOST_STEPS:,} steps')
            if opcode.name == 'STOP':
                break
            self._step(opcode.name, argument)
        (result,) = self._stack
        return result

    def _step(self, name: str, argument: Any) -> None:
        push, pop = self._stack.append, self._stack.pop
        if name in _VALUES:
            return push(argument)
        if name in _CONSTANTS:
            return push(_CONSTANTS[name]())
        match name:
            case 'PROTO' | 'FRAME':
                pass
            case 'MARK':
                self._marked.append(self._stack)
                self._stack = []
            case 'POP' if self._stack:
                pop()
            case 'POP' | 'POP_MARK':
                self._to_mark()
            case 'DUP':
                push(self._stack[-1])
            case 'MEMOIZE':
                self._memo[len(self._memo)] = self._stack[-1]
            case 'PUT' | 'BINPUT' | 'LONG_BINPUT':
                self._memo[argument] = self._stack[-1]
            case 'GET' | 'BINGET' | 'LONG_BINGET':
                push(self._memo[argument])
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                count = int(name[-1])
                self._stack[-count:] = [tuple(self._stack[-count:])]
            case 'TUPLE':
                self._put(tuple(self._to_mark()))
            case 'LIST' | 'FROZENSET':
                self._put(self._to_mark())
            case 'DICT':
                items = self._to_mark()
                self._put(mapping(zip(items[::2], items[1::2], strict=True)))
            case 'APPEND':
                self._extend([pop()])
            case 'APPENDS' | 'ADDITEMS':
                self._extend(self._to_mark())
            case 'SETITEM':
                value, key = pop(), pop()
                self._update([key, value])
            case 'SETITEMS':
                self._update(self._to_mark())
            case 'GLOBAL':
                push(self._find(*argument.split(' ')))
            case 'STACK_GLOBAL':
                attribute, module = pop(), pop()
                push(self._find(module, attribute))
            case 'REDUCE' | 'NEWOBJ':
                arguments, function = pop(), pop()
                push(self._call(function, arguments))
            case 'NEWOBJ_EX':
                _, arguments, function = pop(), pop(), pop()
                push(self._call(function, arguments))
            case 'OBJ':
                function, *rest = self._to_mark()
                self._put(self._call(function, tuple(rest)))
            case 'INST':
                rest = self._to_mark()
                self._put(self._call(self._find(*argument.split(' ')), tuple(rest)))
            case 'BUILD':
                state = pop()
                if isinstance(self._stack[-1], Stateful):
                    self._stack[-1].set_state(state)
                elif not isinstance(self._stack[-1], dict):  # Attributes of an OrderedDict are of no use.
                    raise TypeError('a state for what has none')
            case 'BINPERSID' | 'PERSID' if self._persistent:
                push(self._persistent(argument if name == 'PERSID' else pop()))
            case _:
                raise ValueError(f'it has the step {name}, which no file of weights needs')
        return None

    def _put(self, value: Any) -> None:
        self._stack.append(value)

    def _to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], Inert):
            self._stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], Inert):
            for key, value in zip(items[::2], items[1::2], strict=True):
                self._stack[-1][key_of(key)] = value

    def _find(self, module: Any, name: Any) -> Global:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError('a name that is no text')
        full = f'{module}.{name}'.replace('__builtin__.', 'builtins.', 1)
        if full not in self._known:
            raise UserError(f'asks for {full[:200]!r}, which no file of weights needs; nothing was run. Of a file that '
                            f'you trust, save the tensors alone: torch.save(model.state_dict(), path)')
        return self._known[full]

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise TypeError('a call of what is no function')
        # What is referred to again and again is copied by each call: all calls together have a bound.
        self._budget -= sum(len(each) for each in arguments if isinstance(each, str | bytes | list | tuple | dict))
        if self._budget < 0:
            raise ValueError('it would become many times as large as the file')
        return function.build(*arguments)


def load(stream: Any, size: int, known: Mapping[str, Global] | None = None,
         persistent: Callable[[Any], Any] | None = None) -> Any:
    """The object in a pickle, with dicts, lists, tuples, texts and numbers as they are and a `Leaf` for an array.

    Args:
      stream: a binary file, an `io.BytesIO` or an `mmap`, at the pickle's first byte; it is left behind its last.
      size: bytes of the file, which bound what may be built.
      known: further names that the file may contain, such as `torch.FloatStorage`.
      persistent: what a persistent id stands for; by default there may be none.

    Raises:
      UserError: for a name that is not known, and a pickle that is damaged; its text follows on the file's name.
    """
    try:
        return _Machine(known or {}, persistent, 2 * size + _MOST_STEPS).run(stream)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        # A damaged program asks for whatever is impossible.
        raise UserError(f'holds a pickle that is damaged or of no kind known here ({str(error)[:200]})') from error
