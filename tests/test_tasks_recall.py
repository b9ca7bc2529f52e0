"""The recall task: what is shown, what is asked, and that nothing else tells the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mrbook.tasks import SPLITS, TokenTask, symbol_recall

HOLD, LENGTH = 4, 64


@pytest.fixture(scope="module")
def task() -> TokenTask:
    return symbol_recall(length=LENGTH, hold=HOLD, train=4000, valid=80, test=160)


def everything(task: TokenTask, split: str) -> tuple[Tensor, Tensor]:
    batch = next(task.batches(split, task.size(split)))
    return batch.inputs, batch.targets


def test_shapes_types_and_names(task: TokenTask) -> None:
    x, y = everything(task, "train")
    assert x.shape == (4000, LENGTH) and x.dtype == y.dtype == torch.int64
    assert task.length == LENGTH and len(task.classes) == 8
    assert [task.vocabulary[i] for i in x[0, -2:]][1] == "<eos>"
    assert task.fingerprint["sizes"] == {"train": 4000, "valid": 80, "test": 160}


def test_the_symbol_is_shown_early_and_nowhere_else(task: TokenTask) -> None:
    x, y = everything(task, "train")
    first = task.vocabulary.index("A")
    shown = (x >= first) & (x < first + 8)
    assert (shown.sum(1) == HOLD).all()
    starts = shown.int().argmax(1)
    steps = torch.arange(LENGTH)
    assert torch.equal(shown, (steps >= starts[:, None]) & (steps < starts[:, None] + HOLD))
    assert torch.equal(x[shown].view(-1, HOLD), (first + y)[:, None].expand(-1, HOLD))
    assert starts.max() == HOLD - 1  # so at least length - 2 hold steps lie before the question
    share = starts.bincount() / len(starts)
    assert (share - 1 / HOLD).abs().max() < 4 * (0.25 * 0.75 / len(starts)) ** 0.5


def test_the_rest_is_independent_noise(task: TokenTask) -> None:
    x, y = everything(task, "train")
    first = task.vocabulary.index("a")
    rest = x[:, 2 * HOLD : -1] - first
    assert rest.min() == 0 and rest.max() == 7
    n = rest.numel()
    frequency = rest.flatten().bincount() / n
    assert (frequency - 1 / 8).abs().max() < 4 * (7 / 64 / n) ** 0.5
    pairs = (8 * rest[:, :-1] + rest[:, 1:]).flatten().bincount(minlength=64) / rest[:, 1:].numel()
    assert (pairs - 1 / 64).abs().max() < 5 * (1 / 64 / rest[:, 1:].numel()) ** 0.5
    # Symbols by class: a table of chi-square with 49 degrees of freedom.
    table = torch.zeros(8, 8, dtype=torch.float64)
    table.index_put_((y[:, None].expand_as(rest), rest), torch.tensor(1.0).double(), True)
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    assert float(((table - expected) ** 2 / expected).sum()) < 49 + 4 * (2 * 49) ** 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_classes_are_balanced(task: TokenTask, split: str) -> None:
    counts = task.labels(split).bincount(minlength=8)
    assert counts.max() == counts.min()
    assert not torch.equal(task.labels(split), task.labels(split).sort().values)


def test_seeds_and_splits() -> None:
    def draw(**options: Any) -> dict[str, Tensor]:
        sizes = {"length": LENGTH, "hold": HOLD, "train": 40, "valid": 40, "test": 40}
        task = symbol_recall(**sizes | options)
        return {split: everything(task, split)[0] for split in SPLITS}

    once = draw()
    assert all(torch.equal(once[split], again) for split, again in draw().items())
    assert all(not torch.equal(once[split], other) for split, other in draw(seed=1).items())
    rows = torch.cat(list(once.values()))
    assert len(rows.unique(dim=0)) == 120  # no sequence twice, in no two splits
    assert torch.equal(draw(train=400)["test"], once["test"])


def test_a_seed_gives_other_data_than_its_length() -> None:
    a = symbol_recall(length=32, hold=2, train=8, valid=8, test=8)
    b = symbol_recall(length=33, hold=2, train=8, valid=8, test=8)
    codes = [np.stack([t.codes("train", i)[0][:31] for i in range(8)]) for t in (a, b)]
    assert not np.array_equal(*codes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hold": 0}, ValueError, "hold must be at least 1, got 0"),
        ({"length": 63, "hold": 16}, ValueError, "length must be at least 64, got 63"),
        ({"length": 64.0}, TypeError, "length must be an integer, got 64.0"),
        ({"valid": 0}, ValueError, "valid must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_bad_sizes_say_so(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        symbol_recall(**options)
