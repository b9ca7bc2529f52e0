"""Random nested lists, grown, evaluated and written out by the thousand at once.

The rules are those of the Long Range Arena's ListOps: an expression is an operator with 2 to 10
arguments, each of them again an expression with probability 1/4 and else a digit. The literal rule
grows one tree by recursion and throws it away if it has a wrong length. Here a block of trees grows
level by level in arrays, which gives the same distribution in a fraction of the time.

References
----------
N. Nangia, S. R. Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning", 2018.
Y. Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", ICLR 2021,
arXiv:2011.04006.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrbook.checks import check_count

__all__ = ["CLOSE", "MAX", "MED", "MIN", "SUM_MOD", "Rules", "expressions"]

Array = NDArray[Any]

#: Codes of the tokens; a digit is its own code.
MIN, MAX, MED, SUM_MOD, CLOSE = range(10, 15)

_BLOCK = 2048  # trees grown at once
_PATIENCE = 100  # blocks without a single tree of the right length


@dataclass(frozen=True)
class Rules:
    """What expressions there are. The defaults are those of Long ListOps.

    Attributes
    ----------
    max_depth : int
        Operators stand at depths 1 to `max_depth` - 1, the root's being 1.
    max_args : int
        An operator has 2 to `max_args` arguments, all numbers equally likely.
    min_length, max_length : int
        The number of tokens lies strictly between these; an operator and its closing bracket are
        two.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    max_depth: int = 10
    max_args: int = 10
    min_length: int = 500
    max_length: int = 2000

    def __post_init__(self) -> None:
        check_count(self.max_depth, "max_depth", 2)
        check_count(self.max_args, "max_args", 2)
        check_count(self.min_length, "min_length")
        if self.max_args > 100:
            raise ValueError(f"max_args must be at most 100, not {self.max_args}")
        if check_count(self.max_length, "max_length") < self.min_length + 2:
            raise ValueError(
                f"max_length must be at least min_length + 2 = {self.min_length + 2}, "
                f"not {self.max_length}"
            )


