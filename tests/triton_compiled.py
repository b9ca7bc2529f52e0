"""Compile the Triton kernels for an H100, which needs none, and print what came out: JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mrbook.native import triton_conv, triton_multires
from mrbook.native import triton_kernels as kernels

POINTERS = {"u", "f", "y", "active", "late", "early", "out", "h0", "h1", "w", "dh0", "dh1", "dw"}


def compiled(kernel: Any, dtype: str, options: dict[str, int], **constants: Any) -> dict[str, Any]:
    """All sizes and strides are taken as multiples of 16, as those of the networks are."""
    types = {
        name: f"*{dtype}" if name in POINTERS else "*i32" if name == "kept" else "i32"
        for name in kernel.arg_names
    }
    types |= {"g": "*fp32"} | dict.fromkeys(constants, "constexpr")
    if kernel is kernels.spread:
        types |= {"k": "*fp32"}
    elif dtype != "fp32":
        types |= {"out": "*fp32"}
    places = {name: place for place, name in enumerate(kernel.arg_names)}
    whole = {"batch", "past", "ahead", "taps", "depth", "weights", "details", "next_row", "rows"}
    whole |= {"origin", "sign", "k_s", "magnitudes"}
    aligned = [name for name in places if name not in constants and name not in whole]
    source = ASTSource(
        kernel,
        signature={name: types[name] for name in kernel.arg_names},
        constexprs=constants,
        attrs={(places[name],): [["tt.divisibility", 16]] for name in aligned},
    )
    result = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True, **options}
    )
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    cubin = Path(sys.argv[1]) / "kernel.cubin"
    cubin.write_bytes(result.asm["cubin"])
    usage = subprocess.run([tool, "-res-usage", cubin], capture_output=True, text=True).stdout
    return {
        "tensor_cores": "wgmma" in result.asm["ptx"],
        "bytes_a_copy": sorted(set(re.findall(r"cp\.async.*?, (0x\w+)", result.asm["ptx"]))),
        "stack": int(re.search(r"STACK:(\d+)", usage)[1]),
        "shared": result.metadata.shared,
    }


def configured(kernel: Any, dtype: str, which: int, **constants: Any) -> dict[str, Any]:
    config = kernel.configs[which]
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return compiled(kernel.fn, dtype, options, **config.kwargs, **constants)


def main() -> None:
    """Print one entry a kernel."""
    plain = {"PRECISION": "ieee", "WIDEN": False}
    conv = {**plain, "COPIES": triton_conv._COPIES, "u_t": 1}
    correlate = {**plain, "late_t": 1, "early_t": 1}
    spread = {"COPIES": triton_conv._COPIES, "BLOCK": triton_conv._SPREAD}
    tree = {"K": 4, "BLOCK": 256}
    sums = {"FILTERS": 64, "WEIGHTS": 16}
    warps = {"num_warps": 8}
    print(
        json.dumps(
            {
                "spread": compiled(kernels.spread, "bf16", {}, **spread),
                "conv": configured(kernels.convolve, "bf16", 0, GELU=False, KEEP=True, **conv),
                "gelu": configured(kernels.convolve, "bf16", 3, GELU=True, KEEP=True, **conv),
                "correlate": configured(kernels.correlate, "bf16", 0, **correlate),
                "tree": compiled(triton_multires._tree_forward, "fp32", {}, **tree),
                "tree_backward": compiled(
                    triton_multires._tree_backward, "fp32", warps, **tree, **sums
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
