"""All that wants measuring when a GPU is at hand: ``python -m mrbook.bench.gpu``.

Four pieces, in order of worth, each below ten minutes. A piece prints a short table and writes a
record, ``gpu/PIECE.json`` in the folder given; a piece that fails says so and the next one begins.

- ``check``: kernels and layers on the card against float64, before anything is timed.
- ``speed``: MultiresConv by every method, beside copying its input, and what was counted before.
- ``step``: a training step of the published network, and what its time goes to.
- ``drawing``: images per second by steps in a CUDA graph, and by running the network again.

``--dry`` does the same on the CPU in sizes that mean nothing, to see that it runs; Triton's kernels
then need ``TRITON_INTERPRET=1``, and are left out without.
"""

import argparse
import itertools
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.bench.device import ceilings, poison, relative_error, seconds
from mrbook.bench.estimate import CARDS, estimate
from mrbook.bench.multires import conv1d_tree
from mrbook.longconv import fft_conv
from mrbook.models.layers import LAYERS, make_layer
from mrbook.multires import MultiresConv, multires_kernel
from mrbook.native import gpu
from mrbook.records import write_record

__all__ = ["PIECES", "main"]

Payload = dict[str, Any]
SHORT = torch.bfloat16
#: Norm of the error by that of the result. A dtype's share is the rounding of inputs and output.
LIMITS = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def _kernels(device: str) -> bool:
    """Whether Triton's kernels run here."""
    return gpu.available(SHORT, device) or (device == "cpu" and gpu.interpreted())


# ---- right --------------------------------------------------------------------------------------


def check(device: str, dry: bool) -> Payload:
    """Compare with float64: the kernels over ragged sizes, then every layer."""
    torch.manual_seed(0)
    rows = []
    parts = [_check_layers(device, dry)]
    if _kernels(device):
        parts = [_check_conv(device, dry), _check_tree(device, dry), *parts]
    for what, dtype, error, limit in itertools.chain(*parts):
        good = error <= limit
        kept = error if math.isfinite(error) else None  # a record holds numbers alone
        rows.append(
            {"what": what, "dtype": str(dtype)[6:], "error": kept, "limit": limit, "right": good}
        )
        print(f"{'' if good else 'WRONG '}{what}, {rows[-1]['dtype']}: {error:.1e} ({limit:.0e})")
    wrong = sum(not row["right"] for row in rows)
    print(f"{len(rows) - wrong} right, {wrong} wrong")
    return {"rows": rows, "wrong": wrong}


Checks = Iterator[tuple[str, torch.dtype, float, float]]


def _check_conv(device: str, dry: bool) -> Checks:
    from mrbook.native import triton_conv

    sizes = [(50, 32, 1024, 1024), (1, 2, 1, 1), (3, 5, 1000, 333), (65, 3, 517, 2000)]
    sizes += [(2, 4, 16384, 16384), (4, 64, 4096, 64)]
    for batch, channels, length, taps in [(2, 1, 20, 33)] if dry else sizes:
        for dtype in (torch.float32, SHORT, torch.float16):
            u, g = (torch.randn(batch, channels, length, device=device) for _ in range(2))
            k = torch.randn(channels, taps, device=device) / taps**0.5
            u, g = u.to(dtype).requires_grad_(), g.to(dtype)
            k.requires_grad_()
            poison([u, k])
            y = triton_conv.causal_conv(u, k)
            exact = [tensor.detach().double().requires_grad_() for tensor in (u, k)]
            expected = fft_conv(exact[0], exact[1][:, :length])
            pairs = {"output": (y, expected)}
            gradients = torch.autograd.grad(y, (u, k), g)
            for name, *pair in zip(
                ("input", "taps"),
                gradients,
                torch.autograd.grad(expected, exact, g.double()),
                strict=True,
            ):
                pairs[f"gradient of {name}"] = (pair[0], pair[1])
            pairs["gelu"] = (triton_conv.causal_conv_gelu(u, k), F.gelu(expected))
            for name, (actual, wanted) in pairs.items():
                what = f"conv {batch} x {channels} x {length}, {taps} taps, {name}"
                limit = LIMITS[dtype] * (2 if gpu.interpreted() else 1)  # it cuts off, not rounds
                yield what, dtype, relative_error(actual, wanted), limit


