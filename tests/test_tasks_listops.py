"""Nested lists against a literal generator and a separate evaluator; their batches; their file."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrbook.tasks import ListOps, Rules, long_listops
from mrbook.tasks import listops as module
from mrbook.tasks.listops import VOCABULARY, encode, evaluate
from mrbook.tasks.nested import expressions

SHORT = Rules(max_depth=4, max_args=4, min_length=5, max_length=30)
OPERATORS = {"[MIN": min, "[MAX": max, "[MED": lambda a: int(np.median(a))}
OPERATORS["[SM"] = lambda a: sum(a) % 10


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MRBOOK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def long() -> ListOps:
    """Return expressions of the benchmark's rules."""
    return long_listops(train=1500, valid=100, test=100)


def parse(tokens: list[str], depth: int = 1) -> tuple[int, int, list[tuple[int, int]]]:
    """Return value, tokens read, and (depth, arguments) of each operator: by recursion."""
    if tokens[0].isdigit():
        return int(tokens[0]), 1, []
    arguments, operators, used = [], [], 1
    while tokens[used] != "]":
        value, step, below = parse(tokens[used:], depth + 1)
        arguments.append(value)
        operators += below
        used += step
    result = OPERATORS[tokens[0]](arguments)
    return result, used + 1, [(depth, len(arguments)), *operators]


def grow(rules: Rules, rng: random.Random, depth: int = 1) -> list[str]:
    """Return an expression by the benchmark's rule as it is written, of any length."""
    if depth >= rules.max_depth or rng.random() > 0.25:
        return [str(rng.choice(range(10)))]
    tokens = []
    for _ in range(rng.randint(2, rules.max_args)):
        tokens += grow(rules, rng, depth + 1)
    return [rng.choice(["[MIN", "[MAX", "[MED", "[SM"]), *tokens, "]"]


# ---- the expressions ----------------------------------------------------------------------------


def test_expressions_keep_the_rules_of_the_benchmark(long: ListOps) -> None:
    assert Rules() == Rules(max_depth=10, max_args=10, min_length=500, max_length=2000)
    depths, arguments = set(), set()
    for number in range(200):
        tokens = long.text("train", number).split()
        value, used, operators = parse(tokens)
        assert used == len(tokens) and value == long.labels("train")[number]
        assert 500 < len(tokens) < 2000
        assert long.lengths("train")[number] == len(tokens) + 1
        depths |= {depth for depth, _ in operators}
        arguments |= {count for _, count in operators}
    assert depths == set(range(1, 10))
    assert arguments == set(range(2, 11))
    lengths = long.lengths("train") - 1
    assert lengths.min() < 520 and lengths.max() > 1950


def test_lengths_lie_strictly_between() -> None:
    rules = Rules(max_depth=3, max_args=5, min_length=7, max_length=11)
    _, lengths, _ = expressions(500, rules, np.random.default_rng(0))
    assert set(lengths.tolist()) == {8, 9, 10}


def test_no_expression_comes_twice(long: ListOps) -> None:
    texts = [long.text(split, i) for split in long.splits for i in range(long.size(split))]
    assert len(set(texts)) == len(texts) == 1700
    rules = Rules(max_depth=2, max_args=2, min_length=3, max_length=5)  # 400 of them
    few = long_listops(train=380, valid=10, test=10, rules=rules)
    assert len({few.text(s, i) for s in few.splits for i in range(few.size(s))}) == 400
    with pytest.raises(ValueError, match=r"hardly more than 400 expressions of Rules\(max_depth=2"):
        long_listops(train=381, valid=10, test=10, rules=rules)


