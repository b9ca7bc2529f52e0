"""All that wants doing when a GPU is at hand: ``python -m mrbook.bench.gpu``.

Pieces in order of worth. The first four take some minutes each, print a short table and write a
record, ``gpu/PIECE.json`` in the folder given, after each of their parts; what fails says so and
the next part begins.

- ``check``: kernels and layers on the card against float64, before anything is timed.
- ``speed``: MultiresConv by every method, beside copying its input, and what was counted before.
- ``step``: a training step of the published network, and what its time goes to.
- ``drawing``: images per second by steps in a CUDA graph, and by running the network again.
- ``train``: the runs of `mrbook.bench.runs`, with a record and checkpoints each, by the methods
  that ``method="auto"`` takes; ``MRBOOK_TRITON=on`` has them take Triton's kernels.

After ``--minutes`` the work is stopped, and the same command goes on with it: pieces that are
complete are left out, unless they are named, and training takes up its checkpoints.

``--dry`` does the first four on the CPU in sizes that mean nothing, to see that they run; Triton's
kernels then need ``TRITON_INTERPRET=1``, and are left out without.
"""

import argparse
import itertools
import json
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

from mrbook.bench.device import ceilings, relative_error, seconds
from mrbook.bench.estimate import CARDS, estimate
from mrbook.bench.exactness import LIMITS, check, kernels_here
from mrbook.bench.multires import conv1d_tree
from mrbook.bench.runs import LEAST, run_for, train
from mrbook.longconv import fft_conv
from mrbook.multires import MultiresConv, multires_kernel
from mrbook.records import environment, write_record

__all__ = ["PIECES", "main"]

Payload = dict[str, Any]
SHORT = torch.bfloat16


# ---- fast ---------------------------------------------------------------------------------------


