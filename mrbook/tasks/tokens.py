"""Sequences of tokens, in batches of about the same length."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS, Batch, Task

__all__ = ["TokenTask"]

Array = NDArray[Any]

_Splits = dict[str, tuple[Tensor, Tensor]]

END = "<eos>"
_POOL = 50  # batches of one epoch sorted by length together


class TokenTask(Task):
    """Classify sequences of tokens, or pairs of them; a batch holds examples of about one length.

    The sequences stay bytes and live on the device that batches are asked for; a batch is gathered
    and padded there.

    Parameters
    ----------
    name : str
        Name of the task.
    classes : sequence of str
        Names of the classes.
    vocabulary : sequence of str
        Special tokens, ``<pad>`` first and ``<eos>`` last of them, then the tokens by their codes.
    tokens : ndarray
        Codes of all sequences one after another, uint8; each gets an ``<eos>`` at its end.
    lengths : ndarray
        Number of tokens of each sequence, integers of shape ``(m,)``.
    splits : mapping
        From "train", "valid" and "test" to numbers of sequences, integers of shape ``(n,)``, or
        ``(n, 2)`` for pairs, and to class numbers, integers of shape ``(n,)``.
    fingerprint : mapping
        See `Task`; the sizes of the splits are added.

    Raises
    ------
    ValueError
        If shapes, types or numbers don't go together.

    Examples
    --------
    >>> import numpy as np
    >>> codes, lengths = np.array([0, 1, 1, 0, 1], np.uint8), np.array([2, 3])
    >>> both = np.array([0, 1]), np.array([0, 1])  # two sequences, and their classes
    >>> splits = {"train": both, "valid": both, "test": both}
    >>> task = TokenTask("t", "ab", ["<pad>", "<eos>", "x", "y"], codes, lengths, splits, {})
    >>> next(task.batches("train", 2))
    Batch(inputs=tensor([[2, 3, 1, 0], [3, 2, 3, 1]]), targets=tensor([0, 1]),
          lengths=tensor([3, 4]))
    """

    vocabulary: tuple[str, ...]

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        vocabulary: Sequence[str],
        tokens: Array,
        lengths: Array,
        splits: Mapping[str, tuple[Array, Array]],
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.vocabulary = tuple(vocabulary)
        self._end = self.vocabulary.index(END)
        known = len(self.vocabulary) - self._end - 1
        if tokens.dtype != np.uint8 or tokens.shape != (lengths.sum(),) or len(tokens) == 0:
            raise ValueError(
                f"tokens must be uint8, and as many as the sum of lengths, {lengths.sum()}, not "
                f"{tokens.dtype} of shape {tokens.shape}"
            )
        if tokens.max() >= known:
            raise ValueError(f"tokens must be below {known}, the last is {tokens.max()}")
        self._tokens = torch.from_numpy(tokens)
        self._lengths = torch.from_numpy(lengths.astype(np.int64))
        self._begins = self._lengths.cumsum(0) - self._lengths
        self.length = int(self._lengths.max()) + 1
        self.pair = splits["train"][0].ndim == 2
        self._splits: _Splits = {}
        for split in SPLITS:
            members, labels = (torch.from_numpy(a.astype(np.int64)) for a in splits[split])
            count = len(labels)
            if members.shape != ((count, 2) if self.pair else (count,)) or count == 0:
                raise ValueError(
                    f"{split} must have as many labels as examples, at least one, not {count} for "
                    f"{tuple(members.shape)}"
                )
            if members.min() < 0 or members.max() >= len(lengths):
                raise ValueError(f"numbers of {split} must lie between 0 and {len(lengths) - 1}")
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise ValueError(
                    f"labels of {split} must lie between 0 and {len(self.classes) - 1}"
                )
            self._splits[split] = members, labels
        self._describe(fingerprint)

    def _describe(self, fingerprint: Mapping[str, Any]) -> None:
        sizes = {split: len(labels) for split, (_, labels) in self._splits.items()}
        self.fingerprint = {**fingerprint, "sizes": sizes}
        self._stored: dict[torch.device, tuple[list[Tensor], _Splits]] = {}

    def size(self, split: str) -> int:
        """Count the examples of a split."""
        return len(self.labels(split))

    def labels(self, split: str) -> Tensor:
        """Class numbers of a split, int64 of shape ``(n,)``."""
        return self._splits[self._check_split(split)][1]

    def lengths(self, split: str) -> Tensor:
        """Tokens of each sequence with ``<eos>``, int64 of shape ``(n,)``, of pairs ``(n, 2)``."""
        return self._lengths[self._splits[self._check_split(split)][0]] + 1

    def codes(self, split: str, number: int) -> list[Array]:
        """The sequences of one example, without ``<eos>``.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        number : int
            Which, from 0.

        Returns
        -------
        list of ndarray
            One, or two of a pair, uint8.

        Raises
        ------
        ValueError
            If there is no such example.
        """
        number = check_count(number, "number", 0, self.size(split) - 1)
        spans = [
            slice(int(self._begins[i]), int(self._begins[i] + self._lengths[i]))
            for i in self._splits[split][0][number].reshape(-1)
        ]
        return [self._tokens[span].numpy() for span in spans]

    def subset(self, **sizes: int) -> Self:
        """Take the first examples of some splits; see `Task.subset`."""
        kept = self._check_sizes(sizes)
        few = copy.copy(self)
        few._splits = {s: (x[: kept[s]], y[: kept[s]]) for s, (x, y) in self._splits.items()}
        few._describe(self.fingerprint)
        return few

    def _plan(self, split: str, batch_size: int, generator: torch.Generator | None) -> list[Tensor]:
        lengths = self.lengths(split)
        if self.pair:
            lengths = lengths.amax(1)
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
        if device not in self._stored:
            pool = [x.to(device) for x in (self._tokens, self._begins, self._lengths)]
            splits = {s: (x.to(device), y.to(device)) for s, (x, y) in self._splits.items()}
            self._stored[device] = pool, splits
        (tokens, begins, lengths), splits = self._stored[device]
        members, labels = splits[split]
        longest = int(self._lengths[self._splits[split][0][index]].max())
        index = index.to(device)
        chosen = members[index].flatten()
        length = lengths[chosen, None]
        step = torch.arange(longest + 1, device=device)
        place = (begins[chosen, None] + step).clamp(max=len(tokens) - 1)
        inputs = tokens[place].long() + (self._end + 1)
        inputs = inputs.masked_fill(step == length, self._end).masked_fill(step > length, 0)
        return Batch(inputs, labels[index], length[:, 0] + 1)
