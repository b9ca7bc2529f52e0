"""Long ListOps: the value of a nested list of operators, read token by token.

``[MAX 4 3 [MIN 2 3 ] 1 0 [MED 1 5 8 9 2 ] ]`` is 5. Expressions are drawn by the rules of the Long
Range Arena and kept in the data folder, four bits a token.

References
----------
N. Nangia, S. R. Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning", 2018.
Y. Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", ICLR 2021,
arXiv:2011.04006.
"""

import dataclasses
import hashlib
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS
from mrbook.tasks.cache import digest, kept_arrays, progress_bar
from mrbook.tasks.nested import Rules, expressions
from mrbook.tasks.tokens import TokenTask

__all__ = ["VOCABULARY", "ListOps", "encode", "evaluate", "long_listops"]

Array = NDArray[Any]

_CODES = (*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
#: All tokens by number.
VOCABULARY = ("<pad>", "<unk>", "<eos>", *_CODES)
_NUMBERS = {token: number for number, token in enumerate(VOCABULARY)}

_CHUNK = 2000  # examples drawn from one random stream
_WORTH_KEEPING = 10_000  # examples
_VERSION = 1  # of the generator: another one draws other examples


_MARK = "ListOps drawn by the benchmark's rules, not its published files"


def encode(text: str) -> Tensor:
    """Numbers of an expression's tokens, with ``<eos>`` at the end.

    Parameters
    ----------
    text : str
        Tokens between blanks. Parentheses, as the published files have them, are left out, an
        unknown token becomes ``<unk>``.

    Returns
    -------
    Tensor
        int64 of shape ``(length,)``, numbers into `VOCABULARY`.

    Examples
    --------
    >>> encode("[MAX 2 9 ]")
    tensor([14,  5, 12, 17,  2])
    """
    tokens = [token for token in text.split() if token not in "()"]
    return torch.tensor([_NUMBERS.get(t, _NUMBERS["<unk>"]) for t in (*tokens, "<eos>")])


def evaluate(text: str) -> int:
    """Value of an expression.

    Parameters
    ----------
    text : str
        Tokens between blanks, with or without parentheses.

    Returns
    -------
    int
        0 to 9. ``[MED`` is the median, without its fraction; ``[SM`` the sum modulo 10.

    Raises
    ------
    ValueError
        If it is not one expression.

    Examples
    --------
    >>> evaluate("[MAX 4 3 [MIN 2 3 ] 1 0 [MED 1 5 8 9 2 ] ]")
    5
    """
    stack: list[tuple[str, list[int]]] = [("", [])]
    for token in text.split():
        if token in "()":
            continue
        if token.startswith("[") and token in _NUMBERS:
            stack.append((token, []))
        elif token == "]" and len(stack) > 1 and stack[-1][1]:
            operator, arguments = stack.pop()
            stack[-1][1].append(_apply(operator, sorted(arguments)))
        elif token in _CODES[:10]:
            stack[-1][1].append(int(token))
        else:
            raise ValueError(f"text is not an expression: unexpected {token!r}")
    if len(stack) != 1 or len(stack[0][1]) != 1:
        raise ValueError("text must be one expression, every operator closed by ]")
    return stack[0][1][0]


def _apply(operator: str, ordered: list[int]) -> int:
    half = len(ordered) // 2
    match operator:
        case "[MIN":
            return ordered[0]
        case "[MAX":
            return ordered[-1]
        case "[MED":
            return (ordered[half] + ordered[-half - 1]) // 2
        case _:
            return sum(ordered) % 10


class ListOps(TokenTask):
    """Classify nested lists by their value; see `TokenTask`."""

    def text(self, split: str, number: int) -> str:
        """One example as text, without ``<eos>``.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        number : int
            Which, from 0.
        """
        (codes,) = self.codes(split, number)
        return " ".join(_CODES[code] for code in codes)


def long_listops(
    *,
    train: int = 96_000,
    valid: int = 2_000,
    test: int = 2_000,
    rules: Rules | None = None,
    seed: int = 0,
) -> ListOps:
    """Draw Long ListOps, or take it from the data folder.

    Parameters
    ----------
    train, valid, test : int
        Number of examples in each split. No expression comes twice.
    rules : Rules, optional
        What expressions there are. Default: those of the Long Range Arena.
    seed : int
        The same seed gives the same examples, on every machine.

    Returns
    -------
    ListOps
        From 10,000 examples on they are kept in `data_folder`.

    Raises
    ------
    ValueError
        If a number is out of range, or there are not so many expressions.

    Examples
    --------
    >>> short = Rules(max_depth=4, min_length=5, max_length=40)
    >>> task = long_listops(train=50, valid=10, test=10, rules=short)
    >>> evaluate(task.text("train", 3)) == task.labels("train")[3]
    tensor(True)
    """
    rules = Rules() if rules is None else rules
    sizes = {"train": train, "valid": valid, "test": test}
    for split, size in sizes.items():
        check_count(size, split)
    check_count(seed, "seed", 0)
    count = sum(sizes.values())
    recipe = {"version": _VERSION, "seed": seed, "count": count, **dataclasses.asdict(rules)}
    tokens, lengths, values = _examples(recipe, rules)
    parts = np.split(np.arange(count), np.cumsum([train, valid]))
    splits = {split: (part, values[part]) for split, part in zip(SPLITS, parts, strict=True)}
    fingerprint = {
        "data": "ListOps",
        "official": False,
        "mark": _MARK if rules == Rules() else "nested lists of another size than ListOps'",
        "digest": digest(tokens, values),
        **recipe,
    }
    classes = _CODES[:10]
    return ListOps("listops", classes, VOCABULARY, tokens, lengths, splits, fingerprint)


def _examples(recipe: dict[str, Any], rules: Rules) -> tuple[Array, Array, Array]:
    """All examples, from the data folder if they are there."""
    draw = partial(_draw, recipe["count"], rules, recipe["seed"])
    if recipe["count"] < _WORTH_KEEPING:
        return draw()
    kept = kept_arrays("ListOps", "listops", recipe, lambda: _pack(*draw()))
    packed, lengths, values = kept["packed"], kept["lengths"], kept["values"]
    tokens = np.empty(2 * len(packed), np.uint8)
    tokens[::2], tokens[1::2] = packed >> 4, packed & 15
    return tokens[: int(lengths.sum(dtype=np.int64))], lengths, values


def _pack(tokens: Array, lengths: Array, values: Array) -> dict[str, Array]:
    """The examples with four bits a token."""
    even = np.append(tokens, np.uint8(0)) if len(tokens) % 2 else tokens
    packed = even[::2] << 4 | even[1::2]
    return {"packed": packed, "lengths": lengths.astype(np.int32), "values": values}


def _draw(count: int, rules: Rules, seed: int) -> tuple[Array, Array, Array]:
    """Different expressions, drawn in chunks that have a random stream each."""
    seen: set[bytes] = set()
    parts: list[tuple[Array, Array, Array]] = []
    chunk = 0
    with progress_bar(count, "ListOps", leave=False, delay=2) as bar:
        while len(seen) < count:
            block = expressions(_CHUNK, rules, np.random.default_rng([seed, chunk]))
            chunk += 1
            new = _new(block, seen, count)
            if not new.any():
                raise ValueError(f"there are hardly more than {len(seen)} expressions of {rules}")
            tokens, lengths, values = block
            parts.append((tokens[np.repeat(new, lengths)], lengths[new], values[new]))
            bar.update(int(new.sum()))
    tokens, lengths, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return tokens, lengths, values


def _new(block: tuple[Array, Array, Array], seen: set[bytes], most: int) -> Array:
    """Which of the expressions are not in `seen`; they are added, until there are `most`."""
    text, lengths, _ = block
    new = np.zeros(len(lengths), bool)
    last = lengths.cumsum()
    for i, (begin, end) in enumerate(zip(last - lengths, last, strict=True)):
        if len(seen) == most:
            break
        key = hashlib.blake2b(text[begin:end].tobytes(), digest_size=16).digest()
        new[i] = key not in seen
        seen.add(key)
    return new