def _check_tree(device: str, dry: bool) -> Checks:
    from mrbook.native import triton_multires

    length, channels = (20, 1) if dry else (1024, 64)
    most = (2,) if dry else (2, 4)
    for taps, tied, uniform in itertools.product(most, (True, False), (None, 20)):
        memory: dict[str, Any] = {"memory": "uniform", "memory_size": uniform} if uniform else {}
        layer = MultiresConv(
            channels, taps, length=length, tie_levels=tied, device=device, **memory
        )
        h0, h1, w = inputs = [layer.h0, layer.h1, layer.w]
        g = torch.randn(channels, length, device=device)
        k = triton_multires.multires_kernel(length, h0, h1, w, layer.kept)
        exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
        expected = multires_kernel(length, exact[0], exact[1], exact[2], layer.kept)
        ours = [k, *torch.autograd.grad(k, inputs, g)]
        theirs = [expected, *torch.autograd.grad(expected, exact, g.double())]
        for name, a, b in zip(("kernel", "h0", "h1", "w"), ours, theirs, strict=True):
            what = f"tree of {taps} taps, tied {tied}, uniform {uniform}, {name}"
            yield what, torch.float32, relative_error(a, b), LIMITS[torch.float32]


def _check_layers(device: str, dry: bool) -> Checks:
    batch, channels, length = (2, 4, 24) if dry else (4, 32, 512)
    for name in LAYERS:
        torch.manual_seed(0)
        layer = make_layer(name, channels, length).eval()
        u = torch.randn(batch, channels, length)
        exact_u = u.double().requires_grad_()
        exact = layer.double()(exact_u)
        g = torch.randn_like(u)
        (exact_gradient,) = torch.autograd.grad(exact, exact_u, g.double())
        layer = layer.float().to(device)
        for dtype in (torch.float32, SHORT):
            x = u.to(device, dtype).requires_grad_()
            with torch.autocast(torch.device(device).type, SHORT, enabled=dtype == SHORT):
                y = layer(x)
            (gradient,) = torch.autograd.grad(y, x, g.to(device, y.dtype))
            # Attention and recurrent layers multiply in bfloat16 many times over.
            limit = 5 * LIMITS[dtype]
            yield f"{name}, output", dtype, relative_error(y, exact), limit
            yield (
                f"{name}, gradient of input",
                dtype,
                relative_error(gradient, exact_gradient),
                limit,
            )


# ---- fast ---------------------------------------------------------------------------------------


