"""How an exercise is described, and how an answer to it is checked.

A chapter's exercises are the tuple ``EXERCISES`` of ``chapter_NN.py`` beside this file:

>>> import torch
>>> def draw_pairs(rng, size):
...     return (torch.from_numpy(rng.standard_normal(2 * size)),)
>>> def averages(x):
...     return (x[::2] + x[1::2]) / 2**0.5
>>> EXERCISES = (
...     Exercise(
...         name="haar-averages",
...         reference=averages,
...         draw=draw_pairs,
...         hints=(
...             "Which two samples does the first coefficient see?",
...             "An orthonormal average divides by √2.",
...         ),
...         mistakes=(
...             Mistake(lambda x: (x[::2] + x[1::2]) / 2, "A plain mean loses energy: use √2."),
...             Mistake(lambda x: (x[:-1] + x[1:]) / 2**0.5, "Step by two: pairs don't overlap."),
...         ),
...     ),
... )
>>> EXERCISES[0].check(lambda x: (x[::2] + x[1::2]) / 2)
haar-averages: not yet. The value differs.
  x         tensor([1., 0.], float64)
  expected  tensor([0.7071], float64)
  got       tensor([0.5], float64)
A plain mean loses energy: use √2.
>>> EXERCISES[0].check(averages)
haar-averages: correct. It agrees with the reference on 30 inputs.

Where the answer is a value, there is no ``draw``, and reference and mistakes hold values.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import importlib
import inspect
import io
import pkgutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrbook.exercises.compare import as_numpy, difference, name_type, pattern, show_value
from mrbook.exercises.result import Hint, Result
from mrbook.exercises.shrink import simpler

__all__ = ["Exercise", "Mistake", "check", "exercises", "hint"]

TRIALS = 3  # inputs of each size
SHRINK_RUNS = 200
SHRINK_SECONDS = 3.0


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer and what to tell whoever gives it."""

    answer: Any
    says: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is right, how it is tried, and what helps.

    Parameters
    ----------
    name : str
        What `check` and `hint` are called with, unique in the book; words joined by hyphens.
    reference : callable or value
        The right answer. It returns, or is, a tensor, array, number, bool, str, set, or a tuple or
        list of them; answers must match it in type, shape and dtype.
    draw : callable, optional
        ``draw(rng, size)`` returns the tuple of arguments of one call, drawn from the
        `numpy.random.Generator` `rng`; small for a small `size`, which starts at 1. None if the
        answer is a value.
    hints : sequence of str
        Steps of help, the first one gentle, none of them the solution.
    mistakes : sequence of Mistake
        Typical wrong answers. Whoever gives one is told what it `says`.
    rtol, atol : float, optional
        Values may differ by ``atol + rtol * max|expected|``.
    judge : callable, optional
        For exercises with many right answers: ``judge(value, *args)`` returns None for a right
        value and else one sentence on what is wrong. It replaces the comparison with `reference`,
        which is then one of the right answers.
    sizes : sequence of int, optional
        Sizes to draw, ascending.
    shrink : bool, optional
        Whether floating-point inputs may be replaced by simpler ones (zeros, ones, integers) of the
        same shape in search of a small counterexample. Switch it off where inputs have to keep a
        property that `draw` gives them.
    """

    name: str
    reference: Any
    hints: Sequence[str]
    mistakes: Sequence[Mistake]
    draw: Callable[[np.random.Generator, int], tuple[Any, ...]] | None = None
    rtol: float = 1e-6
    atol: float = 1e-9
    judge: Callable[..., str | None] | None = None
    sizes: Sequence[int] = (1, 2, 3, 4, 5, 6, 8, 11, 16, 24)
    shrink: bool = True

    def __post_init__(self) -> None:
        if callable(self.reference) != (self.draw is not None):
            raise ValueError(f"{self.name}: a function as reference needs draw, a value has none")

    def check(self, answer: Any) -> Result:
        """Return what is to be said about an answer; `check` calls this."""
        if answer is None or answer is ...:
            return Result(self.name, "not answered yet")
        if self.draw is None:
            return self._check_value(answer)
        if not callable(answer):
            return Result(
                self.name,
                "not yet",
                f"A function is expected, got {name_type(answer)}.",
                says="Pass the function itself, without calling it.",
            )
        return self._check_function(answer)

    def _check_value(self, answer: Any) -> Result:
        problem = self._problem(_Outcome(answer), _Outcome(self.reference), ())
        if problem is None:
            return Result(self.name, "correct")
        outcome = _Outcome(answer)
        said = (m.says for m in self.mistakes if self._agree(_Outcome(m.answer), outcome))
        says = next(said, "")  # a pattern, such as a factor, would tell a single value
        rows = (("got", show_value(answer)),)
        return Result(self.name, "not yet", _sentence(problem[1]), rows, says)

    def _check_function(self, answer: Callable[..., Any]) -> Result:
        inputs = self._inputs()
        seen: list[tuple[Any, ...]] = []
        for args in inputs:
            seen.append(args)
            expected = _run(self.reference, args)
            if expected.error:
                raise RuntimeError(f"{self.name}: the reference fails") from expected.error
            got = _run(answer, args, quiet=False)
            problem = self._problem(got, expected, args)
            if problem is None:
                continue
            if problem[0] == "unanswered":
                return Result(self.name, "not answered yet", problem[1])
            seen.extend(inputs)
            says = self._diagnosis(answer, seen)
            args = self._shrunk(answer, args, problem[0])
            expected, got = _run(self.reference, args), _run(answer, args)
            problem = self._problem(got, expected, args) or problem
            rows = [*zip(self._argument_names(args), map(show_value, args), strict=True)]
            digits = 4
            if show_value(expected.value) == show_value(got.value):
                digits = 15  # they differ further behind the point
            if self.judge is None:
                rows.append(("expected", show_value(expected.value, digits)))
            if got.error is None:
                rows.append(("got", show_value(got.value, digits)))
            return Result(self.name, "not yet", _sentence(problem[1]), tuple(rows), says)
        return Result(self.name, "correct", f"It agrees with the reference on {len(seen)} inputs.")

    def _inputs(self) -> Iterator[tuple[Any, ...]]:
        assert self.draw is not None
        for size in self.sizes:
            for trial in range(TRIALS):
                args = self.draw(np.random.default_rng((size, trial)), size)
                if not isinstance(args, tuple):
                    raise TypeError(f"{self.name}: draw must return a tuple of arguments")
                yield args

    def _problem(
        self, got: _Outcome, expected: _Outcome, args: tuple[Any, ...]
    ) -> tuple[str, str] | None:
        """Return the kind of a failure and its description, or None."""
        if got.error is not None:
            last = traceback.format_exception_only(got.error)[-1].strip()
            return "raise", f"your function raises {last}"
        if got.value is ...:
            return "unanswered", ""
        if got.value is None:
            return "unanswered", "Your function returns None."
        if self.judge is None:
            text = difference(expected.value, got.value, rtol=self.rtol, atol=self.atol)
        else:
            try:
                text = self.judge(got.value, *copy.deepcopy(args))
            except Exception as error:  # an answer of a kind that the judge can't read
                text = f"{show_value(got.value)} can't be judged ({type(error).__name__}: {error})"
        if got.changed:
            changes = "your function changes its input: work on a copy"
            return ("value", f"{text}; besides, {changes}") if text else ("changes", changes)
        return ("value", text) if text else None

    def _diagnosis(self, answer: Callable[..., Any], inputs: list[tuple[Any, ...]]) -> str:
        """Return what fits on all inputs: a mistake's words, or a pattern's in the largest."""
        outcomes = [_run(answer, args) for args in inputs]
        for mistake in self.mistakes:
            if all(
                self._agree(_run(mistake.answer, args), outcome)
                for args, outcome in zip(inputs, outcomes, strict=True)
            ):
                return mistake.says
        if self.judge or outcomes[-1].error:
            return ""
        return pattern(_run(self.reference, inputs[-1]).value, outcomes[-1].value)

    def _agree(self, mistake: _Outcome, answer: _Outcome) -> bool:
        if mistake.error or answer.error:
            return type(mistake.error) is type(answer.error)
        if mistake.changed != answer.changed:
            return False
        try:
            problem = difference(mistake.value, answer.value, rtol=self.rtol, atol=self.atol)
        except TypeError:
            return False
        return problem is None

    def _shrunk(
        self, answer: Callable[..., Any], args: tuple[Any, ...], kind: str
    ) -> tuple[Any, ...]:
        """Return simpler arguments of the same shapes on which the answer fails in the same way."""
        if not self.shrink:
            return args
        runs, deadline = 0, time.monotonic() + SHRINK_SECONDS
        progress = True
        while progress:
            progress = False
            for candidate in simpler(args):
                if runs >= SHRINK_RUNS or time.monotonic() > deadline:
                    return args
                runs += 1
                expected = _run(self.reference, candidate)
                if expected.error:
                    continue
                problem = self._problem(_run(answer, candidate), expected, candidate)
                if problem and problem[0] == kind:
                    args, progress = candidate, True
                    break
        return args

    def _argument_names(self, args: tuple[Any, ...]) -> list[str]:
        names = list(inspect.signature(self.reference).parameters)
        return names if len(names) == len(args) else [f"input {i}" for i in range(len(args))]


def check(name: str, answer: Any) -> Result:
    """Check an answer to an exercise.

    A function is called with random inputs, small ones first, and compared with the reference by
    value, type, shape and dtype. If it goes wrong, the smallest counterexample found is shown.

    Parameters
    ----------
    name : str
        The name of the exercise.
    answer : callable or value
        Your function, or your result.

    Returns
    -------
    Result
        True in an ``if`` or ``assert`` when the answer is right; says what is wrong otherwise.

    Raises
    ------
    ValueError
        If no exercise has this name.
    """
    return _find(name).check(answer)


def hint(name: str) -> Hint:
    """Return the next hint for an exercise; after the last one, the first one again.

    Parameters
    ----------
    name : str
        The name of the exercise.

    Returns
    -------
    Hint
        Shown where a cell ends with it.

    Raises
    ------
    ValueError
        If no exercise has this name.
    """
    hints = _find(name).hints
    step = _steps[name] = _steps.get(name, -1) + 1
    number = step % len(hints)
    return Hint(f"Hint {number + 1} of {len(hints)}: {hints[number]}")


_steps: dict[str, int] = {}


@functools.cache
def exercises() -> dict[str, Exercise]:
    """Return every exercise of the book by its name.

    Examples
    --------
    >>> all(name == exercise.name for name, exercise in exercises().items())
    True
    """
    import mrbook.exercises as package

    found: dict[str, Exercise] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        if not module.startswith("chapter_"):
            continue
        for exercise in importlib.import_module(f"{package.__name__}.{module}").EXERCISES:
            if exercise.name in found:
                raise ValueError(f"two exercises are called {exercise.name!r}")
            found[exercise.name] = exercise
    return found


def _find(name: str) -> Exercise:
    known = exercises()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
        text = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"no exercise is called {name!r}{text}")
    return known[name]


@dataclass(frozen=True)
class _Outcome:
    """What a call gave: a value or an error, and whether its arguments changed."""

    value: Any = None
    error: Exception | None = None
    changed: bool = False


def _run(function: Callable[..., Any], args: tuple[Any, ...], *, quiet: bool = True) -> _Outcome:
    given = copy.deepcopy(args)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if quiet:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            value = function(*given)
        except Exception as error:  # whatever a reader's function raises is shown to the reader
            return _Outcome(error=error)
    return _Outcome(value, changed=any(map(_changed, args, given)))


def _changed(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor | np.ndarray):
        a, b = as_numpy(before), as_numpy(after)
        return not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(before, list | tuple):
        return len(before) != len(after) or any(map(_changed, before, after))
    return False


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."
