"""Exercises of chapter 2, Daubechies."""

from __future__ import annotations

import math

import numpy as np

from mrbook.exercises.engine import Exercise, Mistake
from mrbook.filters import daubechies, quadrature_mirror

_SIGNS = np.array([1, -1, 1, -1])
_Q = np.arange(4)


def _draw_four_taps(rng: np.random.Generator, size: int) -> tuple[np.ndarray]:
    """Right and nearly right filters: each leaves out other conditions."""
    db2 = daubechies(2).numpy()
    theta = rng.uniform(-np.pi, np.pi)
    c, s = math.cos(theta), math.sin(theta)
    candidates = [
        db2,
        db2[::-1].copy(),
        np.array([1, 1, 0, 0]) / 2**0.5,
        np.array([1, 3, 3, 1]) * 2**0.5 / 8,  # three moments, not orthogonal
        np.array([1 - c + s, 1 + c + s, 1 + c - s, 1 - c - s]) / 8**0.5,
        -db2,
        2 * db2,
        db2.round(3),
        np.array([2, 2, 0.1, 0.1]) / 3,
        rng.standard_normal(4),
    ]
    return (candidates[int(rng.integers(len(candidates)))],)


def _misses(h: np.ndarray) -> list[float]:
    return [
        h.sum() - 2**0.5,
        h @ h - 1,
        h[0] * h[2] + h[1] * h[3],
        _SIGNS @ h,
        _SIGNS @ (_Q * h),
    ]


def _small(*misses: float) -> bool:
    return bool(np.max(np.abs(misses)) < 0.01)


def _solves_db2(h):  # type: ignore[no-untyped-def]
    return _small(*_misses(h))


def _draw_low_pass(rng: np.random.Generator, size: int) -> tuple[np.ndarray]:
    return (rng.standard_normal(2 * min(size, 8)),)


def _high_pass(h):  # type: ignore[no-untyped-def]
    return quadrature_mirror(h).numpy()


def _alternate(h: np.ndarray, first: int = 1) -> np.ndarray:
    return h * first * (-1.0) ** np.arange(len(h))


