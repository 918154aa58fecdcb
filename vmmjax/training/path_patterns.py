"""Patterns over the paths of a tree's leaves: one matcher for sharding, freezing and loading."""

import re
from collections.abc import Sequence
from typing import Any

import jax

from vmmjax.errors import UserError, did_you_mean


def name(path: tuple[Any, ...]) -> str:
    """`params/encoders_rgb/Conv3d_1a_7x7/kernel`, of a key path of `jax.tree_util`."""
    return jax.tree_util.keystr(path, simple=True, separator='/')


def matches(patterns: Sequence[str], path: tuple[Any, ...]) -> bool:
    """Whether any pattern is found in the path."""
    return any(re.search(pattern, name(path)) for pattern in patterns)


def first_match(patterns: Sequence[str], tree: Any, what: str) -> Any:
    """For every leaf the index of the first pattern that matches its path, or -1.

    Args:
      patterns: regular expressions, searched anywhere in the path (`^` and `$` anchor them).
      tree: any tree.
      what: the config key the patterns come from, for the message.

    Returns:
      A tree of ints of the same structure.

    Raises:
      UserError: where a pattern is no regular expression, or matches nothing.
    """
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise UserError(f'A pattern of {what} is no regular expression: {error.pattern!r}, {error}.') from error
    found = [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    for pattern, expression in zip(patterns, compiled, strict=True):
        if not any(expression.search(leaf) for leaf in found):
            raise UserError(f'The pattern {pattern!r} of {what} matches no path: '
                            f'{did_you_mean(pattern, {leaf.rsplit("/", 1)[0] for leaf in found})}.')

    def index(path: tuple[Any, ...], _: Any) -> int:
        return next((i for i, expression in enumerate(compiled) if expression.search(name(path))), -1)

    return jax.tree_util.tree_map_with_path(index, tree)
