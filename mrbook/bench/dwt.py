"""The wavelet transform beside PyWavelets and ptwt."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor

from mrbook.bench.engine import Case
from mrbook.dwt import wavedec

WAVELET, LEVEL = "db4", 6
MODE: Final = "symmetric"


def cases(device: str, batch: int = 64, length: int = 16384) -> Iterator[Case]:
    """Forward, and forward with backward: float32, db4, six levels, mode "symmetric".

    Raises
    ------
    ImportError
        If ptwt is missing.
    """
    try:
        import ptwt
    except ImportError as error:
        raise ImportError('ptwt is missing: pip install "mrbook[bench]"') from error
    import pywt

    x = torch.randn(batch, length, generator=torch.Generator().manual_seed(0))
    array = x.numpy()
    x = x.to(device).requires_grad_()
    fixed = x.detach()
    cotangents = [torch.randn_like(c) for c in wavedec(fixed, WAVELET, MODE, LEVEL)]

    def ours(x: Tensor) -> list[Tensor]:
        return wavedec(x, WAVELET, MODE, LEVEL)

    def theirs(x: Tensor) -> list[Tensor]:
        return ptwt.wavedec(x, WAVELET, mode=MODE, level=LEVEL)

    def with_backward(transform: Callable[[Tensor], Any]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(transform(x), x, cotangents)[0]

    what = f"{batch} x {length} float32, {WAVELET}, {LEVEL} levels, mode {MODE}"
    forward: dict[str, Callable[[], Any]] = {
        "mrbook": lambda: ours(fixed),
        "ptwt": lambda: theirs(fixed),
    }
    if device == "cpu":
        forward["PyWavelets"] = lambda: pywt.wavedec(array, WAVELET, MODE, LEVEL)
    yield Case(f"forward: {what}", forward)
    both = {"mrbook": with_backward(ours), "ptwt": with_backward(theirs)}
    yield Case(f"forward and backward: {what}", both)
