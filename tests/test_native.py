"""The loader of the fused kernels: built once, kept, and done without where it can't be had."""

import os
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from contract import have_native

from mrbook import native

needs_native = pytest.mark.skipif(not have_native(), reason="needs a C++ compiler")

USE = """
import warnings
import numpy as np
import torch
from mrbook.longconv import causal_conv, causal_conv_method
from mrbook.multires import MultiresConv, multires_method
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    u = torch.randn(2, 3, 20)
    layer = MultiresConv(3, length=20)
    y = layer(u)
    y.sum().backward()
    causal_conv(u, layer.kernel(20))
    with torch.no_grad():
        layer.step(u[..., 0], layer.initial_state(2))
for warning in caught:
    print("warned:", warning.category.__name__, warning.message)
print("methods:", causal_conv_method(u, u[0]), multires_method(u))
# a library linked with -ffast-math would flush these to zero from now on
print("denormal:", float(np.float32(1e-40) * np.float32(1)), float(torch.tensor([1e-40]) * 0.5))
"""


def use(**environment: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result


@needs_native
def test_built_once_with_a_message_and_kept(tmp_path: Path) -> None:
    first = use(MRBOOK_CACHE=str(tmp_path))
    assert "compiling the fused kernels" in first.stderr
    assert "methods: fused fused" in first.stdout
    assert "warned" not in first.stdout
    (library,) = (tmp_path / "native").iterdir()
    built = library.stat().st_mtime_ns
    second = use(MRBOOK_CACHE=str(tmp_path))
    assert second.stderr == ""
    assert second.stdout == first.stdout
    assert library.stat().st_mtime_ns == built
    assert "denormal: 9.99994" in first.stdout
    assert not first.stdout.rstrip().endswith(" 0.0")


def test_without_a_compiler_everything_works_after_one_warning(tmp_path: Path) -> None:
    result = use(MRBOOK_CACHE=str(tmp_path), PATH=str(tmp_path), CXX="")
    assert result.stdout.count("warned") == 1
    assert "NativeWarning the fused kernels are not available (no C++ compiler" in result.stdout
    assert "several times slower" in result.stdout
    assert "methods: fft kernel" in result.stdout


def test_it_can_be_switched_off_in_silence() -> None:
    result = use(MRBOOK_NATIVE="off")
    assert "warned" not in result.stdout + result.stderr
    assert "methods: fft kernel" in result.stdout


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Build only the smallest source, in a cache of its own."""
    sources = [path for path in native._SOURCES if path.name == "step.cpp"]
    monkeypatch.setattr(native, "_SOURCES", sources)
    monkeypatch.setenv("MRBOOK_CACHE", str(tmp_path))
    return tmp_path / "native"


def wrapper(folder: Path, refuse: str) -> str:
    """A compiler that knows less: it refuses the options of a shell pattern."""
    path = folder / "some-compiler"
    path.write_text(
        "#!/bin/sh\n"
        f'for a in "$@"; do case "$a" in {refuse}) echo "unknown $a" >&2; exit 1;; esac; done\n'
        f'exec {shutil.which("g++")} "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_native
@pytest.mark.parametrize("refuse", ["-fopenmp", "-fopenmp|-march=native", "-fopenmp|-m*=native"])
def test_a_compiler_without_openmp_or_native_code_will_do(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: str
) -> None:
    monkeypatch.setenv("CXX", wrapper(tmp_path, refuse))
    library = native._build()
    assert library.multires_step_float32
    assert len(list(small.iterdir())) == 1


@needs_native
def test_the_key_holds_compiler_flags_cpu_and_source(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(native, "_compile", lambda compiler, path: built.append(path) or path)
    monkeypatch.setattr("ctypes.CDLL", lambda path: path)
    native._build()
    source = tmp_path / "step.cpp"
    source.write_text(native._SOURCES[0].read_text() + "\n// changed\n")
    for name, value in [
        ("_FLAGS", (*native._FLAGS, "-g")),
        ("_cpu", lambda: "another"),
        ("_SOURCES", [source]),
        ("_compiler", lambda: wrapper(tmp_path, "nothing")),
    ]:
        with monkeypatch.context() as context:
            context.setattr(native, name, value)
            native._build()
    assert len(set(built)) == 5
    native._build()
    assert built[-1] == built[0]


def test_a_build_that_fails_warns_with_what_the_compiler_says(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++\n")
    monkeypatch.setattr(native, "_SOURCES", [broken])
    native._library.cache_clear()
    try:
        with pytest.warns(native.NativeWarning, match="not available"):
            assert not native.available()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not native.available()  # once is enough
        assert not [*small.glob("*")]
    finally:
        native._library.cache_clear()


@needs_native
def test_a_cache_that_can_not_be_written_is_done_without(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MRBOOK_CACHE", str(tmp_path / "file"))
    assert native._build().multires_step_float64


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRBOOK_CACHE", "/somewhere")
    assert native.cache_folder() == Path("/somewhere/native")
    monkeypatch.delenv("MRBOOK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert native.cache_folder() == Path("/xdg/mrbook/native")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert native.cache_folder() == Path.home() / ".cache" / "mrbook" / "native"


def test_what_fused_kernels_serve() -> None:
    assert not native.available(torch.float16)
    assert not native.available(torch.float32, "cuda")
    assert native.available(torch.float64) == have_native()