def statistics(texts: list[list[str]]) -> dict[str, np.ndarray]:
    """Return counts that a wrong rule would change."""
    parsed = [parse(tokens) for tokens in texts]
    ops = [op for _, _, operators in parsed for op in operators]
    where = {token: i for i, token in enumerate(VOCABULARY)}
    return {
        "value": np.bincount([value for value, _, _ in parsed], minlength=10),
        "length": np.bincount([used // 5 for _, used, _ in parsed], minlength=6),
        "root": np.bincount([where[tokens[0]] - 13 for tokens in texts], minlength=4),
        "depth": np.bincount([depth for depth, _ in ops], minlength=4)[1:],
        "arguments": np.bincount([count for _, count in ops], minlength=5)[2:],
        "token": np.array([c for _, c in sorted(Counter(t for x in texts for t in x).items())]),
    }


def test_the_distribution_is_that_of_the_literal_rule() -> None:
    rng = random.Random(0)
    literal: list[list[str]] = []
    while len(literal) < 4000:
        tokens = grow(SHORT, rng)
        if SHORT.min_length < len(tokens) < SHORT.max_length:
            literal.append(tokens)
    tokens, lengths, _ = expressions(4000, SHORT, np.random.default_rng(0))
    names = [*map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]"]
    parts = np.split(tokens, lengths.cumsum()[:-1])
    ours = statistics([[names[code] for code in part] for part in parts])
    for name, expected in statistics(literal).items():
        counts = ours[name]
        assert counts.shape == expected.shape
        # Two samples: the difference has about the variance of the sum, and operators of one
        # expression are not independent, so a few times that.
        score = (counts - expected) / np.sqrt(counts + expected + 1)
        assert np.abs(score).max() < 5, (name, counts, expected)


def test_a_seed_gives_the_same_examples_everywhere() -> None:
    def draw(seed: int, train: int = 300) -> ListOps:
        return long_listops(train=train, valid=20, test=20, rules=SHORT, seed=seed)

    assert draw(1).fingerprint == draw(1).fingerprint
    assert draw(1).fingerprint["digest"] != draw(2).fingerprint["digest"]
    assert [draw(1, 30).text("train", i) for i in range(30)] == [
        draw(1).text("train", i) for i in range(30)
    ]
    assert draw(0).text("train", 0) == "[MED 1 0 [MAX 1 1 ] ]"
    assert draw(0).fingerprint["digest"] == "9096314ef9033089"


# ---- as text and as numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("[MED 1 2 ]", 1),
        ("[MED 9 0 4 5 ]", 4),
        ("[MED 3 9 8 ]", 8),
        ("[SM 9 9 9 ]", 7),
        ("( ( ( [MIN 4 ) ( ( ( [SM 1 ) 2 ) ] ) ) ] )", 3),
    ],
)
def test_evaluate(text: str, value: int) -> None:
    assert evaluate(text) == value


def test_evaluate_agrees_with_the_other_evaluator(long: ListOps) -> None:
    texts = [long.text("test", i) for i in range(50)]
    assert [evaluate(t) for t in texts] == [parse(t.split())[0] for t in texts]


@pytest.mark.parametrize(
    "text", ["", "1 2", "[MAX 1", "[MAX ]", "]", "[MAX 1 ] ]", "[AVG 1 2 ]", "[MAX 11 ]", "[ 1 ]"]
)
def test_evaluate_refuses_what_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        evaluate(text)


def test_the_vocabulary_has_eighteen_tokens() -> None:
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 18
    assert VOCABULARY[:3] == ("<pad>", "<unk>", "<eos>")
    text = "[SM 3 [MED 8 0 ] ]"
    numbers = encode(f"( {text} )")
    assert " ".join(VOCABULARY[i] for i in numbers) == f"{text} <eos>"
    assert encode("[FIRST 3 ]").tolist() == [1, encode("3")[0], encode("]")[0], 2]


# ---- batches ------------------------------------------------------------------------------------


def texts_of(batch: Any) -> list[str]:
    """Return a batch as text, checking what surrounds it."""
    texts = []
    assert batch.inputs.dtype == batch.lengths.dtype == batch.targets.dtype == torch.int64
    assert batch.inputs.shape == (len(batch.targets), batch.lengths.max())
    for row, length in zip(batch.inputs, batch.lengths, strict=True):
        assert (row[length:] == 0).all()
        assert row[length - 1] == 2 and (row[: length - 1] > 2).all()
        texts.append(" ".join(VOCABULARY[i] for i in row[: length - 1]))
    return texts


@pytest.mark.parametrize("seed", [None, 0])
def test_an_epoch_holds_every_example_once(long: ListOps, seed: int | None) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = list(long.batches("train", 64, generator=generator))
    assert len(batches) == long.steps("train", 64) == 24
    assert sorted(len(b.targets) for b in batches) == [28] + 23 * [64]
    found = {t: v for b in batches for t, v in zip(texts_of(b), b.targets.tolist(), strict=True)}
    labels = long.labels("train").tolist()
    assert found == {long.text("train", i): label for i, label in enumerate(labels)}
    assert list(found) != [long.text("train", i) for i in range(1500)]