def expressions(count: int, rules: Rules, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw random expressions, independently of each other.

    Parameters
    ----------
    count : int
        Number of expressions.
    rules : Rules
        What they look like.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tokens : ndarray
        Codes of all expressions one after another, uint8: digits, `MIN`, `MAX`, `MED`, `SUM_MOD`
        and `CLOSE`.
    lengths : ndarray
        Number of tokens of each, int32 of shape ``(count,)``.
    values : ndarray
        What each evaluates to, uint8 of shape ``(count,)``.

    Raises
    ------
    ValueError
        If hardly any expression has a length that the rules allow.

    Examples
    --------
    >>> rules = Rules(max_depth=3, max_args=3, min_length=4, max_length=8)
    >>> tokens, lengths, values = expressions(2, rules, np.random.default_rng(0))
    >>> len(tokens), int(lengths.sum()), values.shape
    (10, 10, (2,))
    """
    blocks = []
    found = fruitless = 0
    while found < count:
        block = _block(rules, rng, count - found)
        fruitless = 0 if len(block[1]) else fruitless + 1
        if fruitless == _PATIENCE:
            raise ValueError(f"hardly any expression has a length that fits {rules}")
        blocks.append(block)
        found += len(block[1])
    tokens, lengths, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return tokens, lengths, values


@dataclass
class _Level:
    """The operators at one depth, in order, and all their arguments, in order."""

    tree: Array  # of each operator: the number of its tree
    args: Array  # of each operator: how many arguments
    nested: Array  # of each argument: whether it is an expression, the next of the level below


def _block(rules: Rules, rng: np.random.Generator, most: int) -> tuple[Array, Array, Array]:
    """The first `most` trees of the right length out of `_BLOCK`."""
    levels, lengths = _grow(rules, rng)
    good = (lengths > rules.min_length) & (lengths < rules.max_length)
    good &= np.cumsum(good) <= most
    number = np.cumsum(good) - 1
    kept = []
    for level in levels:
        ops = good[level.tree]
        nested = level.nested[np.repeat(ops, level.args)]
        if ops.any():
            kept.append(_Level(number[level.tree[ops]], level.args[ops], nested))
    lengths = lengths[good]
    if not kept:
        return np.empty(0, np.uint8), lengths, np.empty(0, np.uint8)
    return _write(kept, lengths, rng)


def _grow(rules: Rules, rng: np.random.Generator) -> tuple[list[_Level], Array]:
    """Shapes of `_BLOCK` trees, and their lengths; growth ends where a tree is too long."""
    levels = []
    tree = np.arange(_BLOCK, dtype=np.int32)
    lengths = np.zeros(_BLOCK, np.int32)
    for depth in range(1, rules.max_depth):
        args = rng.integers(2, rules.max_args + 1, len(tree), np.uint8)
        total = int(args.sum(dtype=np.int64))
        if depth + 1 < rules.max_depth:
            nested = rng.integers(0, 4, total, np.uint8) == 0
        else:
            nested = np.zeros(total, bool)
        levels.append(_Level(tree, args, nested))
        below = np.repeat(tree, args)[nested]
        # 2 for each operator, 1 for each argument; one that is an operator is counted there.
        lengths += np.bincount(tree, args + 2.0, minlength=_BLOCK).astype(np.int32)
        lengths -= np.bincount(below, minlength=_BLOCK).astype(np.int32)
        # An operator yet to grow has 4 tokens or more.
        hopeless = lengths + 4 * np.bincount(below, minlength=_BLOCK) >= rules.max_length
        lengths[hopeless] = rules.max_length
        tree = below[~hopeless[below]]
        levels[-1].nested = _without(nested, hopeless, below)
        if len(tree) == 0:
            break
    return levels, lengths


def _without(nested: Array, hopeless: Array, below: Array) -> Array:
    """Cut the growth of hopeless trees."""
    nested = nested.copy()
    nested[np.flatnonzero(nested)[hopeless[below]]] = False
    return nested


def _write(
    levels: list[_Level], lengths: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Fill in operators and digits, evaluate from the leaves up, write from the root down."""
    operators, contents, sizes = [], [], []
    value, size = np.empty(0, np.uint8), np.empty(0, np.int32)
    for level in reversed(levels):
        operator = rng.integers(MIN, SUM_MOD + 1, len(level.args), np.uint8)
        content = rng.integers(0, 10, len(level.nested), np.uint8)
        length = np.ones(len(level.nested), np.int32)
        content[level.nested], length[level.nested] = value, size
        first = np.cumsum(level.args, dtype=np.int64) - level.args
        value = _apply(operator, content, level.args, first)
        size = np.add.reduceat(length, first) + 2
        operators.append(operator)
        contents.append(content)
        sizes.append(length)

    tokens = np.empty(int(lengths.sum()), np.uint8)
    begin, span = np.cumsum(lengths) - lengths, size
    for level, operator, content, length in zip(
        levels, operators[::-1], contents[::-1], sizes[::-1], strict=True
    ):
        tokens[begin] = operator
        tokens[begin + span - 1] = CLOSE
        before = np.cumsum(length, dtype=np.int64) - length
        first = np.cumsum(level.args, dtype=np.int64) - level.args
        place = before + np.repeat(begin + 1 - before[first], level.args)
        tokens[place[~level.nested]] = content[~level.nested]
        begin, span = place[level.nested], length[level.nested]
    return tokens, lengths, value


def _apply(operator: Array, content: Array, args: Array, first: Array) -> Array:
    """Value of each operator over its arguments, ``content[first:first + args]``."""
    value = np.where(
        operator == MIN, np.minimum.reduceat(content, first), np.maximum.reduceat(content, first)
    )
    total = np.add.reduceat(content, first, dtype=np.int32) % 10
    value = np.where(operator == SUM_MOD, total, value).astype(np.uint8)

    median = operator == MED
    chosen = content[np.repeat(median, args)]
    counts = args[median].astype(np.int64)
    start = np.cumsum(counts) - counts
    # Sorted within each operator: the operator's number is the leading part of the key.
    key = np.sort(np.repeat(np.arange(len(counts), dtype=np.int32) * 16, counts) + chosen) % 16
    value[median] = (key[start + (counts - 1) // 2] + key[start + counts // 2]) // 2
    return value