def _draw_samples(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal(size), rng.standard_normal(2 * int(rng.integers(1, 4)))


def _spread(c: np.ndarray) -> np.ndarray:
    spread = np.zeros(2 * len(c) - 1)
    spread[::2] = c
    return spread


def _cascade_step(c, h):  # type: ignore[no-untyped-def]
    return 2**0.5 * np.convolve(_spread(c), h)


_PHI = np.array([(1 + 3**0.5) / 2, (1 - 3**0.5) / 2])
_UNIT = _PHI / np.linalg.norm(_PHI)
_NORM_ONE = (
    "This vector has norm 1, as np.linalg.eig returns it. An eigenvector has no length of its own: "
    "here the copies of phi add up to 1, so divide by the sum."
)

EXERCISES = (
    Exercise(
        name="db2-equations",
        reference=_solves_db2,
        draw=_draw_four_taps,
        hints=(
            "Write down what each condition says for four taps. There are five equations.",
            "The moments are about h1, whose signs alternate: 0 = h[0] - h[1] + h[2] - h[3], and "
            "the same with weights 0, 1, 2, 3.",
            "Collect what each equation misses in a list, and look at the largest in size.",
        ),
        mistakes=(
            Mistake(
                lambda h: bool(np.allclose(h, daubechies(2), rtol=0, atol=0.002)),
                "You compare with one solution. There are two: the mirror image satisfies every "
                "equation as well. Check the equations themselves.",
            ),
            Mistake(
                lambda h: bool(np.max(_misses(h)) < 0.01),
                "An equation can miss on the negative side too: compare absolute values.",
            ),
            Mistake(
                lambda h: _small(*_misses(h)[1:]),
                "The sum is missing: minus db2 satisfies everything else.",
            ),
            Mistake(
                lambda h: bool(np.max(np.abs(_misses(h))) < 1e-8),
                "Numbers rounded to three digits should pass: allow each equation to miss by 0.01.",
            ),
            Mistake(
                lambda h: _small(*_misses(h)[:3]),
                "These are the conditions of orthogonality alone. Haar passes them, and it is not "
                "blind to a ramp.",
            ),
            Mistake(
                lambda h: _small(_misses(h)[0], *_misses(h)[3:]),
                "Sum and moments alone let (1, 3, 3, 1) pass, which isn't orthogonal to its shift.",
            ),
            Mistake(
                lambda h: _small(*_misses(h)[:3], _Q @ h),
                "No filter passes yours. The moments that vanish are those of h1, whose signs "
                "alternate, and rounding needs its room of 0.01.",
            ),
        ),
        sizes=range(1, 17),
        shrink=False,
    ),
    Exercise(
        name="db2-high-pass",
        reference=_high_pass,
        draw=_draw_low_pass,
        hints=(
            "Two steps, in either order of writing: one changes the order, one changes signs.",
            "For four taps the answer is (h[3], -h[2], h[1], -h[0]). The first sign is a plus.",
        ),
        mistakes=(
            Mistake(
                lambda h: h[::-1].copy(),
                "Reversed only: the result is still a low-pass. Its signs must alternate.",
            ),
            Mistake(
                _alternate,
                "Signs alternate, but the order is that of h, and so h1 isn't orthogonal to h: "
                "reverse it first.",
            ),
            Mistake(
                lambda h: h * (-1.0) ** np.arange(len(h))[::-1],
                "Signs alternate, but the order is that of h: reverse it first.",
            ),
            Mistake(
                lambda h: _alternate(h[::-1], -1),
                "A high-pass, with the other sign: Haar's detail would be newer minus older. "
                "In this book the first sign is a plus.",
            ),
        ),
    ),
    Exercise(
        name="db2-phi-at-integers",
        reference=(float(_PHI[0]), float(_PHI[1])),
        hints=(
            "At t = 1 the relation needs phi(2 - q), q = 0 to 3. Only phi(1) and phi(2) are not 0.",
            "phi(1) = √2 (h[1] phi(1) + h[0] phi(2)). Put in phi(2) = 1 - phi(1).",
            "√2 h[0] is (1 + √3) / 4 and √2 h[1] is (3 + √3) / 4: solve for phi(1).",
        ),
        mistakes=(
            Mistake((float(_UNIT[0]), float(_UNIT[1])), _NORM_ONE),
            Mistake((-float(_UNIT[0]), -float(_UNIT[1])), _NORM_ONE),
            Mistake(
                (float(_PHI[1]), float(_PHI[0])),
                "These are the two numbers in the other order: the high peak comes first.",
            ),
            Mistake(
                (0.5, 0.5),
                "They do sum to 1. Now the two-scale relation at t = 1 has to hold as well.",
            ),
        ),
        atol=6e-3,
    ),
    Exercise(
        name="db2-cascade-step",
        reference=_cascade_step,
        draw=_draw_samples,
        hints=(
            "np.zeros(2 * len(c) - 1) has room for the samples and the zeros between them.",
            "Write the samples to every second place, then use np.convolve.",
            "What should the area do? Half as wide needs twice as high, and the taps sum to √2.",
        ),
        mistakes=(
            Mistake(
                lambda c, h: np.convolve(_spread(c), h),
                "√2 is missing: each round would shrink the area of phi by √2, and it fades away.",
            ),
            Mistake(
                lambda c, h: 2 * np.convolve(_spread(c), h),
                "2 is too much: the taps sum to √2 already, and √2 · √2 makes the 2.",
            ),
            Mistake(
                lambda c, h: 2**0.5 * np.convolve(np.kron(c, [1, 0]), h),
                "A zero too many: none follows the last sample, so n samples take 2n-1 places.",
            ),
            Mistake(
                lambda c, h: 2**0.5 * np.convolve(_spread(c), h[::-1]),
                "Tap h[q] moves its copy to the right by q. A convolution does so unflipped.",
            ),
            Mistake(
                lambda c, h: 2**0.5 * np.convolve(c, _spread(h)),
                "The taps are spread. It is the samples that move apart and make room.",
            ),
            Mistake(
                lambda c, h: 2**0.5 * np.convolve(c, h),
                "Without zeros in between, the copies keep their width instead of halving it.",
            ),
            Mistake(
                lambda c, h: 2**0.5 * np.convolve(np.repeat(c, 2), h),
                "Put zeros between the samples; repeating each sample filters a second time.",
            ),
        ),
    ),
    Exercise(
        name="db2-real-filters",
        reference=4,
        hints=(
            "Without asking for a real filter, three free choices of two would give 8.",
            "One root is real. The other two are conjugates of each other. What happens to the "
            "taps if only one of them is replaced by its partner?",
            "The conjugate roots move together, so count the choices that are still free.",
        ),
        mistakes=(
            Mistake(
                8,
                "8 counts every choice, but some split a conjugate pair: the taps turn complex.",
            ),
            Mistake(
                2,
                "A filter and its mirror image make 2; there are others between all inside and all "
                "outside.",
            ),
            Mistake(
                1, "1 is the minimum-phase filter, all roots inside. Others share its spectrum."
            ),
            Mistake(3, "3 is the number of pairs. Count the ways to choose from them."),
        ),
    ),
)
