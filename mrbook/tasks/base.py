"""What every task offers: named splits, batches drawn where the model is, and a fingerprint."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from mrbook.checks import check_count

__all__ = ["SPLITS", "SPLIT_SEED", "Batch", "Task", "fixed_order"]

SPLITS = ("train", "valid", "test")
#: Seed of every split that the data do not bring along.
SPLIT_SEED = 42


def fixed_order(count: int) -> Tensor:
    """Numbers of examples, shuffled the same way everywhere: splits are cut from it.

    Parameters
    ----------
    count : int
        Number of examples.

    Returns
    -------
    Tensor
        int64 of shape ``(count,)``, `torch.randperm` with `SPLIT_SEED`.

    Examples
    --------
    >>> fixed_order(8)
    tensor([6, 3, 0, 7, 2, 1, 4, 5])
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))


class Batch(NamedTuple):
    """One batch of a task.

    Attributes
    ----------
    inputs : Tensor
        float32 of shape ``(batch, channels, length)``, or for a task with a vocabulary token
        numbers, int64 of shape ``(batch, length)``, padded with 0. Where an example is a pair of
        sequences (`Task.pair`), ``(2 * batch, length)``: rows 2i and 2i + 1 are a pair.
    targets : Tensor
        Class numbers, int64 of shape ``(batch,)``.
    lengths : Tensor or None
        True lengths, int64 of shape ``(len(inputs),)``; None where nothing is padded.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None


class Task(ABC):
    """A classification task over sequences.

    Attributes
    ----------
    name : str
        What it is called on the command line and in records.
    classes : tuple of str
        Names of the classes, by number.
    vocabulary : tuple of str or None
        Tokens by number, ``<pad>`` first; None where the inputs are numbers.
    channels : int
        Channels of the inputs; 1 for tokens.
    length : int
        The longest sequence there can be.
    pair : bool
        Whether an example is a pair of sequences; see `Batch`.
    fingerprint : dict
        What a record keeps of the data: ``data`` (its name), ``official`` (whether these are the
        very data that published numbers are about), ``mark`` (words to show beside every number
        where they are not, else None), and whatever tells one copy from another.
    """

    name: str
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...] | None = None
    channels: int = 1
    length: int
    pair: bool = False
    fingerprint: dict[str, Any]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return SPLITS

    @abstractmethod
    def size(self, split: str) -> int:
        """Count the examples of a split."""

    @abstractmethod
    def subset(self, **sizes: int) -> Self:
        """Take the first examples of some splits.

        Parameters
        ----------
        **sizes : int
            Number of examples by split: ``task.subset(train=5000, valid=1000)``. Splits not named
            stay whole.

        Returns
        -------
        Task
            With the sizes in its fingerprint.
        """

    @abstractmethod
    def _plan(self, split: str, batch_size: int, generator: torch.Generator | None) -> list[Tensor]:
        """Indices of one epoch's batches, int64 on the CPU."""

    @abstractmethod
    def _take(self, split: str, index: Tensor, device: torch.device) -> Batch:
        """One batch, by its indices."""

    def steps(self, split: str, batch_size: int, *, drop_last: bool = False) -> int:
        """Count the batches of one epoch.

        Parameters
        ----------
        split, batch_size, drop_last
            As for `batches`.
        """
        size = self.size(split)
        batch_size = check_count(batch_size, "batch_size")
        return size // batch_size if drop_last else -(-size // batch_size)

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """One epoch of batches.

        The data are moved to `device` once and batches are gathered there: there are no worker
        processes, and nothing but indices crosses to the device afterwards.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        batch_size : int
            Examples in a batch; the remainder makes a smaller one.
        generator : torch.Generator, optional
            Shuffles. It is used once, when this is called, so an epoch is taken up again in the
            middle by the generator's state before it and `start`. Without one the order is fixed.
        device : torch.device or str
            Where the batches are.
        start : int
            Batches of the epoch to skip.
        drop_last : bool
            Leave out the smaller batch.

        Returns
        -------
        iterator of Batch

        Raises
        ------
        ValueError
            If there is no such split, or a number is out of range.
        """
        start = check_count(start, "start", 0)
        plan = self.plan(split, batch_size, generator)
        if drop_last:
            plan = [index for index in plan if len(index) == batch_size]
        where = torch.device(device)
        return (self._take(split, index, where) for index in plan[start:])

    def plan(
        self, split: str, batch_size: int, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Which examples make the batches of one epoch.

        Parameters
        ----------
        split, batch_size, generator
            As for `batches`.

        Returns
        -------
        list of Tensor
            Numbers of examples, int64 on the CPU, for `take`.
        """
        batch_size = check_count(batch_size, "batch_size")
        plan = self._plan(self._check_split(split), batch_size, generator)
        assert sum(map(len, plan)) == self.size(split)
        return plan

    def take(self, split: str, index: Tensor, device: torch.device | str = "cpu") -> Batch:
        """One batch of chosen examples.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        index : Tensor
            Numbers of examples, int64 of shape ``(batch,)`` on the CPU.
        device : torch.device or str
            Where the batch shall be.
        """
        return self._take(self._check_split(split), index, torch.device(device))

    def _check_split(self, split: str) -> str:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
        return split

    def _check_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """All splits' sizes, those in `sizes` replaced."""
        whole = {split: self.size(split) for split in SPLITS}
        for split, size in sizes.items():
            self._check_split(split)
            if check_count(size, split) > whole[split]:
                raise ValueError(f"{split} must be at most {whole[split]}, not {size}")
        return whole | dict(sizes)