def speed(device: str, dry: bool) -> Payload:
    """Time every method on as many numbers, in sequences of several lengths."""
    card = next((name for name in CARDS if name in _name(device)), None)
    most = ceilings(device, dry)
    print(", ".join(f"{key} {value:.3g}" for key, value in most.items()))
    entries = []
    lengths = (20,) if dry else (1024, 2048, 4096, 8192, 16384)
    for length, dtype in itertools.product(lengths, (SHORT, torch.float32)):
        batch, channels = (2, 1) if dry else (max(1, 50 * 1024 // length), 256)
        times, errors = _times(device, dry, batch, channels, length, dtype)
        floor = {"forward": times["copy"]["forward"], "both": 2.5 * times["copy"]["forward"]}
        title = f"{batch} x {channels} x {length}, {str(dtype)[6:]}"
        most_wrong = max(errors, key=lambda name: errors[name])
        if not errors[most_wrong] <= 5 * LIMITS[dtype]:
            raise ValueError(f"fft and {most_wrong} differ by {errors[most_wrong]:.1e}: {title}")
        print(f"\n{title}\n{'':<14}forward, by the floor   with backward, by the floor")
        for name, pair in times.items():
            cells = [(1e6 * value, value / floor[which]) for which, value in pair.items()]
            print(f"{name:<14}" + "  ".join(f"{us:10.0f} us{ratio:9.1f}" for us, ratio in cells))
        entry: Payload = {"title": title, "seconds": times, "floor": floor, "errors": errors}
        if card is not None:
            entry["counted"] = {
                which: {
                    count.name: count.seconds
                    for count in estimate(
                        batch,
                        channels,
                        length,
                        itemsize=dtype.itemsize,
                        backward=which == "both",
                        card=card,
                    )
                }
                for which in ("forward", "both")
            }
        entries.append(entry)
    return {"ceilings": most, "card": card, "cases": entries, "tiles": _tiles(device)}


def _times(
    device: str, dry: bool, batch: int, channels: int, length: int, dtype: torch.dtype
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    torch.manual_seed(0)
    layer = MultiresConv(channels, 2, length=length, device=device)
    parameters = layer.h0, layer.h1, layer.w
    short = [p.detach().to(dtype).requires_grad_() for p in parameters]
    size = batch, channels, length
    sets = 1 if dry else 4  # together more than the cache holds
    inputs = [torch.randn(size, device=device, dtype=dtype).requires_grad_() for _ in range(sets)]
    outputs = [torch.randn(size, device=device, dtype=dtype) for _ in range(sets)]

    def by_fft(x: Tensor) -> Tensor:
        k = multires_kernel(length, *parameters, layer.kept)
        return fft_conv(x.float(), k).to(x.dtype)

    methods: dict[str, tuple[Callable[[Tensor], Tensor], Sequence[Tensor]]] = {}
    if _kernels(device):
        from mrbook.native import triton_conv, triton_multires

        kernel = layer.kernel(length).detach().requires_grad_()

        def by_triton(x: Tensor) -> Tensor:
            k = triton_multires.multires_kernel(length, *parameters, layer.kept)
            return triton_conv.causal_conv(x, k)

        def by_triton_and_fft(x: Tensor) -> Tensor:
            k = triton_multires.multires_kernel(length, *parameters, layer.kept)
            return fft_conv(x.float(), k).to(x.dtype)

        methods["triton"] = by_triton, parameters
        methods["its product"] = (lambda x: triton_conv.causal_conv(x, kernel)), [kernel]
        methods["its gelu"] = (lambda x: triton_conv.causal_conv_gelu(x, kernel)), [kernel]
        methods["triton, fft"] = by_triton_and_fft, parameters
    methods["fft"] = by_fft, parameters
    if length <= 4096:
        methods["conv1d tree"] = (lambda x: conv1d_tree(x, *short)), short
    repeats = 1 if dry else 20
    times, errors = {}, {}
    expected = by_fft(inputs[0])
    for name, (method, learnt) in methods.items():

        def forward(x: Tensor, method: Callable[[Tensor], Tensor] = method) -> Tensor:
            with torch.no_grad():
                return method(x)

        def both(
            i: int,
            method: Callable[[Tensor], Tensor] = method,
            learnt: Sequence[Tensor] = learnt,
        ) -> Sequence[Tensor]:
            return torch.autograd.grad(method(inputs[i]), [inputs[i], *learnt], outputs[i])

        same = F.gelu(expected) if name == "its gelu" else expected
        errors[name] = relative_error(forward(inputs[0]), same)
        times[name] = {
            "forward": seconds([partial(forward, x) for x in inputs], device, repeats),
            "both": seconds([partial(both, i) for i in range(sets)], device, repeats),
        }
    copies = [partial(y.copy_, x) for x, y in zip(inputs, outputs, strict=True)]
    with torch.no_grad():
        times["copy"] = {"forward": seconds(copies, device, repeats)}
    return times, errors


def _tiles(device: str) -> dict[str, list[str]]:
    """What autotuning chose, kernel by kernel."""
    if not _kernels(device):
        return {}
    from mrbook.native import triton_kernels

    kernels = {"conv": triton_kernels.convolve, "correlate": triton_kernels.correlate}
    return {
        name: [f"{key}: {config}" for key, config in kernel.cache.items()]
        for name, kernel in kernels.items()
    }


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu"


# ---- the command --------------------------------------------------------------------------------


def _network_step(device: str, dry: bool) -> Payload:
    from mrbook.bench.network import step

    return step(device, dry)


def _network_drawing(device: str, dry: bool) -> Payload:
    from mrbook.bench.network import drawing

    return drawing(device, dry)


#: Pieces by name, in order of worth.
PIECES: dict[str, Callable[[str, bool], Payload]] = {
    "check": check,
    "speed": speed,
    "step": _network_step,
    "drawing": _network_drawing,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pieces; 1 if one failed or found something wrong."""
    parser = argparse.ArgumentParser(prog="mrbook.bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("pieces", nargs="*", metavar="piece", help=f"{', '.join(PIECES)} (all)")
    parser.add_argument("--out", metavar="FOLDER", default="runs", help="default: runs")
    parser.add_argument("--dry", action="store_true", help="on the CPU, in sizes of no meaning")
    options = parser.parse_args(arguments)
    device = "cpu" if options.dry else "cuda"
    if unknown := [name for name in options.pieces if name not in PIECES]:
        parser.error(f"piece must be one of {', '.join(PIECES)}, got {', '.join(unknown)}")
    if not options.dry and not torch.cuda.is_available():
        parser.error("no CUDA here: --dry runs on the CPU")
    if not options.dry:
        os.environ["MRBOOK_TRITON"] = "on"  # what is to be confirmed
    failed = False
    for name in options.pieces or PIECES:
        print(f"\n==== {name} on {_name(device)}, torch {torch.__version__}", flush=True)
        start = time.perf_counter()
        try:
            payload = PIECES[name](device, options.dry)
            took = time.perf_counter() - start
            payload = {"device": _name(device), "dry": options.dry, "took": took, **payload}
            path = write_record("gpu", name, payload, Path(options.out), overwrite=True)
        except Exception:  # the time of a card is too dear to stop here
            traceback.print_exc()
            failed = True
            continue
        print(f"{took:.0f} s, recorded in {path}", flush=True)
        failed = failed or bool(payload.get("wrong"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
