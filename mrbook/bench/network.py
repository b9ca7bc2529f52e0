"""Whole networks on a GPU: a training step and where its time goes, and drawing."""

import contextlib
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.bench.device import ceilings
from mrbook.models import PixelModel, SequenceClassifier
from mrbook.models.graphs import CapturedDrawing
from mrbook.native import gpu
from mrbook.recipes import Recipe, find_recipe
from mrbook.train.evaluation import amp_dtype
from mrbook.train.optimizer import make_optimizer

__all__ = ["FORMS", "KINDS", "drawing", "step"]

#: What kernels' names tell of their purpose; the first kind that fits counts.
KINDS = {
    "layer": ("convolve", "correlate", "spread", "_tree_", "fft", "depthwise"),
    "matrix products": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "addmm", "::mm", "bmm"),
    "optimizer": ("adam", "multi_tensor"),
    "norm": ("norm",),
    "copies": ("copy", "memcpy", "memset", "fill"),
}

#: Forms of the training step by name: options of `torch.compile`, None for none of it. As a whole
#: the network is one large graph; block by block it is one small one, for all blocks are alike.
FORMS: dict[str, dict[str, Any] | None] = {
    "as it is": None,
    "blocks compiled": {},
    "compiled": {},
    "compiled, without Triton": {},
    "compiled, graphs": {"mode": "reduce-overhead"},
}


def step(device: str, dry: bool) -> Iterator[dict[str, Any]]:
    """Images per second of training the published network, in several forms, and a profile each.

    A form that fails says so and the next one begins. After each there is all that is known so far.
    """
    recipe = find_recipe("multires-scifar", "paper")
    most = ceilings(device, dry)
    entries: list[dict[str, Any]] = []
    result: dict[str, Any] = {"recipe": recipe.as_dict(), "ceilings": most, "forms": entries}
    result["wrong"] = 0
    # Each form is compiled anew, which may take minutes: the larger batch has two of them.
    batches = {50: list(FORMS), 250: ["blocks compiled", "compiled, without Triton"]}
    for batch, names in ({2: ["as it is"]} if dry else batches).items():
        for name in names:
            try:
                entry = _step_form(recipe, batch, name, most, device, dry)
            except Exception as error:
                traceback.print_exc()
                entry = {"failed": f"{type(error).__name__}: {error}"[:500]}
                result["wrong"] += 1
            entries.append({"batch": batch, "form": name, **entry})
            yield result


def _step_form(
    recipe: Recipe, batch: int, name: str, most: dict[str, float], device: str, dry: bool
) -> dict[str, Any]:
    options = dict(recipe.model) | ({"width": 8, "layers": 2} if dry else {})
    length = 32 if dry else 1024
    x = torch.randn(batch, 3, length, device=device)
    y = torch.randint(0, 10, (batch,), device=device)
    torch.manual_seed(0)
    model = SequenceClassifier(10, channels=3, length=length, **options).to(device)
    network: Any = model
    if (compile_options := FORMS[name]) is not None:
        torch.compiler.reset()
        if name == "blocks compiled":
            for block in model.blocks:
                block.compile(**compile_options)
        else:
            network = torch.compile(model, **compile_options)
    advance = _advance(model, network, x, y, recipe.lr, recipe.weight_decay)
    with _without_triton() if "without" in name else contextlib.nullcontext():
        start = time.perf_counter()
        advance()
        _wait(device)
        first = time.perf_counter() - start
        rate = batch / _step_seconds(advance, device, 2 if dry else 30)
        shares, busy = _profile(advance, device, 1 if dry else 10)
        triton = gpu.preferred(torch.bfloat16, x.device.type)
    operations = 3 * _product_operations(model, batch * length)
    used = operations * rate / batch / most["product_operations_per_second"]
    gaps = max(0.0, 1 - busy * rate / batch)
    parts = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
    print(
        f"batch {batch}, {name}: {rate:.0f} images/s, {45_000 / rate:.1f} s an epoch, "
        f"{used:.1%} of the matrix ceiling, idle {gaps:.0%}, first step {first:.0f} s; {parts}"
    )
    return {
        "triton": triton,
        "seconds_of_the_first_step": first,
        "images_per_second": rate,
        "seconds_an_epoch": 45_000 / rate,
        "of_the_matrix_ceiling": used,
        "gpu_seconds_a_step": busy,
        "gaps": gaps,
        "shares": shares,
    }


@contextlib.contextmanager
def _without_triton() -> Iterator[None]:
    """Within this nobody has asked for Triton's kernels."""
    asked = os.environ.pop("MRBOOK_TRITON", None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ["MRBOOK_TRITON"] = asked


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
        # An annotation is there again on the card, as long as the kernels within it.
        if event.is_user_annotation or (
            cuda and event.device_type != torch.autograd.DeviceType.CUDA
        ):
            continue
        sums[_kind(event.key)] += (
            event.self_device_time_total if cuda else event.self_cpu_time_total
        )
    total = sum(sums.values())
    return {kind: value / total for kind, value in sums.items()}, total / count / 1e6


def _kind(name: str) -> str:
    name = name.lower()
    return next((k for k, marks in KINDS.items() if any(mark in name for mark in marks)), "other")


def _product_operations(model: nn.Module, rows: int) -> int:
    """Floating-point operations of all linear maps that are applied at each time step, forward."""
    maps = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "head"]
    return sum(2 * rows * m.in_features * m.out_features for m in maps)


# ---- drawing ------------------------------------------------------------------------------------


def drawing(device: str, dry: bool) -> Iterator[dict[str, Any]]:
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
    yield {
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
