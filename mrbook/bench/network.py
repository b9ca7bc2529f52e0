"""Whole networks on a GPU: a training step and where its time goes, and drawing."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.bench.device import ceilings
from mrbook.models import PixelModel, SequenceClassifier
from mrbook.models.graphs import CapturedDrawing
from mrbook.recipes import find_recipe
from mrbook.train.evaluation import amp_dtype
from mrbook.train.optimizer import make_optimizer

__all__ = ["KINDS", "drawing", "step"]

#: What kernels' names tell of their purpose; the first kind that fits counts.
KINDS = {
    "layer": ("_convolve", "_correlate", "_spread", "_tree_", "fft"),
    "matrix products": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "addmm", "::mm", "bmm"),
    "optimizer": ("adam", "multi_tensor"),
    "norm": ("norm",),
    "copies": ("copy", "memcpy", "memset", "fill"),
}


def step(device: str, dry: bool) -> dict[str, Any]:
    """Images per second of training the published network, in several forms, and a profile each."""
    recipe = find_recipe("multires-scifar", "paper")
    options = dict(recipe.model) | ({"width": 8, "layers": 2} if dry else {})
    length = 32 if dry else 1024
    most = ceilings(device, dry)
    # Each form is compiled anew, which takes a minute or two: the larger batch has one of them.
    forms: dict[str, dict[str, Any] | None] = {"as it is": None}
    batches = {2: forms}
    if not dry:
        forms |= {"compiled": {}, "compiled, graphs": {"mode": "reduce-overhead"}}
        batches = {50: forms, 250: {"compiled": {}}}
    entries = []
    for batch, chosen in batches.items():
        x = torch.randn(batch, 3, length, device=device)
        y = torch.randint(0, 10, (batch,), device=device)
        for name, compile_options in chosen.items():
            torch.manual_seed(0)
            model = SequenceClassifier(10, channels=3, length=length, **options).to(device)
            network: Any = model
            if compile_options is not None:
                torch.compiler.reset()
                network = torch.compile(model, **compile_options)
            advance = _advance(model, network, x, y, recipe.lr, recipe.weight_decay)
            rate = batch / _step_seconds(advance, device, 2 if dry else 30)
            shares, busy = _profile(advance, device, 1 if dry else 10)
            operations = 3 * _product_operations(model, batch * length)
            used = operations * rate / batch / most["product_operations_per_second"]
            entries.append(
                {
                    "batch": batch,
                    "form": name,
                    "images_per_second": rate,
                    "seconds_an_epoch": 45_000 / rate,
                    "of_the_matrix_ceiling": used,
                    "gpu_seconds_a_step": busy,
                    "gaps": max(0.0, 1 - busy * rate / batch),
                    "shares": shares,
                }
            )
            parts = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
            print(
                f"batch {batch}, {name}: {rate:.0f} images/s, {45_000 / rate:.1f} s an epoch, "
                f"{used:.1%} of the matrix ceiling, idle {entries[-1]['gaps']:.0%}; {parts}",
                flush=True,
            )
    return {"recipe": recipe.as_dict(), "ceilings": most, "forms": entries}


def _advance(
    model: nn.Module, network: Any, x: Tensor, y: Tensor, lr: float, weight_decay: float
) -> Callable[[], None]:
    """One step of `mrbook.train.fit`, with the data on the device and nobody looking."""
    optimizer = make_optimizer(model, lr, weight_decay, (0.9, 0.999))
    amp = amp_dtype(x.device)

    def advance() -> None:
        with torch.autocast(x.device.type, amp, enabled=amp is not None):
            outputs = network(x)
        loss = F.cross_entropy(outputs.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return advance


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _step_seconds(advance: Callable[[], None], device: str, count: int) -> float:
    for _ in range(min(5, count)):
        advance()
    times = []
    for _ in range(3):
        _wait(device)
        start = time.perf_counter()
        for _ in range(count):
            advance()
        _wait(device)
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def _profile(
    advance: Callable[[], None], device: str, count: int
) -> tuple[dict[str, float], float]:
    """Shares of the time that kernels take, by kind, and that time in seconds a step."""
    cuda = torch.device(device).type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if cuda else [])]) as p:
        for _ in range(count):
            advance()
        _wait(device)
    sums = dict.fromkeys([*KINDS, "other"], 0.0)
    for event in p.key_averages():
        if cuda and event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        name = event.key.lower()
        kind = next((k for k, marks in KINDS.items() if any(m in name for m in marks)), "other")
        sums[kind] += event.self_device_time_total if cuda else event.self_cpu_time_total
    total = sum(sums.values())
    return {kind: value / total for kind, value in sums.items()}, total / count / 1e6


def _product_operations(model: nn.Module, rows: int) -> int:
    """Floating-point operations of all linear maps that are applied at each time step, forward."""
    maps = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "head"]
    return sum(2 * rows * m.in_features * m.out_features for m in maps)


# ---- drawing ------------------------------------------------------------------------------------


def drawing(device: str, dry: bool) -> dict[str, Any]:
    """Images per second of a batch of 64: a CUDA graph, steps, and the network run again."""
    recipe = find_recipe("multires-drawing", "fast")
    options = dict(recipe.model) | ({"width": 8, "layers": 2} if dry else {})
    count, side = (2, 4) if dry else (64, 32)
    torch.manual_seed(0)
    model = PixelModel(length=side**2, **options).to(device).eval()

    drawn = CapturedDrawing(model, count)
    x = 2 * drawn.draw(seed=0).flatten(-2).to(torch.float32) / 255 - 1
    with torch.no_grad():
        expected = model(x)[..., -1]
    error = float((drawn.params - expected).norm() / expected.norm())

    def steps(length: int) -> None:
        for _ in model.pixels(count, length, seed=0):
            pass

    part = side**2 if dry else side**2 // 8  # each takes as long as the others
    rates = {
        "graph": count / _timed(lambda: drawn.draw(seed=1), device),
        "steps": count / _timed(lambda: steps(part), device) * part / side**2,
    }
    # The n-th pixel needs the network on n pixels; in between, the times are taken as linear.
    places = [max(1, side**2 * i // 8) for i in range(9)]
    with torch.no_grad():
        costs = [_timed(partial(model, x[..., :t]), device) for t in places]
    again = sum(
        (b - a) * (c + d) / 2
        for a, b, c, d in zip(places, places[1:], costs, costs[1:], strict=False)
    )
    rates["run again"] = count / (again + costs[0])
    for name, rate in rates.items():
        print(f"{name}: {rate:.3g} images/s, {rate / rates['run again']:.1f} times")
    print(f"error of the last pixel's parameters: {error:.1e}")
    return {
        "recipe": recipe.as_dict(),
        "count": count,
        "pixels": side**2,
        "images_per_second": rates,
        "error": error,
        "wrong": int(not error < 1e-2),
    }


def _timed(call: Callable[[], Any], device: str) -> float:
    call()
    times = []
    for _ in range(3):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
