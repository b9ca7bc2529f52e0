"""Compare methods fairly: same answer first, then all of them in turn, round after round."""

import ctypes
import gc
import importlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Case", "Timing", "check_equal", "compare", "one_thread", "peak_memory", "run", "table"]

Result = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Case:
    """Methods to compare with the first of them, in their answers and in what they cost.

    Attributes
    ----------
    title : str
        What is computed, on what.
    methods : mapping from str to callable
        Each takes no argument and returns a tensor, an array, or a sequence of them.
    tolerance : float or None
        Largest difference allowed between results, relative to the largest value. None says that
        the methods are meant to compute different things: only shapes have to agree.
    memory : bool
        Whether to report the peak memory of each method too.
    rounds : int, optional
        At most so many rounds, for methods that take long.
    """

    title: str
    methods: Mapping[str, Callable[[], Any]]
    tolerance: float | None = 1e-5
    memory: bool = False
    rounds: int | None = None


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one method in seconds, one a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the rounds was faster than the first, a quarter slower than the second."""
        lower, _, upper = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return lower, upper

    def ratio(self, other: "Timing") -> float:
        """How many times longer this took than `other`: the median over the rounds."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def check_equal(results: Mapping[str, Result], tolerance: float | None) -> dict[str, float]:
    """Compare all results with the first.

    Parameters
    ----------
    results : mapping from str to tensor, array or sequence of them
        By method.
    tolerance : float or None
        Largest difference allowed, relative to the largest value of the first result. None: any,
        only shapes are compared.

    Returns
    -------
    dict from str to float
        The largest relative difference of each other method; empty if any is allowed.

    Raises
    ------
    ValueError
        If a result differs in shape or by more, with the names of both methods.

    Examples
    --------
    >>> check_equal({"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([1.0, 3.0])}, 0.3)
    {'b': 0.25}
    """
    (first, reference), *others = ((name, _tensors(result)) for name, result in results.items())
    largest = max(float(tensor.abs().max()) for tensor in reference)
    differences = {}
    for name, tensors in others:
        shapes = [[tuple(t.shape) for t in ts] for ts in (reference, tensors)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{first} and {name} differ in shape: {shapes[0]} and {shapes[1]}")
        if tolerance is None:
            continue
        pairs = zip(reference, tensors, strict=True)
        found = torch.tensor([float((a - b).abs().max()) for a, b in pairs], dtype=torch.float64)
        difference = float(found.max()) / largest  # unlike Python's, torch's max keeps a NaN
        if not difference <= tolerance:
            raise ValueError(f"{first} and {name} differ by {difference:.1e} > {tolerance:.1e}")
        differences[name] = difference
    return differences


def compare(
    methods: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 50,
    warmup: int = 3,
    device: str = "cpu",
) -> dict[str, Timing]:
    """Time methods in turn, so that a busy machine slows all of them alike.

    Parameters
    ----------
    methods : mapping from str to callable
        Each is called without arguments.
    repeats : int
        Rounds that are timed, at least 2.
    warmup : int
        Rounds before, not timed.
    device : str
        Where the methods run; a GPU is waited for after each call.

    Returns
    -------
    dict from str to Timing
        In the order of `methods`.

    Raises
    ------
    ValueError
        If `repeats` is below 2.

    Examples
    --------
    >>> timings = compare({"sum": lambda: torch.ones(9).sum()}, repeats=5)
    >>> len(timings["sum"].seconds)
    5
    """
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2, got {repeats}")
    wait = _waiter(device)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would hit whichever method happens to run
    try:
        for turn in range(-warmup, repeats):
            for name, method in methods.items():
                wait()
                start = time.perf_counter()
                method()
                wait()
                if turn >= 0:
                    seconds[name].append(time.perf_counter() - start)
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """For methods whose operations are too small to share, such as single time steps.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_memory(method: Callable[[], Any], device: str = "cpu") -> int | None:
    """Bytes that a call needs at its peak, beyond what was held before; the result counts.

    On a GPU the allocator tells; on the CPU the system does, on Linux alone.

    Returns
    -------
    int or None
        None where it can't be measured.

    Examples
    --------
    >>> peak = peak_memory(lambda: torch.zeros(1 << 22).add_(1))
    >>> peak is None or peak > 15 << 20
    True
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        method()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed must not hide what is used anew
        _PROCESS.joinpath("clear_refs").write_text("5")  # the peak starts again from here
        before = _resident("VmRSS")
        method()
        return max(0, _resident("VmHWM") - before)
    except (OSError, AttributeError, TypeError, StopIteration):
        return None


_PROCESS = Path("/proc/self")


def _resident(field: str) -> int:
    lines = _PROCESS.joinpath("status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def table(timings: Mapping[str, Timing], peaks: Mapping[str, int | None] | None = None) -> str:
    """Median, quartiles, and how many times the first method's time each takes.

    With `peaks` a column more, the peak memory of each in bytes.

    Examples
    --------
    >>> print(table({"ours": Timing((1e-3, 1e-3)), "theirs": Timing((2e-3, 3e-3))}))
    method      median           quartiles   ratio
    ours      1.000 ms      1.000 to 1.000    1.00
    theirs    2.500 ms      2.250 to 2.750    2.50
    """
    first = next(iter(timings.values()))
    rows: list[tuple[str, ...]] = [("method", "median", "quartiles", "ratio")]
    for name, timing in timings.items():
        low, high = (1e3 * quartile for quartile in timing.quartiles)
        median, ratio = f"{1e3 * timing.median:.3f} ms", f"{timing.ratio(first):.2f}"
        rows.append((name, median, f"{low:.3f} to {high:.3f}", ratio))
    if peaks:
        sizes = [peaks[name] for name in timings]
        column = ["memory", *("-" if n is None else f"{n / 2**20:.1f} MiB" for n in sizes)]
        rows = [(*row, cell) for row, cell in zip(rows, column, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        name.ljust(widths[0])
        + "".join(f"   {cell:>{w}}" for cell, w in zip(cells, widths[1:], strict=True))
        for name, *cells in rows
    )


def run(
    suite: str, *, repeats: int = 50, device: str = "cpu", show: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run a suite: for each case the check, the timings, and a table.

    Parameters
    ----------
    suite : str
        A name in `mrbook.bench.SUITES`.
    repeats, device
        As for `compare`.
    show : callable
        What to do with the text of each case.

    Returns
    -------
    dict
        What a record keeps: repeats, and for each case its title, the differences found between the
        results, and for each method the median and quartiles in seconds, the ratio to the first,
        and the peak memory in bytes where the case asks for it.

    Raises
    ------
    ValueError
        If the suite is unknown or methods disagree.
    ImportError
        If a package that a suite compares with is missing, with the way to install it.
    """
    from mrbook.bench import SUITES

    if suite not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {suite!r}")
    cases: Iterable[Case] = importlib.import_module(SUITES[suite]).cases(device)
    entries = []
    for case in cases:
        results = {name: method() for name, method in case.methods.items()}
        differences = check_equal(results, case.tolerance)
        del results
        peaks = None
        if case.memory:
            peaks = {name: peak_memory(method, device) for name, method in case.methods.items()}
        rounds = min(repeats, case.rounds or repeats)
        timings = compare(case.methods, repeats=rounds, warmup=min(3, rounds), device=device)
        show(f"{case.title}\n{table(timings, peaks)}\n")
        first = next(iter(timings.values()))
        methods = {
            name: {
                "median": timing.median,
                "quartiles": list(timing.quartiles),
                "ratio": timing.ratio(first),
                **({"peak_memory": peaks[name]} if peaks else {}),
            }
            for name, timing in timings.items()
        }
        entries.append({"title": case.title, "differences": differences, "methods": methods})
    return {"suite": suite, "device": device, "repeats": repeats, "cases": entries}


def _tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, list | tuple) else [result]
    return [torch.as_tensor(part).detach() for part in parts]


def _waiter(device: str) -> Callable[[], None]:
    kind = torch.device(device).type
    return {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(kind, lambda: None)
