"""Draw the picture on the front page and in the README: `python book/cover.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pywt.data
import torch

from mrbook import figures
from mrbook.dwt import wavedec, waverec

LEVELS = 5
ECG = slice(0, 512)


def bands(x: torch.Tensor, wavelet: str, level: int) -> list[torch.Tensor]:
    """Split a signal into what each band of its transform reconstructs; the parts sum to it."""
    coeffs = wavedec(x, wavelet, mode="periodization", level=level)
    alone = [
        [c if i == keep else torch.zeros_like(c) for i, c in enumerate(coeffs)]
        for keep in range(len(coeffs))
    ]
    return [waverec(parts, wavelet, mode="periodization") for parts in alone]


def draw() -> matplotlib.figure.Figure:
    """Return the cover: a heartbeat, and the same heartbeat at six scales."""
    import matplotlib.pyplot as plt

    figures.use_style()
    ecg = torch.tensor(pywt.data.ecg()[ECG], dtype=torch.float64)
    ecg = (ecg - ecg.mean()) / ecg.abs().max()
    parts = bands(ecg, "db4", LEVELS)
    assert torch.allclose(sum(parts), ecg)
    fig, (top, below) = plt.subplots(
        2, 1, figsize=(9, 5.2), height_ratios=[1, 2.6], layout="constrained"
    )
    top.plot(ecg, color=figures.SIGNAL, lw=1.6)
    top.set_title("a heartbeat", loc="left", fontsize=13)
    below.set_title("the same heartbeat, scale by scale", loc="left", fontsize=13)
    names = [f"$a_0$  {2**LEVELS} steps and longer"] + [
        f"$b_{j}$  around {2 ** (LEVELS - j)} steps" for j in range(LEVELS)
    ]
    blues = matplotlib.colormaps["Blues"](np.linspace(0.95, 0.5, LEVELS + 1))
    spread = 1.1 * max(float(p.abs().max()) for p in parts)
    for row, (part, name) in enumerate(zip(parts, names, strict=True)):
        below.plot(part / spread - row, color=blues[row], lw=1.5)
        below.text(520, -row, name, va="center", fontsize=12, color=figures.SIGNAL)
    for ax in (top, below):
        ax.set_xlim(0, 640)
        ax.set_axis_off()
    return fig


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "mrbook"
    target = Path(__file__).with_name("_static") / "cover.svg"
    draw().savefig(target, metadata={"Date": None, "Creator": None})