def test_batches_hold_about_the_same_length(long: ListOps) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(long.batches("train", 50, generator=generator))
    padded = sum(b.inputs.numel() for b in batches)
    assert sum(int(b.lengths.sum()) for b in batches) / padded > 0.95
    order = [int(b.lengths.max()) for b in batches]
    assert order not in (sorted(order), sorted(order, reverse=True))


def test_epochs_differ_and_are_taken_up_in_the_middle(long: ListOps) -> None:
    def epoch(seed: int, start: int = 0) -> list[Any]:
        generator = torch.Generator().manual_seed(seed)
        return list(long.batches("train", 50, generator=generator, start=start))

    first, again, other, rest = epoch(0), epoch(0), epoch(1), epoch(0, start=20)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].targets, other[0].targets)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first[20:], rest, strict=True))


def test_the_task_says_what_it_is(long: ListOps) -> None:
    assert long.name == "listops" and long.classes == tuple("0123456789")
    assert long.vocabulary == VOCABULARY and long.channels == 1 and long.length <= 2000
    assert long.fingerprint["official"] is False and "rules" in long.fingerprint["mark"]
    rules = Rules(max_depth=4, min_length=5, max_length=40)
    other = long_listops(train=5, valid=1, test=1, rules=rules)
    assert "another size" in other.fingerprint["mark"]
    few = long.subset(train=10, test=5)
    assert few.fingerprint["sizes"] == {"train": 10, "valid": 100, "test": 5}
    assert few.text("train", 9) == long.text("train", 9)
    assert few.labels("test").tolist() == long.labels("test")[:5].tolist()
    assert texts_of(next(few.batches("test", 5))) != []


# ---- the file -----------------------------------------------------------------------------------


def many() -> ListOps:
    return long_listops(train=10_001, valid=10, test=10, rules=SHORT)


def test_many_examples_are_kept_in_the_data_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = many()
    (path,) = folder.iterdir()
    tokens = int(sum((drawn.lengths(s) - 1).sum() for s in drawn.splits))
    assert path.stat().st_size < tokens / 2 + 6 * 10_021 + 2000
    with monkeypatch.context() as patch:
        patch.setattr(module, "expressions", pytest.fail)
        kept = many()
    assert kept.fingerprint == drawn.fingerprint
    assert kept.text("test", 9) == drawn.text("test", 9)
    assert torch.equal(kept.labels("train"), drawn.labels("train"))
    assert sorted(folder.iterdir()) == [path]

    path.write_bytes(path.read_bytes()[:-500])  # damaged: drawn again
    assert many().fingerprint == drawn.fingerprint
    long_listops(train=10, valid=1, test=1, rules=SHORT)
    long_listops(train=10_001, valid=10, test=10, rules=SHORT, seed=1)
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file where the folder should be")
    assert many().size("train") == 10_001
    assert "ListOps can't be kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"train": 0}, ValueError, "train must be at least 1, got 0"),
        ({"valid": 1.5}, TypeError, "valid must be an integer, got"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        long_listops(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_depth": 1}, "max_depth must be at least 2, got 1"),
        ({"max_args": 1}, "max_args must be at least 2, got 1"),
        ({"max_args": 101}, "max_args must be at most 100, not 101"),
        ({"min_length": 0}, "min_length must be at least 1, got 0"),
        ({"max_length": 501}, r"max_length must be at least min_length \+ 2 = 502, not 501"),
    ],
)
def test_rules_refuse(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**arguments)


def test_rules_that_nothing_fits_are_noticed() -> None:
    with pytest.raises(ValueError, match="hardly any expression has a length that fits"):
        long_listops(
            train=5, valid=1, test=1, rules=Rules(max_depth=2, min_length=50, max_length=60)
        )


def test_an_example_that_is_not_there(long: ListOps) -> None:
    with pytest.raises(ValueError, match="number must be from 0 to 99, got 100"):
        long.text("valid", 100)
    with pytest.raises(ValueError, match="split must be one of"):
        long.text("dev", 0)
