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
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS, Batch, Task
from mrbook.tasks.cache import banner, data_folder, progress_bar
from mrbook.tasks.nested import Rules, expressions

__all__ = ["VOCABULARY", "ListOps", "encode", "evaluate", "long_listops"]

Array = NDArray[Any]

PAD, UNKNOWN, END = range(3)
_CODES = (*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
#: All tokens by number.
VOCABULARY = ("<pad>", "<unk>", "<eos>", *_CODES)
_FIRST = len(VOCABULARY) - len(_CODES)
_NUMBERS = {token: number for number, token in enumerate(VOCABULARY)}

_CHUNK = 2000  # examples drawn from one random stream
_WORTH_KEEPING = 10_000  # examples
_POOL = 50  # batches of one epoch sorted by length together
_VERSION = 1  # of the generator: another one draws other examples


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
    return torch.tensor([_NUMBERS.get(token, UNKNOWN) for token in tokens] + [END])


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


class ListOps(Task):
    """Classify nested lists by their value; batches hold examples of about the same length.

    Parameters
    ----------
    splits : mapping
        From "train", "valid" and "test" to tokens, lengths and values as
        `mrbook.tasks.nested.expressions` gives them.
    fingerprint : mapping
        See `Task`; the sizes of the splits are added.
    """

    name = "listops"
    classes = tuple("0123456789")
    vocabulary = VOCABULARY
    channels = 1

    def __init__(
        self, splits: dict[str, tuple[Array, Array, Array]], fingerprint: dict[str, Any]
    ) -> None:
        self._data = splits
        self.length = max(int(lengths.max()) for _, lengths, _ in splits.values()) + 1
        sizes = {split: len(splits[split][1]) for split in SPLITS}
        self.fingerprint = {**fingerprint, "sizes": sizes}
        self._stored: dict[tuple[str, torch.device], Sequence[Tensor]] = {}

    def size(self, split: str) -> int:
        """Count the examples of a split."""
        return len(self._data[self._check_split(split)][1])

    def lengths(self, split: str) -> Tensor:
        """Tokens of each example with ``<eos>``, int64 of shape ``(n,)``."""
        return torch.from_numpy(self._data[self._check_split(split)][1].astype(np.int64)) + 1

    def labels(self, split: str) -> Tensor:
        """Value of each example, int64 of shape ``(n,)``."""
        return torch.from_numpy(self._data[self._check_split(split)][2].astype(np.int64))

    def text(self, split: str, number: int) -> str:
        """One example as text, without ``<eos>``.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        number : int
            Which, from 0.
        """
        if not 0 <= number < self.size(split):
            raise ValueError(f"number must lie between 0 and {self.size(split) - 1}, not {number}")
        tokens, lengths, _ = self._data[split]
        first = int(lengths[:number].sum(dtype=np.int64))
        return " ".join(_CODES[code] for code in tokens[first : first + lengths[number]])

    def subset(self, **sizes: int) -> "ListOps":
        """Take the first examples of some splits; see `Task.subset`."""
        data = {}
        for split, kept in self._check_sizes(sizes).items():
            tokens, lengths, values = self._data[split]
            lengths = lengths[:kept]
            data[split] = tokens[: lengths.sum(dtype=np.int64)], lengths, values[:kept]
        return ListOps(data, self.fingerprint)

    def _plan(self, split: str, batch_size: int, generator: torch.Generator | None) -> list[Tensor]:
        lengths = self.lengths(split)
        if generator is None:
            return list(lengths.argsort(stable=True).split(batch_size))
        device = generator.device
        n = len(lengths)
        order = torch.randperm(n, generator=generator, device=device).cpu()
        full = n - n % batch_size
        batches: list[Tensor] = []
        for pool in order[:full].split(_POOL * batch_size):
            batches += pool[lengths[pool].argsort(stable=True)].split(batch_size)
        shuffled = torch.randperm(len(batches), generator=generator, device=device).tolist()
        rest = [order[full:]] if full < n else []
        return [batches[i] for i in shuffled] + rest

    def _take(self, split: str, index: Tensor, device: torch.device) -> Batch:
        if (split, device) not in self._stored:
            tokens, lengths, values = (torch.from_numpy(a) for a in self._data[split])
            ends = lengths.cumsum(0, dtype=torch.int64)
            parts = tokens, ends - lengths, lengths.long(), values.long()
            self._stored[split, device] = [part.to(device) for part in parts]
        tokens, begins, lengths, values = self._stored[split, device]
        longest = int(self._data[split][1][index.numpy()].max())
        index = index.to(device)
        length = lengths[index, None]
        step = torch.arange(longest + 1, device=device)
        place = (begins[index, None] + step).clamp(max=len(tokens) - 1)
        inputs = tokens[place].long() + _FIRST
        inputs = inputs.masked_fill(step == length, END).masked_fill(step > length, PAD)
        return Batch(inputs, values[index], length[:, 0] + 1)


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
    counts = np.array([0, *sizes.values()]).cumsum()
    edges = np.concatenate([[0], lengths.cumsum(dtype=np.int64)])
    data = {}
    for split, first, last in zip(SPLITS, counts, counts[1:], strict=False):
        piece = tokens[edges[first] : edges[last]]
        data[split] = piece, lengths[first:last], values[first:last]
    digest = hashlib.sha256(tokens.tobytes() + values.tobytes()).hexdigest()[:16]
    fingerprint = {
        "data": "ListOps",
        "official": False,
        "mark": "ListOps drawn by the benchmark's rules, not its published files",
        "digest": digest,
        **recipe,
    }
    return ListOps(data, fingerprint)


def _examples(recipe: dict[str, Any], rules: Rules) -> tuple[Array, Array, Array]:
    """All examples, from the data folder if they are there."""
    if recipe["count"] < _WORTH_KEEPING:
        return _draw(recipe["count"], rules, recipe["seed"])
    key = json.dumps(recipe, sort_keys=True)
    name = f"listops-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    path = data_folder() / name
    kept = _load(path)
    if kept is None:
        kept = _draw(recipe["count"], rules, recipe["seed"])
        try:
            _save(path, *kept)
        except OSError as error:
            banner(f"ListOps can't be kept in {path.parent} and is drawn anew each time: {error}")
    return kept


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


# ---- the file -----------------------------------------------------------------------------------


def _save(path: Path, tokens: Array, lengths: Array, values: Array) -> None:
    """Write the examples, four bits a token, whole or not at all."""
    even = np.append(tokens, np.uint8(0)) if len(tokens) % 2 else tokens
    packed = even[::2] << 4 | even[1::2]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, packed=packed, lengths=lengths.astype(np.int32), values=values)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _load(path: Path) -> tuple[Array, Array, Array] | None:
    """Read the examples, or None if they are not there or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            packed, lengths, values = kept["packed"], kept["lengths"], kept["values"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    tokens = np.empty(2 * len(packed), np.uint8)
    tokens[::2], tokens[1::2] = packed >> 4, packed & 15
    total = int(lengths.sum(dtype=np.int64))
    return (tokens[:total], lengths, values) if total in (len(tokens), len(tokens) - 1) else None
