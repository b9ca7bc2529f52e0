"""What every task of tokens checks; its batches are tested with ListOps and the texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrbook.tasks import TokenTask


def make(**changes: Any) -> TokenTask:
    """Return a task of four sequences, the first one empty."""
    both = np.array([0, 1, 2, 3]), np.array([0, 1, 1, 0])
    parts: dict[str, Any] = {
        "name": "t",
        "classes": ["a", "b"],
        "vocabulary": ["<pad>", "<eos>", "x", "y"],
        "tokens": np.array([0, 1, 1, 0, 1, 1], np.uint8),
        "lengths": np.array([0, 1, 2, 3], np.int32),
        "splits": {"train": both, "valid": both, "test": both},
        "fingerprint": {"data": "d"},
    }
    splits = parts["splits"] | changes.pop("splits", {})
    return TokenTask(**(parts | {"splits": splits} | changes))


def test_sequences_are_padded_and_closed() -> None:
    (batch,) = make().batches("train", 4)
    assert batch.inputs.tolist() == [[1, 0, 0, 0], [2, 1, 0, 0], [3, 3, 1, 0], [2, 3, 3, 1]]
    assert batch.lengths is not None and batch.lengths.tolist() == [1, 2, 3, 4]
    assert batch.targets.tolist() == [0, 1, 1, 0]
    assert make().fingerprint == {"data": "d", "sizes": {"train": 4, "valid": 4, "test": 4}}


def test_a_subset_is_the_first_examples() -> None:
    task = make()
    few = task.subset(train=2)
    assert type(few) is TokenTask and few.length == task.length == 4
    assert [few.size(split) for split in few.splits] == [2, 4, 4]
    assert few.fingerprint["sizes"] == {"train": 2, "valid": 4, "test": 4}
    assert few.lengths("train").tolist() == [1, 2]
    assert task.size("train") == task.fingerprint["sizes"]["train"] == 4


def test_codes_of_an_example() -> None:
    (codes,) = make().codes("test", 3)
    assert codes.tolist() == [0, 1, 1] and codes.dtype == np.uint8
    with pytest.raises(ValueError, match="number must be from 0 to 3, got 4"):
        make().codes("test", 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": np.zeros(6, np.int64)}, "tokens must be uint8, and as many .* 6, not int64"),
        ({"tokens": np.zeros(5, np.uint8)}, r"6, not uint8 of shape \(5,\)"),
        ({"tokens": np.full(6, 2, np.uint8)}, "tokens must be below 2, the last is 2"),
        ({"splits": {"valid": (np.arange(4), np.zeros(3, int))}}, "valid must have as many labels"),
        (
            {"splits": {"valid": (np.ones((4, 2), int), np.zeros(4, int))}},
            "valid must have as many",
        ),
        ({"splits": {"test": (np.arange(4) + 1, np.zeros(4, int))}}, "numbers of test must lie"),
        ({"splits": {"train": (np.arange(4), np.full(4, 2))}}, "labels of train must lie between"),
    ],
)
def test_bad_data_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_batches_are_the_same() -> None:
    for there, here in zip(
        make().batches("train", 2, device="cuda"), make().batches("train", 2), strict=True
    ):
        assert there.inputs.is_cuda
        assert all(torch.equal(a.cpu(), b) for a, b in zip(there, here, strict=True))
