"""Exercises of chapter 10, reasoning over nested lists."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake
from mrbook.tasks.listops import evaluate

Array = np.ndarray
Tree = Any  # a digit, or a list of an operator and its arguments

_OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")


def _grow(rng: np.random.Generator, depth: int) -> Tree:
    """Draw an expression with operators down to `depth` at most."""
    arguments = []
    for _ in range(int(rng.integers(2, 6))):
        nested = depth > 1 and rng.random() < 0.4
        arguments.append(_grow(rng, depth - 1) if nested else int(rng.integers(10)))
    return [_OPERATORS[rng.integers(4)], *arguments]


def _write(tree: Tree) -> str:
    if isinstance(tree, int):
        return str(tree)
    return " ".join([tree[0], *map(_write, tree[1:]), "]"])


def _read(text: str) -> Tree:
    stack: list[Tree] = [[]]
    for token in text.split():
        if token == "]":
            done = stack.pop()
            stack[-1].append(done)
        elif token.startswith("["):
            stack.append([token])
        else:
            stack[-1].append(int(token))
    return stack[0][0]


def _draw_text(rng: np.random.Generator, size: int) -> tuple[str]:
    return (_write(_grow(rng, 1 + size // 4)),)


def _evaluator(
    median: Callable[[list[int]], Any] = lambda a: int(statistics.median(a)),
    total: Callable[[list[int]], int] = lambda a: sum(a) % 10,
) -> Callable[[str], Any]:
    """Return an evaluator with a median and a sum of its own."""
    rules: dict[str, Callable[[list[int]], Any]] = {"[MIN": min, "[MAX": max}
    rules |= {"[MED": median, "[SM": total}

    def value(tree: Tree) -> Any:
        if isinstance(tree, int):
            return tree
        return rules[tree[0]]([value(a) for a in tree[1:]])

    return lambda text: value(_read(text))


def _evaluate(text: str) -> int:
    return evaluate(text)


def _flattened(text: str) -> int:
    tokens = text.split()
    return evaluate(" ".join([tokens[0], *filter(str.isdigit, tokens), "]"]))


def _first_level(text: str) -> int:
    operator, *arguments = _read(text)
    return _evaluate(_write([operator, *([a for a in arguments if isinstance(a, int)] or [0])]))


def _draw_counts(rng: np.random.Generator, size: int) -> tuple[Array]:
    return (rng.integers(2, 11, size),)


def _tokens(counts: Array) -> int:
    parts = int(counts.sum()) + 1  # every argument, and the root
    return parts + len(counts)


def _draw_labels(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    while True:
        odds = rng.dirichlet(np.full(10, 0.5))
        train, test = rng.choice(10, 12 * size, p=odds), rng.choice(10, 9 * size, p=odds)
        counts = np.sort(np.bincount(train, minlength=10))
        if counts[-1] > counts[-2]:
            return train, test


def _most_frequent(values: Array) -> int:
    return int(np.bincount(values).argmax())


def _majority(train: Array, test: Array) -> float:
    always = _most_frequent(train)
    return float((test == always).mean())


def _draw_reader(rng: np.random.Generator, size: int) -> tuple[Tree, int, dict[str, int]]:
    guess = {operator: int(rng.integers(10)) for operator in _OPERATORS}
    return _grow(rng, 1 + size // 4), int(rng.integers(0, 4)), guess


def _stop(tree: Tree, d: int, guess: dict[str, int]) -> int:
    if isinstance(tree, int):
        return tree
    if d == 0:
        return guess[tree[0]]
    return evaluate(_write([tree[0], *(_stop(a, d - 1, guess) for a in tree[1:])]))


def _leaves_out(tree: Tree, d: int, guess: dict[str, int]) -> int:
    seen = [a for a in tree[1:] if isinstance(a, int) or d > 1]
    if d == 0 or not seen:
        return guess[tree[0]]
    values = [a if isinstance(a, int) else _leaves_out(a, d - 1, guess) for a in seen]
    return evaluate(_write([tree[0], *values]))


def _one_more(tree: Tree, d: int, guess: dict[str, int]) -> int:
    return _stop(tree, d + 1, guess)


def _one_fewer(tree: Tree, d: int, guess: dict[str, int]) -> int:
    return _stop(tree, max(d - 1, 0), guess)


def _guess_of_the_root(tree: Tree, d: int, guess: dict[str, int]) -> int:
    return _stop(tree, d, dict.fromkeys(_OPERATORS, guess[tree[0]]))


def _puts_zero(tree: Tree, d: int, guess: dict[str, int]) -> int:
    return _stop(tree, d, dict.fromkeys(_OPERATORS, 0))


def _gives_up(tree: Tree, d: int, guess: dict[str, int]) -> int:
    nothing = dict.fromkeys(_OPERATORS, -1)
    try:
        return _stop(tree, d, nothing) if d else guess[tree[0]]
    except ValueError:  # something hidden was asked for
        return guess[tree[0]]


def _guesses_below(tree: Tree, d: int, guess: dict[str, int]) -> int:
    """Guess digits of the last level, too."""
    if isinstance(tree, int):
        return tree
    if d == 0:
        return guess[tree[0]]
    values = [
        guess[tree[0]] if d == 1 and isinstance(a, int) else _guesses_below(a, d - 1, guess)
        for a in tree[1:]
    ]
    return evaluate(_write([tree[0], *values]))


def _draw_stack(rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    longest = 4 * 2 ** min(size, 12)
    return int(rng.integers(2, longest)), int(rng.integers(2, 6)), int(rng.integers(1, 13))


def _smallest(reached: Callable[[int], bool]) -> int:
    return next(levels for levels in range(1, 60) if reached(levels))


def _levels(length: int, kernel_size: int, layers: int) -> int:
    gaps = kernel_size - 1
    return _smallest(lambda J: layers * gaps * (2**J - 1) >= length - 1)


def _one_layer(length: int, kernel_size: int, layers: int) -> int:
    return _levels(length, kernel_size, 1)


def _divides_levels(length: int, kernel_size: int, layers: int) -> int:
    return max(1, -(-_one_layer(length, kernel_size, layers) // layers))


def _taps_not_gaps(length: int, kernel_size: int, layers: int) -> int:
    return _levels(length, kernel_size + 1, layers)


def _whole_length(length: int, kernel_size: int, layers: int) -> int:
    return _levels(length + 1, kernel_size, layers)


def _last_level(length: int, kernel_size: int, layers: int) -> int:
    gaps = kernel_size - 1
    return _smallest(lambda J: layers * gaps * 2 ** (J - 1) >= length - 1)


def _no_minus_one(length: int, kernel_size: int, layers: int) -> int:
    gaps = kernel_size - 1
    return _smallest(lambda J: layers * gaps * 2**J >= length - 1)


def _undilated(length: int, kernel_size: int, layers: int) -> int:
    return max(1, -(-(length - 1) // (layers * (kernel_size - 1))))


def _draw_padded(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    batch, longest = 1 + min(3, size // 2), 1 + size
    lengths = torch.from_numpy(rng.integers(1, longest + 1, batch))
    lengths[0] = 2 if longest > 1 else 1
    x = torch.from_numpy(rng.standard_normal((batch, longest + int(rng.integers(0, 3)), 2)))
    if size % 2 == 0:  # nothing is known of what stands there
        x = x.masked_fill(~_real(x, lengths), torch.nan)
    return x, lengths


def _real(x: Tensor, lengths: Tensor) -> Tensor:
    return (torch.arange(x.shape[1]) < lengths[:, None])[..., None]


def _pool(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.stack([x[i, :n].mean(0) for i, n in enumerate(lengths)])


def _largest(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.stack([x[i, :n].amax(0) for i, n in enumerate(lengths)])


def _zeros_win(x: Tensor, lengths: Tensor) -> Tensor:
    return x.masked_fill(~_real(x, lengths), 0).amax(1)


def _one_step_more(x: Tensor, lengths: Tensor) -> Tensor:
    return x.masked_fill(~_real(x, lengths + 1), -torch.inf).amax(1)


def _last_step(x: Tensor, lengths: Tensor) -> Tensor:
    return x[torch.arange(len(x)), lengths - 1]


def _largest_size(x: Tensor, lengths: Tensor) -> Tensor:
    return _largest(x.abs(), lengths)


def _one_number(x: Tensor, lengths: Tensor) -> Tensor:
    return _largest(x, lengths).amax(0)


def _over_channels(x: Tensor, lengths: Tensor) -> Tensor:
    return _largest(x, lengths).amax(1)


def _steps(x: Tensor, lengths: Tensor) -> Tensor:
    """Return all real steps end to end."""
    return torch.cat([x[i, :n] for i, n in enumerate(lengths)])


def _statistics(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    every = _steps(x, lengths)
    return every.mean(0), every.var(0, correction=0)


def _means_of_examples(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    return _pool(x, lengths).mean(0), torch.stack(
        [x[i, :n].var(0, correction=0) for i, n in enumerate(lengths)]
    ).mean(0)


def _padding_counts(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((0, 1)), x.var((0, 1), correction=0)


def _zeros_count(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    return _padding_counts(x.masked_fill(~_real(x, lengths), 0), lengths)


def _centers_padding(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    kept, count = x.masked_fill(~_real(x, lengths), 0), lengths.sum()
    mean = kept.sum((0, 1)) / count
    return mean, (kept - mean).square().sum((0, 1)) / count


def _unbiased(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    every = _steps(x, lengths)
    return every.mean(0), every.var(0)


def _deviation(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = _statistics(x, lengths)
    return mean, variance.sqrt()


def _each_example(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    squares = torch.stack([x[i, :n].var(0, correction=0) for i, n in enumerate(lengths)])
    return _pool(x, lengths), squares


EXERCISES = (
    Exercise(
        name="listops-evaluate",
        reference=_evaluate,
        draw=_draw_text,
        hints=(
            "Keep a stack of lists. What does each of the three kinds of token do to it?",
            "A closing bracket ends the list on top: its value is an argument of the list below.",
            "The median of an even number of values is the mean of the middle two, and int() cuts "
            "its fraction off.",
        ),
        mistakes=(
            Mistake(
                _evaluator(median=lambda a: int(statistics.median(a) + 0.5)),
                "A median of one half too many isn't rounded up: its fraction is cut off.",
            ),
            Mistake(
                _evaluator(median=statistics.median_high),
                "That is the upper one of the middle two. The median is their mean, without its "
                "fraction.",
            ),
            Mistake(
                _evaluator(median=statistics.median_low),
                "That is the lower one of the middle two. The median is their mean, without its "
                "fraction.",
            ),
            Mistake(
                _evaluator(median=statistics.median),
                "A median may end in a half: here it is cut off, and every value is an integer.",
            ),
            Mistake(
                _evaluator(median=lambda a: sum(a) // len(a)),
                "That is the mean of all arguments. The median is the one in the middle.",
            ),
            Mistake(_evaluator(total=sum), "The sum is taken modulo 10: every value is a digit."),
            Mistake(
                _flattened,
                "An operator applies to its own arguments, not to all digits between its brackets.",
            ),
            Mistake(
                _first_level, "An argument may be an expression itself: evaluate it, and use it."
            ),
        ),
    ),
    Exercise(
        name="listops-tokens",
        reference=_tokens,
        draw=_draw_counts,
        hints=(
            "First count the parts: digits and operators. Each of them is an argument of one "
            "operator, with a single exception.",
            "Then ask how many tokens a digit takes, and how many an operator takes.",
        ),
        mistakes=(
            Mistake(
                lambda counts: int(counts.sum()) + 1,
                "An operator takes two tokens: don't forget its closing bracket.",
            ),
            Mistake(
                lambda counts: int(counts.sum()) + 2 * len(counts),
                "An operator inside another one is an argument there: it has been counted once "
                "already.",
            ),
            Mistake(
                lambda counts: int(counts.sum()) + len(counts),
                "The root is nobody's argument, and is a part, too.",
            ),
            Mistake(
                lambda counts: int(counts.sum()) + len(counts) + 2,
                "That includes <eos>, which isn't part of the expression.",
            ),
            Mistake(
                lambda counts: int(counts.sum()) - len(counts) + 1,
                "Those are the digits alone.",
            ),
            Mistake(
                lambda counts: int(counts.sum()),
                "Those are the arguments. Closing brackets are tokens, and the root is one.",
            ),
        ),
    ),
    Exercise(
        name="listops-majority",
        reference=_majority,
        draw=_draw_labels,
        hints=(
            "np.bincount counts how often each value occurs.",
            "The answer is chosen on training labels. How often is it right on the others?",
        ),
        mistakes=(
            Mistake(
                lambda train, test: 0.1,
                "Ten classes make 10 % only where all are equally frequent.",
            ),
            Mistake(
                lambda train, test: float((test == _most_frequent(test)).mean()),
                "The most frequent value of the test labels isn't known beforehand: choose it on "
                "training labels.",
            ),
            Mistake(
                lambda train, test: float((train == _most_frequent(train)).mean()),
                "That is its share of the training labels. The score is taken on test labels.",
            ),
            Mistake(
                lambda train, test: 1 / len(np.unique(train)),
                "Guessing at random does that. Always giving the most frequent value does better.",
            ),
            Mistake(
                lambda train, test: float((test == _most_frequent(train)).sum()),
                "That is a number of examples. An accuracy is a share of them.",
            ),
        ),
    ),
    Exercise(
        name="listops-stop",
        reference=_stop,
        draw=_draw_reader,
        hints=(
            "There are three cases: a digit, an operator where the reader has stopped, and an "
            "operator it goes into.",
            "Whoever goes into an operator has one level less for its arguments.",
            "min, max, sum and sorted are all you need for the four operators.",
        ),
        mistakes=(
            Mistake(
                _leaves_out,
                "Arguments that aren't read are left out. The reader knows that something stands "
                "there: put in the guess for its operator.",
            ),
            Mistake(_one_more, "That goes one level too deep: with d = 0 nothing is evaluated."),
            Mistake(_one_fewer, "That stops one level too early: d levels are evaluated."),
            Mistake(
                _guess_of_the_root,
                "Each operator that isn't evaluated has its own guess, not that of the root.",
            ),
            Mistake(_puts_zero, "Put in the guess for the operator, not 0."),
            Mistake(
                _gives_up,
                "Something unknown below is no reason to give up: guess it, and evaluate the rest.",
            ),
            Mistake(
                _guesses_below,
                "Digits are never guessed: those of the last level are read as they are.",
            ),
        ),
    ),
    Exercise(
        name="listops-reach",
        reference=_levels,
        draw=_draw_stack,
        hints=(
            "How far back does one layer of J levels reach? Its dilations are 1, 2, 4, ...",
            "The lags of layers on top of each other add up.",
            "From the last of L steps to the first it is L - 1 steps.",
        ),
        mistakes=(
            Mistake(
                _one_layer,
                "That is enough for a single layer. The lags of all layers add up.",
            ),
            Mistake(
                _divides_levels,
                "Layers share the reach, not the levels: a level less halves what a layer reaches.",
            ),
            Mistake(_taps_not_gaps, "K taps have K - 1 gaps between them."),
            Mistake(_whole_length, "The first step is L - 1 steps before the last, not L."),
            Mistake(
                _last_level,
                "That is the reach of the coarsest level alone. All levels of a layer follow each "
                "other: 1 + 2 + 4 + ...",
            ),
            Mistake(_no_minus_one, "The dilations 1 + 2 + ... + 2^(J-1) sum to 2^J - 1."),
            Mistake(_undilated, "Each level doubles the dilation, so the reach grows as 2^J."),
        ),
    ),
    Exercise(
        name="listops-pool",
        reference=_largest,
        draw=_draw_padded,
        shrink=False,  # the padding has to stay what it is
        hints=(
            "torch.arange(x.shape[1]) < lengths[:, None] says which steps are real.",
            "Replace what stands in the padding, so that it never wins. Which number is never the "
            "largest?",
            "Zero is larger than all negative numbers, and zero times NaN is NaN: use masked_fill "
            "with -torch.inf.",
        ),
        mistakes=(
            Mistake(lambda x, lengths: x.amax(1), "The padding takes part in that maximum."),
            Mistake(
                _zeros_win,
                "Zero isn't nothing: where all real values are negative, the padding wins. Put "
                "-torch.inf there.",
            ),
            Mistake(_one_step_more, "That is one step too many: step lengths[i] is padding."),
            Mistake(_last_step, "That is the last real step alone, as a recurrent network has it."),
            Mistake(_pool, "That is the mean over the real steps. Take the largest of them."),
            Mistake(
                _largest_size, "That is the largest size, without signs. Take the largest value."
            ),
            Mistake(_one_number, "Each example has maxima of its own: the shape is (B, D)."),
            Mistake(_over_channels, "Each channel has a maximum of its own: the shape is (B, D)."),
        ),
    ),
    Exercise(
        name="listops-statistics",
        reference=_statistics,
        draw=_draw_padded,
        shrink=False,  # the padding has to stay what it is
        hints=(
            "There is one mean per channel, over all real steps of all examples.",
            "Boolean indexing lays them end to end: x[mask] with a mask of shape (B, L).",
            "Batch normalization divides the sum of squares by their number, not by one less.",
        ),
        mistakes=(
            Mistake(
                _means_of_examples,
                "That gives each example the same weight. Each real step counts once, so longer "
                "ones count more.",
            ),
            Mistake(_padding_counts, "The padding is among the steps: leave it out."),
            Mistake(
                _zeros_count, "Zeros in place of the padding are still counted as steps: too many."
            ),
            Mistake(
                _centers_padding,
                "The mean is right. But zeros in the padding become -mean when it is subtracted, "
                "and add to the variance: mask once more.",
            ),
            Mistake(
                _unbiased,
                "Batch normalization divides by the number of steps, not by one less: "
                "correction=0.",
            ),
            Mistake(_deviation, "The second one is the variance, not its root."),
            Mistake(
                _each_example,
                "Those are statistics of each example. Batch normalization takes them over the "
                "whole batch.",
            ),
        ),
    ),
)
