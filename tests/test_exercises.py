"""The checker with exercises of its own, then every exercise of the book with its notebook."""

from __future__ import annotations

import ast
import html
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT

import mrbook.exercises
from mrbook.exercises import engine
from mrbook.exercises.compare import difference, show_value
from mrbook.exercises.engine import Exercise, Mistake, check, exercises, hint
from mrbook.exercises.result import Result
from mrbook.exercises.shrink import simpler

# An exercise of its own, and wrong answers of every kind


def averages(x):
    pairs = x.reshape(-1, 2)
    return pairs.sum(1) / 2**0.5


def draw_pairs(rng, size):
    return (torch.from_numpy(rng.standard_normal(2 * size)),)


TOY = Exercise(
    name="toy-averages",
    reference=averages,
    draw=draw_pairs,
    hints=("Look at pairs.", "Mind the energy."),
    mistakes=(
        Mistake(lambda x: (x[::2] + x[1::2]) / 2, "A plain mean loses energy."),
        Mistake(lambda x: x[::2] * 2**0.5, "The newer sample counts too."),
        Mistake(lambda x: x.view(3, -1).sum(0), "This only works by threes."),
    ),
)
VALUE = Exercise(
    name="toy-taps",
    reference=(0.25, 0.5, 0.125),
    hints=("One.", "Two."),
    mistakes=(Mistake((0.5, 1.0, 0.25), "These sum to more than one."),),
    rtol=1e-3,
)


