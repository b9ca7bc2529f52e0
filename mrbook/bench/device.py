"""Time what takes microseconds on a GPU: calls in a CUDA graph, on more data than its cache has."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["ceilings", "poison", "relative_error", "seconds"]


def seconds(calls: Sequence[Callable[[], Any]], device: str, repeats: int = 20) -> float:
    """Median time of one call.

    On CUDA all calls are captured in one graph, whose replays have no gaps between launches; where
    a call can't be captured an ordinary loop is timed, gaps included. Give calls on different data,
    together several times the cache of the card.

    Parameters
    ----------
    calls : sequence of callable
        Each without arguments, doing the same on other data.
    device : str
        Where they run.
    repeats : int
        How often all of them are timed.

    Examples
    --------
    >>> seconds([lambda: torch.ones(9).sum()], "cpu", repeats=3) > 0
    True
    """
    if torch.device(device).type != "cuda":
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            for call in calls:
                call()
            times.append(time.perf_counter() - start)
        return statistics.median(times) / len(calls)

    def everything() -> None:
        for call in calls:
            call()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compile, choose tiles, set libraries up
        for _ in range(3):
            everything()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    run = graph.replay
    try:
        with torch.cuda.graph(graph):
            everything()
    except RuntimeError as error:
        print(f"timed with the gaps between launches, for no graph holds it: {error}", flush=True)
        torch.cuda.synchronize()
        run = everything
    run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times) / len(calls)


def ceilings(device: str, dry: bool = False) -> dict[str, float]:
    """What the machine reaches: bytes per second of a large copy, operations of a large product.

    The product is of bfloat16 numbers drawn at random, for a product of zeros is faster.
    """
    size, side = (1 << 12, 64) if dry else (1 << 32, 8192)
    x = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return {
        "copy_bytes_per_second": 2 * size / seconds([lambda: y.copy_(x)], device, 10),
        "product_operations_per_second": 2 * side**3 / seconds([lambda: a @ b], device, 10),
    }


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The norm of the difference by that of what was expected, in float64; NaN if there is any.

    Examples
    --------
    >>> relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0]))
    0.1
    """
    a, b = (tensor.detach().to("cpu", torch.float64) for tensor in (actual, expected))
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
    norm = float(b.norm())
    return float((a - b).norm()) / (norm or 1.0)


def poison(like: Sequence[Tensor]) -> None:
    """Leave NaN in the memory that the next tensors of these shapes will be given."""
    held = [torch.full_like(tensor, float("nan")) for tensor in like for _ in range(3)]
    del held