def speed(device: str, dry: bool) -> Iterator[Payload]:
    """Time every method on as many numbers, in sequences of several lengths."""
    card = next((name for name in CARDS if name in _name(device)), None)
    most = ceilings(device, dry)
    print(", ".join(f"{key} {value:.3g}" for key, value in most.items()))
    entries: list[Payload] = []
    result: Payload = {"ceilings": most, "card": card, "cases": entries, "wrong": 0}
    lengths = (20,) if dry else (1024, 2048, 4096, 8192, 16384)
    for length, dtype in itertools.product(lengths, (SHORT, torch.float32)):
        batch, channels = (2, 1) if dry else (max(1, 50 * 1024 // length), 256)
        title = f"{batch} x {channels} x {length}, {str(dtype)[6:]}"
        print(f"\n{title}\n{'':<14}forward, by the floor   with backward, by the floor")
        times, errors, failed = _times(device, dry, batch, channels, length, dtype)
        floor = {"forward": times["copy"]["forward"], "both": 2.5 * times["copy"]["forward"]}
        for name, pair in times.items():
            cells = [(1e6 * value, value / floor[which]) for which, value in pair.items()]
            far = not errors.get(name, 0.0) <= 5 * LIMITS[dtype]
            print(
                f"{name:<14}"
                + "  ".join(f"{us:10.0f} us{ratio:9.1f}" for us, ratio in cells)
                + (f"  WRONG: differs from fft by {errors[name]:.1e}" if far else "")
            )
            result["wrong"] += far
        result["wrong"] += len(failed)
        kept = {name: error if math.isfinite(error) else None for name, error in errors.items()}
        entry: Payload = {"title": title, "seconds": times, "floor": floor}
        entry |= {"errors": kept, "failed": failed}
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
        yield result | {"tiles": _tiles(device)}


def _times(
    device: str, dry: bool, batch: int, channels: int, length: int, dtype: torch.dtype
) -> tuple[dict[str, dict[str, float]], dict[str, float], dict[str, str]]:
    """Seconds, differences from the FFT, and what went wrong, all by method."""
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
    if kernels_here(device):
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
    times, errors, failed = {}, {}, {}
    copies = [partial(y.copy_, x) for x, y in zip(inputs, outputs, strict=True)]
    with torch.no_grad():
        copying = {"forward": seconds(copies, device, repeats)}
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
        try:
            errors[name] = relative_error(forward(inputs[0]), same)
            times[name] = {
                "forward": seconds([partial(forward, x) for x in inputs], device, repeats),
                "both": seconds([partial(both, i) for i in range(sets)], device, repeats),
            }
        except Exception as error:  # the others can be timed all the same
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"[:500]
    return {**times, "copy": copying}, errors, failed


def _tiles(device: str) -> dict[str, list[str]]:
    """What autotuning chose, kernel by kernel."""
    if not kernels_here(device):
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


def _network_step(device: str, dry: bool) -> Iterator[Payload]:
    from mrbook.bench.network import step

    return step(device, dry)


def _network_drawing(device: str, dry: bool) -> Iterator[Payload]:
    from mrbook.bench.network import drawing

    return drawing(device, dry)


#: Pieces by name, in order of worth. After each part they hand over all that is known so far.
PIECES: dict[str, Callable[[str, bool], Iterator[Payload]]] = {
    "check": check,
    "speed": speed,
    "step": _network_step,
    "drawing": _network_drawing,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pieces; 1 if one failed or found something wrong."""
    parser = argparse.ArgumentParser(prog="mrbook.bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument(
        "pieces", nargs="*", metavar="piece", help=f"{', '.join(PIECES)}, train (all)"
    )
    parser.add_argument("--out", metavar="FOLDER", default="runs", help="default: runs")
    parser.add_argument(
        "--minutes",
        type=float,
        default=9.5,
        help="for all (default: 9.5); 0: without end, and in one process",
    )
    parser.add_argument("--dry", action="store_true", help="on the CPU, in sizes of no meaning")
    options = parser.parse_args(arguments)
    known = [*PIECES] if options.dry else [*PIECES, "train"]
    if unknown := [name for name in options.pieces if name not in known]:
        parser.error(f"piece must be one of {', '.join(known)}, got {', '.join(unknown)}")
    if not options.dry and not torch.cuda.is_available():
        parser.error("no CUDA here: --dry runs on the CPU")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it may be cut off
    out, names = Path(options.out), options.pieces
    if not names:
        names = [name for name in known if not _complete(out, name)]
    if options.dry or not options.minutes:
        return int(not all([_run(name, out, options.dry) for name in names]))
    until, good = time.monotonic() + 60 * options.minutes, True
    for name in names:
        left = until - time.monotonic()
        if name == "train":
            good = train(out, left) and good
        elif left > LEAST:
            command = [sys.executable, "-m", "mrbook.bench.gpu", name, "--out", str(out)]
            good = run_for([*command, "--minutes", "0"], left) == 0 and good
    return int(not good)


def _complete(out: Path, name: str) -> bool:
    try:
        return json.loads((out / "gpu" / f"{name}.json").read_text())["payload"]["complete"]
    except (OSError, ValueError, KeyError):
        return False


def _run(name: str, out: Path, dry: bool) -> bool:
    """Run a piece in this process; whether all is well."""
    if name == "train":
        return train(out, math.inf)
    device = "cpu" if dry else "cuda"
    if not dry:
        os.environ["MRBOOK_TRITON"] = "on"  # what is to be confirmed
    print(f"\n==== {name} on {_name(device)}, torch {torch.__version__}")
    start, here = time.perf_counter(), environment()
    payload: Payload = {}

    def record(complete: bool) -> Path:
        about = {"device": _name(device), "dry": dry, "complete": complete}
        about["took"] = time.perf_counter() - start
        return write_record("gpu", name, about | payload, out, overwrite=True, here=here)

    try:
        for payload in PIECES[name](device, dry):  # noqa: B007  # which `record` writes
            record(complete=False)
        path = record(complete=True)
    except Exception:  # the time of a card is too dear to stop here
        traceback.print_exc()
        return False
    print(f"{time.perf_counter() - start:.0f} s, recorded in {path}")
    return not payload.get("wrong")


if __name__ == "__main__":
    sys.exit(main())
