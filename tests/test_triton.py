"""The fused kernels for CUDA: run by Triton's interpreter, compiled for a card, done without."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mrbook import native
from mrbook.native import gpu

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs the package triton"
)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: whether Triton interprets is settled when it is imported."""
    paths = [str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_triton
def test_the_kernels_equal_the_definition() -> None:
    where = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    cases = str(HERE / "triton_cases.py")
    result = run("-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", cases, **where)
    assert result.returncode == 0, result.stdout[-6000:]
    assert " passed" in result.stdout and "skipped" not in result.stdout


@needs_triton
def test_the_kernels_compile_for_a_card(tmp_path: Path) -> None:
    """Tensor cores, asynchronous copies of 16 bytes alone, no register spilt, room for two."""
    result = run(str(HERE / "triton_compiled.py"), str(tmp_path), TRITON_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr[-3000:]
    kernels = json.loads(result.stdout)
    for name in ("conv", "gelu", "correlate"):
        assert kernels[name]["tensor_cores"], name
        assert kernels[name]["bytes_a_copy"] == ["0x10"], name
        assert kernels[name]["shared"] <= 113 << 10, name
    assert {entry["stack"] for entry in kernels.values()} == {0}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with a card and Triton, as far as anybody asks."""
    monkeypatch.delenv("MRBOOK_NATIVE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace())
    gpu._check.cache_clear()
    yield monkeypatch
    gpu._check.cache_clear()


def test_what_a_card_serves(card: pytest.MonkeyPatch) -> None:
    assert gpu.available() and gpu.available(torch.float32)
    assert not gpu.available(torch.float64)
    assert not gpu.available(device="cpu")
    limit = gpu.CROSSOVER[torch.bfloat16]
    card.delenv("MRBOOK_TRITON", raising=False)
    assert not gpu.preferred(torch.bfloat16, "cuda")  # nobody has asked
    assert not gpu.worthwhile(torch.bfloat16, "cuda", limit)
    card.setenv("MRBOOK_TRITON", "on")
    assert gpu.preferred(torch.bfloat16, "cuda")
    assert not gpu.preferred(torch.float64, "cuda")
    assert gpu.worthwhile(torch.bfloat16, "cuda", limit)
    assert not gpu.worthwhile(torch.bfloat16, "cuda", limit + 1)
    assert not gpu.worthwhile(torch.float64, "cuda", 1)


def test_float32_gets_small_tiles() -> None:
    sizes = (64, 64), (32, 64), (128, 64), (64, 128)
    configs = [SimpleNamespace(kwargs={"ROWS": rows, "BLOCK": block}) for rows, block in sizes]
    for name in ("u", "late"):
        assert gpu._fitting(configs, {name: torch.zeros(1)}) == configs[:2]
        assert gpu._fitting(configs, {name: torch.zeros(1).bfloat16()}) == configs


@needs_triton
def test_tiles_are_chosen_anew_for_other_magnitudes_alone() -> None:
    from mrbook.native import triton_kernels

    seen = [gpu.magnitudes(50, n, taps, True) for n, taps in ((513, 64), (1023, 127), (1024, 127))]
    assert seen[0] == seen[1] != seen[2]
    assert gpu.magnitudes(2, 1) != gpu.magnitudes(1, 2)
    assert gpu.magnitudes(*5 * [2**31 - 1]) < 2**31  # a number of 32 bits
    for kernel in (triton_kernels.convolve, triton_kernels.correlate):
        assert kernel.keys == ["magnitudes"]
        (place,) = (p for p in kernel.fn.params if p.name == "magnitudes")
        assert place.do_not_specialize


def test_without_triton_it_is_said_once(card: pytest.MonkeyPatch) -> None:
    card.setitem(sys.modules, "triton", None)
    with pytest.warns(native.NativeWarning, match=r"CUDA are not available .*slower FFT"):
        assert not gpu.available()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gpu.available()


def test_an_old_card_is_told_apart(card: pytest.MonkeyPatch) -> None:
    card.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.warns(native.NativeWarning, match=r"capability 7\.5, 8\.0 is needed"):
        assert not gpu.available()


@pytest.mark.parametrize("why", ["switched off", "no card", "another maker's card"])
def test_where_nobody_can_help_it_nothing_is_said(card: pytest.MonkeyPatch, why: str) -> None:
    if why == "switched off":
        card.setenv("MRBOOK_NATIVE", "off")
    elif why == "no card":
        card.setattr(torch.cuda, "is_available", lambda: False)
    else:
        card.setattr(torch.version, "cuda", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gpu.available()


def test_the_sources_can_be_read_without_triton() -> None:
    code = (
        "import sys\n"
        "sys.modules['triton'] = None\n"
        "import torch\n"
        "from mrbook.native import gpu, triton_conv, triton_multires\n"
        "try: triton_conv.causal_conv(torch.zeros(1, 1, 4), torch.zeros(1, 4))\n"
        "except ValueError as error: print(error)\n"
    )
    result = run("-c", code)
    assert result.stdout.startswith('method="triton" needs bfloat16, float16, float32 on CUDA')
