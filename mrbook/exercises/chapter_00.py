"""Exercises of chapter 0, filters in fifteen minutes."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.exercises.engine import Exercise, Mistake


def _draw_length(rng: np.random.Generator, size: int) -> int:
    return int(rng.integers(1, min(5, size + 1), endpoint=True))


def _draw_channels(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    batch, channels = min(2, 1 + size // 4), min(3, 1 + size // 2)
    x = torch.from_numpy(rng.standard_normal((batch, channels, size)))
    return x, torch.from_numpy(rng.standard_normal((channels, _draw_length(rng, size))))


def _convolve_channels(x: Tensor, k: Tensor) -> Tensor:
    x = F.pad(x, (k.shape[1] - 1, 0))
    return F.conv1d(x, k.flip(1)[:, None], groups=len(k))


def _unflipped(x: Tensor, k: Tensor) -> Tensor:
    return _convolve_channels(x, k.flip(1))


def _padded_right(x: Tensor, k: Tensor) -> Tensor:
    x = F.pad(x, (0, k.shape[1] - 1))
    return F.conv1d(x, k.flip(1)[:, None], groups=len(k))


def _padded_around(x: Tensor, k: Tensor) -> Tensor:
    before = (k.shape[1] - 1) // 2
    x = F.pad(x, (before, k.shape[1] - 1 - before))
    return F.conv1d(x, k.flip(1)[:, None], groups=len(k))


def _not_trimmed(x: Tensor, k: Tensor) -> Tensor:
    return F.conv1d(x, k.flip(1)[:, None], groups=len(k), padding=k.shape[1] - 1)


def _one_zero_more(x: Tensor, k: Tensor) -> Tensor:
    return F.conv1d(F.pad(x, (k.shape[1], 0)), k.flip(1)[:, None], groups=len(k))


def _channels_summed(x: Tensor, k: Tensor) -> Tensor:
    return _convolve_channels(x, k).sum(1, keepdim=True).expand_as(x)


def _draw_filters(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal(1 + size // 2), rng.standard_normal(1 + (size + 1) // 2)


def _spread(taps: np.ndarray) -> np.ndarray:
    dilated = np.zeros(2 * len(taps) - 1)
    dilated[::2] = taps
    return dilated


def _merge(h: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.convolve(h, _spread(g))


def _draw_signal(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal(size), rng.standard_normal(_draw_length(rng, size))


def _by_fft(x: np.ndarray, k: np.ndarray, size: int, conjugate: bool = False) -> np.ndarray:
    response = np.fft.rfft(k, size)
    response = response.conj() if conjugate else response
    return np.fft.irfft(np.fft.rfft(x, size) * response, size)


def _fft_causal(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    return _by_fft(x, k, len(x) + len(k) - 1)[: len(x)]


def _default_length(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    size = len(x) + len(k) - 1
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(k, size))[: len(x)]


EXERCISES = (
    Exercise(
        name="filters-channels",
        reference=_convolve_channels,
        draw=_draw_channels,
        hints=(
            "Start from the chapter's causal(x, k). Which axis of x gets the zeros, and how many?",
            "conv1d's weight has shape (outputs, inputs per group, taps). With groups=D every "
            "group has one input.",
            "k is by lag and conv1d wants the oldest tap first: flip the last axis of k, then add "
            "an axis of length 1 in the middle.",
        ),
        mistakes=(
            Mistake(
                _unflipped,
                "conv1d correlates: its last weight meets the newest sample. Flip the taps.",
            ),
            Mistake(
                _padded_right,
                "Zeros on the right let every output see the future: pad on the left only.",
            ),
            Mistake(
                _padded_around,
                "Half of the zeros on each side centers the filter, so it sees the future: put all "
                "of them on the left.",
            ),
            Mistake(
                _not_trimmed,
                "conv1d's own padding=K-1 pads both sides: K-1 outputs too many at the end.",
            ),
            Mistake(
                _one_zero_more,
                "One zero too many: K taps reach back K-1 steps from now.",
            ),
            Mistake(
                _channels_summed,
                "The channels are mixed: with groups=D every channel stays by itself.",
            ),
            Mistake(
                lambda x, k: _convolve_channels(x, k.flip(0, 1)),
                "flip(0) turns round the first axis, which counts channels. The taps are on the "
                "last one: flip(1).",
            ),
            Mistake(
                lambda x, k: _convolve_channels(x, k.flip(0)),
                "Both axes are turned round, channels too. Flip the taps alone, on the last axis.",
            ),
        ),
    ),
    Exercise(
        name="filters-padding",
        reference=24,
        hints=(
            "Draw the four taps with eight steps from one to the next. The last one stands at now.",
            "How many gaps are there between four taps?",
        ),
        mistakes=(
            Mistake(32, "Four taps have three gaps between them, not four: (K-1)d."),
            Mistake(25, "That counts the newest sample too, which needs no padding."),
            Mistake(21, "That counts the zeros between the taps. The steps of a gap are eight."),
            Mistake(12, "Half of the zeros is what centered padding puts on the left: not causal."),
            Mistake(3, "K-1 zeros serve dilation 1. Here each gap is eight steps wide."),
        ),
    ),
    Exercise(
        name="filters-merge",
        reference=_merge,
        draw=_draw_filters,
        hints=(
            "Which of the two filters stands after the decimation, and so has to be spread?",
            "One zero between neighboring taps: K taps become 2K-1, and none follows the last.",
            "Two filters in a row are one: convolve their taps.",
        ),
        mistakes=(
            Mistake(
                lambda h, g: np.convolve(_spread(h), g),
                "The wrong one is spread: h works before the decimation, at full pace.",
            ),
            Mistake(
                lambda h, g: np.convolve(h, np.append(_spread(g), 0)),
                "A zero too many: nothing follows the last tap. Spread K taps to 2K-1.",
            ),
            Mistake(
                lambda h, g: np.convolve(h, g),
                "After the decimation, one step back is two samples back: spread g.",
            ),
            Mistake(
                lambda h, g: np.convolve(h, np.repeat(g, 2)),
                "Spreading puts zeros between the taps, not copies of them.",
            ),
            Mistake(
                lambda h, g: np.convolve(h, g)[::2],
                "The ↓2 drops samples of the signal. A filter keeps all of its taps.",
            ),
            Mistake(
                lambda h, g: np.convolve(h[::2], g),
                "The ↓2 drops samples, not taps: h works before it, at full pace.",
            ),
        ),
    ),
    Exercise(
        name="filters-silence",
        reference=math.pi / 2,
        rtol=2e-3,
        hints=(
            "The output is x[t] + x[t-2]. Which wave is its own negative two samples later?",
            "Write H(ω) = 1 + exp(-2iω) and ask when the second term is -1.",
        ),
        mistakes=(
            Mistake(
                math.pi,
                "That is Haar's zero. Here H(π) = 1 + 1: after two flips the sign is back.",
            ),
            Mistake(0.0, "A constant passes: H(0) = 1 + 1, the sum of the taps."),
            Mistake(
                math.pi / 4,
                "Spreading by 2 halves Haar's frequency π once; exp(-2iω) must reach -1.",
            ),
            Mistake(
                2 * math.pi,
                "Spreading in time squeezes in frequency: the zero moves down from π, not up.",
            ),
            Mistake(90.0, "These are degrees. A half-turn is π radians."),
            Mistake(0.25, "These are turns per sample. A full turn is 2π radians."),
            Mistake(0.5, "If you mean half of π, multiply it out: radians, please."),
        ),
    ),
    Exercise(
        name="filters-fft",
        reference=_fft_causal,
        draw=_draw_signal,
        hints=(
            "How many entries has the full convolution? The circle needs as many places.",
            "rfft(a, n) pads with zeros to length n; give irfft the same n.",
            "Keep the first len(x) outputs at the end.",
        ),
        mistakes=(
            Mistake(
                lambda x, k: _by_fft(x, k, max(len(x), len(k)))[: len(x)],
                "The end wraps around to the start: the FFT needs L+K-1 places.",
            ),
            Mistake(
                lambda x, k: _by_fft(x, k, len(x)),
                "The end wraps around to the start, and taps beyond L are cut off: L+K-1 places.",
            ),
            Mistake(
                lambda x, k: _by_fft(x, k, len(x) + len(k) - 1),
                "That is the full convolution, echo included: keep the first L outputs.",
            ),
            Mistake(
                lambda x, k: _by_fft(x, k, len(x) + len(k) - 1)[-len(x) :],
                "The last L outputs end with the echo. Keep the first L.",
            ),
            Mistake(
                lambda x, k: _by_fft(x, k[::-1], len(x) + len(k) - 1)[: len(x)],
                "k is by lag, and a product of FFTs convolves: nothing is to be flipped.",
            ),
            Mistake(
                lambda x, k: _by_fft(x, k, len(x) + len(k) - 1, conjugate=True)[: len(x)],
                "A complex conjugate turns time round: that is correlation.",
            ),
            Mistake(
                _default_length,
                "irfft assumes an even length unless you tell it: irfft(..., n).",
            ),
        ),
    ),
    Exercise(
        name="filters-shadows",
        reference=(8 / math.sqrt(2), -6 / math.sqrt(2)),
        rtol=2e-3,
        hints=(
            "Multiply entry by entry and add, once for each filter. The older sample comes first.",
            "Divide by √2, not by 2: the squares must add up to 1² + 7².",
        ),
        mistakes=(
            Mistake(
                (8 / math.sqrt(2), 6 / math.sqrt(2)),
                "A Haar detail is older minus newer, so it is negative here.",
            ),
            Mistake(
                (4.0, -3.0),
                "Plain halves lose energy: 16 + 9 is not 50. The filters carry 1/√2.",
            ),
            Mistake(
                (8.0, -6.0),
                "The directions need length 1: divide by √2, or the energy doubles.",
            ),
            Mistake(
                ((4.0, 4.0), (-3.0, 3.0)),
                "These are the shadows themselves, as points. Give the two inner products, their "
                "lengths with a sign.",
            ),
        ),
    ),
)