@pytest.fixture(autouse=True)
def book(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the toys beside the exercises of the book, and start with the first hints."""
    known = {**exercises(), TOY.name: TOY, VALUE.name: VALUE}
    monkeypatch.setattr(engine, "exercises", lambda: known)
    monkeypatch.setattr(engine, "_steps", {})


def right_in_place(x: torch.Tensor) -> torch.Tensor:
    x[::2] += x[1::2]
    return x[::2].clone() / 2**0.5


def raises(x: torch.Tensor) -> torch.Tensor:
    raise IndexError("far out")


def with_a_nan(x: torch.Tensor) -> torch.Tensor:
    y = averages(x)
    y[-1] = torch.nan
    return y


WRONG = {
    "broadcasting shape": (lambda x: averages(x)[:, None], "The shape is (1, 1), expected (1,)."),
    "too long": (lambda x: x, "The shape is (2,), expected (1,)."),
    "dtype": (lambda x: averages(x).float(), "The dtype is torch.float32, expected torch.float64."),
    "type": (lambda x: averages(x).numpy(), "Expected a tensor, got a NumPy array."),
    "list": (lambda x: averages(x).tolist(), "Expected a tensor, got a list."),
    "value": (lambda x: averages(x) + 1, "The value differs."),
    "slightly": (lambda x: averages(x) * (1 + 1e-5), "The value differs."),
    "nan": (with_a_nan, "1 of 1 values are NaN, the first at index 0."),
    "raise": (raises, "Your function raises IndexError: far out."),
    "arguments": (lambda: 1, "takes 0 positional arguments but 1 was given"),
    "mutate": (right_in_place, "Your function changes its input: work on a copy."),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_function_fails_with_a_reason(kind: str) -> None:
    answer, reason = WRONG[kind]
    result = check("toy-averages", answer)
    assert not result
    assert result.status == "not yet"
    assert reason in repr(result)
    assert html.escape(reason) in result._repr_html_()
    labels = [label for label, _ in result.rows]
    assert labels == ["x", "expected"] + ["got"] * (kind not in ("raise", "arguments"))


def test_the_right_function_passes() -> None:
    result = check("toy-averages", lambda x: (x[1::2] + x[::2]) * 0.5**0.5)
    assert result and result.status == "correct"
    assert repr(result) == "toy-averages: correct. It agrees with the reference on 30 inputs."


@pytest.mark.parametrize("answer", [None, ..., lambda x: None, lambda x: ...])
@pytest.mark.parametrize("name", ["toy-averages", "toy-taps"])
def test_a_stub_is_not_answered_yet(name: str, answer: Any) -> None:
    if name == "toy-taps" and callable(answer):
        assert "got a function" in repr(check(name, answer))
        return
    result = check(name, answer)
    assert not result
    assert repr(result).startswith(f"{name}: not answered yet.")


def test_a_result_in_place_of_the_function_is_explained() -> None:
    result = check("toy-averages", averages(torch.ones(4)))
    assert "A function is expected, got a tensor." in repr(result)
    assert "Pass the function itself" in repr(result)


def test_the_counterexample_is_small_and_simple() -> None:
    result = check("toy-averages", lambda x: (x[::2] + x[1::2]) / 2)
    assert result.rows == (
        ("x", "tensor([1., 0.], float64)"),
        ("expected", "tensor([0.7071], float64)"),
        ("got", "tensor([0.5], float64)"),
    )


def test_a_mistake_that_shows_on_long_inputs_only_is_found() -> None:
    def forgets_the_last(x: torch.Tensor) -> torch.Tensor:
        y = averages(x)
        if len(y) > 10:
            y[-1] = 0
        return y

    result = check("toy-averages", forgets_the_last)
    assert "1 of 11 values differs, the first at index 10." in repr(result)
    (_, shown), *_ = result.rows
    assert shown.count("1.") == 1 and shown.count("0.") == 21


def test_shrinking_keeps_the_kind_of_failure_and_can_be_switched_off() -> None:
    def root(x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)

    def picky(x: np.ndarray) -> np.ndarray:
        assert (x > 0).all()
        return np.sqrt(x) + 1

    toy = Exercise(
        name="root",
        reference=root,
        draw=lambda rng, size: (rng.uniform(1, 2, size),),
        hints=(),
        mistakes=(),
    )
    assert toy.check(picky).rows[0] == ("x", "array([1.])")
    fixed = Exercise(**{**vars(toy), "shrink": False})
    drawn = np.random.default_rng((1, 0)).uniform(1, 2, 1)
    assert fixed.check(picky).rows[0] == ("x", show_value(drawn))


def test_only_simpler_inputs_are_tried() -> None:
    fixed = ("haar", 3)
    assert list(simpler((*fixed, np.zeros(3), torch.arange(4)))) == []
    found = list(simpler((*fixed, torch.tensor([0.0, 1.0]))))
    assert found
    for *kept, candidate in found:
        assert tuple(kept) == fixed and torch.equal(candidate, torch.zeros(2))
    given = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    for (candidate,) in simpler((given,)):
        assert candidate.shape == given.shape and candidate.dtype == given.dtype
        assert (candidate == candidate.round()).sum() >= 1


def test_arrays_with_nan_and_infinities_become_simpler_too() -> None:
    given = np.array([np.nan, 0.3, -np.inf, 5.0, np.nan])
    found = [candidate for (candidate,) in simpler((given,))]
    assert any(np.isfinite(candidate).all() for candidate in found)
    for index, value in ((0, 1.0), (1, 0.0), (2, 1.0), (3, 1.0), (4, 0.0)):
        expected = given.copy()
        expected[index] = value
        assert any(np.array_equal(expected, candidate, equal_nan=True) for candidate in found)
    assert not any(np.array_equal(given, candidate, equal_nan=True) for candidate in found)
    for start in (given, torch.tensor([math.nan, math.inf], dtype=torch.float32)):
        args, steps = (start,), 0
        while (following := next(simpler(args), None)) is not None:  # comes to an end
            args, steps = following, steps + 1
        assert 0 < steps < 20 and not args[0].any()


def test_an_answer_that_fails_on_nan_is_shown_a_simple_one() -> None:
    toy = Exercise(
        name="count",
        reference=lambda x: int(np.isfinite(x).sum()),
        draw=lambda rng, size: (np.append(rng.normal(size=size), np.nan),),
        hints=(),
        mistakes=(),
    )
    result = toy.check(lambda x: x.size)
    assert not result
    shown = dict(result.rows)["x"]
    assert "nan" in shown and set(re.findall(r"[\d.]+", shown)) <= {"0."}


def test_differences_behind_the_shown_digits_are_shown() -> None:
    rows = dict(check("toy-averages", lambda x: averages(x) * (1 + 1e-5)).rows)
    assert rows["expected"] != rows["got"]


@pytest.mark.parametrize("mistake", TOY.mistakes)
def test_a_registered_mistake_is_recognized(mistake: Mistake) -> None:
    result = check("toy-averages", lambda x: mistake.answer(x))
    assert result.says == mistake.says
    assert mistake.says in repr(result)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: -averages(x), "sign flipped"),
        (lambda x: averages(x).flip(0), "in reversed order"),
        (lambda x: averages(x).roll(1), "one place too late"),
        (lambda x: averages(x).roll(-1), "one place too early"),
        (lambda x: averages(x) * 2**0.5, "It is √2 times the right answer"),
        (lambda x: averages(x) * 3, "It is 3 times the right answer"),
        (lambda x: averages(x)[:, None], "nothing is broadcast"),
    ],
)
def test_a_pattern_is_recognized_where_no_mistake_is_registered(
    answer: Callable[..., Any], says: str
) -> None:
    assert says in check("toy-averages", answer).says


def test_without_a_diagnosis_a_hint_is_offered() -> None:
    result = check("toy-averages", lambda x: averages(x) ** 2)
    assert result.says == ""
    assert 'Stuck? hint("toy-averages") helps.' in repr(result)


def test_a_check_repeats() -> None:
    results = [repr(check("toy-averages", lambda x: averages(x).sin())) for _ in range(2)]
    assert results[0] == results[1]


def test_warnings_and_prints_of_an_answer_do_no_harm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def noisy(x: torch.Tensor) -> torch.Tensor:
        print("seen", len(x))
        np.log(np.zeros(1))
        return averages(x) + 1

    assert "The value differs." in repr(check("toy-averages", noisy)), "a warning is no error"
    assert capsys.readouterr().out == "seen 2\n", "shrinking must not repeat what an answer prints"


# Answers that are values


def test_a_rounded_mistake_is_recognized_with_the_tolerance_of_the_exercise() -> None:
    assert check("toy-taps", (0.5, 1.0, 0.2501)).says == "These sum to more than one."
    assert check("toy-taps", (0.5, 1.0, 0.26)).says == ""


def test_no_pattern_tells_a_value() -> None:
    for factor in (-1, 3, 2**0.5):
        assert check("toy-taps", tuple(factor * tap for tap in VALUE.reference)).says == ""


@pytest.mark.parametrize(
    "answer",
    [
        (0.25, 0.5, 0.125),
        [0.25, 0.5, 0.1251],
        np.array([0.25, 0.5, 0.125]),
        torch.tensor([1, 2, 0.5]) / 4,
    ],
)
def test_a_right_value_passes_as_tuple_list_array_or_tensor(answer: Any) -> None:
    assert check("toy-taps", answer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((0.25, 0.5, 0.2), "Item 2: 0.2 is not right."),
        ((0.25, 0.5), "2 items, expected 3."),
        (0.25, "Expected a tuple of 3 items, got a float."),
        ((0.25, 0.5, "0.125"), "Item 2: expected a number, got a text."),
        ((0.25, float("nan"), 0.125), "Item 1: the number is NaN."),
        ((0.5, 1.0, 0.25), "These sum to more than one."),
        ((0.125, 0.5, 0.25), "Stuck?"),
        ([[0.25, 0.5, 0.125]], "1 items, expected 3."),
    ],
)
def test_a_wrong_value_fails_and_the_right_one_stays_hidden(answer: Any, reason: str) -> None:
    result = check("toy-taps", answer)
    assert not result
    assert reason in repr(result)
    assert [label for label, _ in result.rows] == ["got"]


@pytest.mark.parametrize(
    ("expected", "got", "reason"),
    [
        (3, 3, None),
        (3, np.int64(3), None),
        (3, torch.tensor(3), None),
        (3, 3.0, "3.0 has the right value, but a whole number"),
        (3, True, "expected a number, got a truth value"),
        (3, 4, "4 is not right"),
        (3.0, 3, None),
        (3.0, 3 + 1e-3, "3.001 is not right"),
        (3.0, 3 + 1e-12, None),
        (float("inf"), 3.0, "3 is not right"),
        (float("inf"), float("inf"), None),
        (3.0, 3j, "expected a real number"),
        (1j, 1j, None),
        (True, np.True_, None),
        (True, 1, "expected True or False, got an integer"),
        (True, False, "False is not right"),
        ("symmetric", " Symmetric ", None),
        ("symmetric", "periodic", "'periodic' is not right"),
        ("symmetric", 3, "expected a text, got an integer"),
        ({1, 2}, {2, 1}, None),
        ({1, 2}, {1}, "the sets differ"),
        ({1, 2}, [1, 2], "expected a set, got a list"),
        (np.arange(3), np.arange(3), None),
        (np.arange(3), np.arange(3.0), "the dtype is float64, expected int64"),
        (np.arange(3), torch.arange(3), "expected a NumPy array, got a tensor"),
        (np.ones(3), np.ones((3, 1)), "the shape is (3, 1), expected (3,)"),
        (np.ones(3), 1.0, "expected a NumPy array, got a float"),
        (np.array([np.nan, np.inf]), np.array([np.nan, np.inf]), None),
        (np.array([1.0, np.inf]), np.array([1.0, 5.0]), "1 of 2 values differs, the first at"),
        (np.zeros((0, 2)), np.zeros((0, 2)), None),
        (np.ones((2, 2)), np.eye(2), "2 of 4 values differ, the first at index (0, 1)"),
        (torch.ones(3), torch.ones(3) * (1 + 1e-5), None),
        (torch.ones(3).double(), torch.ones(3).double() * (1 + 1e-5), "3 of 3 values differ"),
        (torch.ones(3), torch.ones(3, requires_grad=True), None),
        ([torch.ones(2), 1], (torch.ones(2), 1), None),
        ([torch.ones(2), 1], [torch.ones(1), 1], "item 0: the shape is (1,), expected (2,)"),
    ],
)  # fmt: skip
def test_difference(expected: Any, got: Any, reason: str | None) -> None:
    found = difference(expected, got, rtol=1e-6, atol=1e-9)
    assert found == reason if reason is None else found and reason in found


def test_a_judge_accepts_every_right_answer() -> None:
    def judge(answer: Any) -> str | None:
        a, b = answer
        return None if a * a + b * b == 25 else f"{a}² + {b}² isn't 25"

    toy = Exercise(name="circle", reference=(3, 4), hints=(), mistakes=(), judge=judge)
    assert toy.check((3, 4)) and toy.check((0, -5))
    assert "3² + 3² isn't 25." in repr(toy.check((3, 3)))
    assert "can't be judged (TypeError" in repr(toy.check(5))


def test_a_judge_of_functions_sees_their_arguments() -> None:
    toy = Exercise(
        name="permute",
        reference=lambda x: x[::-1].copy(),
        draw=lambda rng, size: (rng.integers(0, 9, size),),
        hints=(),
        mistakes=(),
        judge=lambda y, x: None if sorted(y) == sorted(x) else "These aren't the same numbers",
    )
    assert toy.check(np.sort)
    result = toy.check(lambda x: x + 1)
    assert "These aren't the same numbers." in repr(result)
    assert [label for label, _ in result.rows] == ["x", "got"]


# Names, hints, definitions


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="no exercise is called 'toy-average'; did you mean 'toy-"):
        check("toy-average", 1)
    with pytest.raises(ValueError, match=r"no exercise is called 'zzzzzzzz'$"):
        hint("zzzzzzzz")


def test_hints_come_one_by_one_and_start_again() -> None:
    said = [repr(hint("toy-averages")) for _ in range(3)]
    assert said == ["Hint 1 of 2: Look at pairs.", "Hint 2 of 2: Mind the energy.", said[0]]
    assert repr(hint("toy-taps")) == "Hint 1 of 2: One."
    assert "Hint 2 of 2: Mind the energy." in hint("toy-averages")._repr_html_()


def test_definitions_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="a function as reference needs draw"):
        Exercise(name="a", reference=averages, hints=(), mistakes=())
    with pytest.raises(ValueError, match="a value has none"):
        Exercise(name="a", reference=1, draw=draw_pairs, hints=(), mistakes=())
    no_tuple = Exercise(
        name="a", reference=averages, draw=lambda rng, size: rng, hints=(), mistakes=()
    )
    with pytest.raises(TypeError, match="a: draw must return a tuple"):
        no_tuple.check(averages)


def test_what_a_page_shows_is_escaped() -> None:
    result = Result("a", "not yet", "<b>", (("<i>", "<u>"),), "<s>")
    assert not re.search("<[bius]>", result._repr_html_())


# Every exercise of the book


NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
BOOK = exercises()
USE = re.compile(r"""\bcheck\(\s*["']([^"']+)["']""")


def cells(notebook: Path) -> Iterator[tuple[set[str], str]]:
    """Yield the tags and the source of every code cell."""
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield set(cell["metadata"].get("tags", [])), "".join(cell["source"])


def imports(notebook: Path) -> str:
    """Return the notebook's own import statements."""
    found = []
    for tags, source in cells(notebook):
        if not tags & {"remove-cell", "solution"}:
            plain = "\n".join(li for li in source.splitlines() if not li.startswith(("%", "!")))
            for statement in ast.parse(plain).body:
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    found.append(ast.unparse(statement))
    return "\n".join(found)


def run_alone(notebook: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """Run a cell with nothing but imports before it; return what its checks say."""
    results: list[Result] = []

    def recorded(name: str, answer: Any) -> Result:
        results.append(check(name, answer))
        return results[-1]

    monkeypatch.setattr(mrbook.exercises, "check", recorded)
    space: dict[str, Any] = {"np": np, "torch": torch, "check": recorded, "hint": hint}
    with matplotlib.rc_context():
        matplotlib.use("agg")
        exec(imports(notebook), space)
        exec(source, space)
    plt.close("all")
    return results


@pytest.mark.parametrize("name", BOOK)
def test_the_reference_passes(name: str) -> None:
    result = check(name, BOOK[name].reference)
    assert result, repr(result)


@pytest.mark.parametrize("name", BOOK)
def test_typical_mistakes_fail_with_their_message(name: str) -> None:
    exercise = BOOK[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name), "words joined by hyphens"
    assert len(exercise.mistakes) >= 2 and len(exercise.hints) >= 2
    for mistake in exercise.mistakes:
        result = check(name, mistake.answer)
        assert not result, f"passes, but should be told: {mistake.says}"
        assert result.says == mistake.says, repr(result)


@pytest.mark.parametrize("name", BOOK)
def test_the_solution_is_not_told(name: str) -> None:
    exercise = BOOK[name]
    results = [check(name, m.answer) for m in exercise.mistakes] + [check(name, ...)]
    said = "\n".join([*map(repr, results), *(r._repr_html_() for r in results), *exercise.hints])
    if not callable(exercise.reference):
        assert all(label == "got" for result in results for label, _ in result.rows)
    if not inspect.isfunction(exercise.reference):
        return
    lines = inspect.getsource(exercise.reference).splitlines()
    code = [line.split("  #")[0].strip() for line in lines[1:]]
    told = [line for line in code if len(line) > 15 and line in said]
    assert not told


@pytest.mark.parametrize("name", BOOK)
def test_an_exercise_is_used_in_one_notebook(name: str) -> None:
    used = [n.name for n in NOTEBOOKS if any(name in USE.findall(s) for _, s in cells(n))]
    assert len(used) == 1, f"used in {used or 'no notebook'}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_solutions_pass_and_stubs_do_not(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solved, stubs = [], []
    for tags, source in cells(notebook):
        named = USE.findall(source)
        if "solution" in tags:
            assert len(named) == 1, f"a solution checks one exercise:\n{source}"
            assert re.match(rf"# ?@title Solution: {named[0]}\n", source)
            results = run_alone(notebook, source, monkeypatch)
            assert results and all(results), f"{named[0]}: {results}"
            solved += named
        elif named:
            for result in run_alone(notebook, source, monkeypatch):
                assert repr(result).startswith(f"{result.name}: not answered yet."), result
            stubs += named
    assert len(set(stubs)) >= 4, "a chapter has at least four exercises"
    assert sorted(stubs) == sorted(solved)
