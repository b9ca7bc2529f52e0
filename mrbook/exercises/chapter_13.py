"""Exercises of chapter 13, low-rank kernels."""

from __future__ import annotations

import numpy as np

from mrbook.exercises.engine import Exercise, Mistake

Array = np.ndarray

# Write a Fourier kernel


def _draw_waves(rng: np.random.Generator, size: int) -> tuple[Array, int]:
    modes = int(rng.integers(1, 2 + size))
    return rng.standard_normal(2 * modes - 1), 2 * modes + int(rng.integers(0, 1 + 2 * size))


def _waves(w: Array, L: int, period: int) -> tuple[Array, Array]:
    """Cosines and sines, each (frequency, lag), not scaled."""
    angle = 2 * np.pi * np.outer(np.arange(1, (len(w) + 1) // 2), np.arange(L)) / period
    return np.cos(angle), np.sin(angle)


def _fourier(w: Array, L: int) -> Array:
    cosines, sines = _waves(w, L, L)
    return w[0] / L**0.5 + (2 / L) ** 0.5 * (w[1::2] @ cosines + w[2::2] @ sines)


def _numpys_scale(w: Array, L: int) -> Array:
    return _fourier(w, L) / L**0.5


def _no_scale(w: Array, L: int) -> Array:
    cosines, sines = _waves(w, L, L)
    return w[0] + w[1::2] @ cosines + w[2::2] @ sines


def _no_conjugates(w: Array, L: int) -> Array:
    return (_fourier(w, L) + w[0] / L**0.5) / 2


def _waves_too_low(w: Array, L: int) -> Array:
    cosines, sines = _waves(w, L, L)
    return (w[0] + w[1::2] @ cosines + w[2::2] @ sines) / L**0.5


def _waves_too_high(w: Array, L: int) -> Array:
    cosines, sines = _waves(w, L, L)
    return (w[0] + 2 * (w[1::2] @ cosines + w[2::2] @ sines)) / L**0.5


def _sines_flipped(w: Array, L: int) -> Array:
    return np.roll(_fourier(w, L)[::-1], 1)


def _cosines_first(w: Array, L: int) -> Array:
    half = (len(w) + 1) // 2
    mixed = w.copy()
    mixed[1::2], mixed[2::2] = w[1:half], w[half:]
    return _fourier(mixed, L)


def _sine_of_zero(w: Array, L: int) -> Array:
    pairs = np.append(w, 0).reshape(-1, 2)
    return _fourier(np.append(pairs[0, 0], pairs[1:]), L)


def _ends_meet(w: Array, L: int) -> Array:
    cosines, sines = _waves(w, L, L - 1)
    return w[0] / L**0.5 + (2 / L) ** 0.5 * (w[1::2] @ cosines + w[2::2] @ sines)


# Stretch a kernel


def _draw_short(rng: np.random.Generator, size: int) -> tuple[Array, int]:
    short = 1 + 2 * int(rng.integers(1, 2 + size))
    return rng.standard_normal(short), short * int(rng.integers(2, 5))


def _stretch(k: Array, L: int) -> Array:
    return np.fft.irfft(np.fft.rfft(k), L) * (L / len(k))


def _scale_one(k: Array, L: int) -> Array:
    return np.fft.irfft(np.fft.rfft(k), L)


def _same_energy(k: Array, L: int) -> Array:
    return np.fft.irfft(np.fft.rfft(k), L) * (L / len(k)) ** 0.5


def _scaled_down(k: Array, L: int) -> Array:
    return np.fft.irfft(np.fft.rfft(k), L) * (len(k) / L)


def _zeros_in_time(k: Array, L: int) -> Array:
    return np.pad(k, (0, L - len(k)))


def _zeros_after_all(k: Array, L: int) -> Array:
    return np.fft.ifft(np.fft.fft(k), L).real * (L / len(k))


def _zeros_between(k: Array, L: int) -> Array:
    spread = np.zeros(L)
    spread[:: L // len(k)] = k
    return spread


def _staircase(k: Array, L: int) -> Array:
    return np.repeat(k, L // len(k))


# Frequencies that are alike


def _draw_stride(rng: np.random.Generator, size: int) -> tuple[float, int]:
    d = 1 + size
    return float(rng.uniform(0.1, 0.9) * np.pi / d), d


def _aliases(omega: float, d: int) -> Array:
    found = np.abs(omega + 2 * np.pi * np.arange(-d, d + 1) / d)
    return np.sort(found[found <= np.pi])


def _alone(omega: float, d: int) -> Array:
    return np.array([omega])


def _upward(omega: float, d: int) -> Array:
    found = omega + 2 * np.pi * np.arange(d) / d
    return found[found <= np.pi]


def _round_the_circle(omega: float, d: int) -> Array:
    return omega + 2 * np.pi * np.arange(d) / d


def _half_the_distance(omega: float, d: int) -> Array:
    return omega + np.pi * np.arange(d) / d


def _harmonics(omega: float, d: int) -> Array:
    return omega * np.arange(1, d + 1)


def _multiples_of_stride(omega: float, d: int) -> Array:
    return omega * d ** np.arange(2)


# Fit trend and echo


def _draw_trend(rng: np.random.Generator, size: int) -> tuple[Array, int, Array]:
    L = 12 + 2 * size
    lags = np.sort(rng.choice(L, int(rng.integers(1, 4)), replace=False))
    return rng.standard_normal(L), int(rng.integers(1, 5)), lags


def _trend(k: Array, modes: int) -> Array:
    spectrum = np.fft.rfft(k)
    spectrum[modes:] = 0
    return np.fft.irfft(spectrum, len(k))


def _columns(L: int, modes: int, lags: Array) -> Array:
    numbers = np.eye(2 * modes - 1)
    waves = np.stack([_fourier(w, L) for w in numbers], axis=1)
    return np.concatenate([waves, np.eye(L)[:, lags]], axis=1)


def _fit_sum(k: Array, modes: int, lags: Array) -> Array:
    C = _columns(len(k), modes, lags)
    return C @ np.linalg.lstsq(C, k, rcond=None)[0]


def _trend_first(k: Array, modes: int, lags: Array) -> Array:
    fitted = _trend(k, modes)
    fitted[lags] = k[lags]
    return fitted


def _echo_first(k: Array, modes: int, lags: Array) -> Array:
    echo = np.zeros(len(k))
    echo[lags] = k[lags]
    return echo + _trend(k - echo, modes)


def _both_alone(k: Array, modes: int, lags: Array) -> Array:
    fitted = _trend(k, modes)
    fitted[lags] += k[lags]
    return fitted


def _trend_alone(k: Array, modes: int, lags: Array) -> Array:
    return _trend(k, modes)


def _echo_alone(k: Array, modes: int, lags: Array) -> Array:
    echo = np.zeros(len(k))
    echo[lags] = k[lags]
    return echo


EXERCISES = (
    Exercise(
        name="lowrank-fourier",
        reference=_fourier,
        draw=_draw_waves,
        hints=(
            "How many frequencies are there? The constant has one number, each other one has two.",
            "Wave r goes round r times in L lags. Its two numbers are w[2r - 1] and w[2r].",
            "Check the scale: for any w, sum(k²) is sum(w²). A constant c has the energy L c², a "
            "wave of height c half of that.",
        ),
        mistakes=(
            Mistake(
                _numpys_scale,
                "NumPy's inverse FFT divides by L. To keep energy it has to be √L: norm='ortho'.",
            ),
            Mistake(_no_scale, "The scale is missing: the energy of k must be that of w."),
            Mistake(
                _no_conjugates,
                "The waves are half as high as they should be. A real kernel has the conjugates "
                "at the negative frequencies, and they bring the other half.",
            ),
            Mistake(
                _waves_too_low,
                "The constant is right. A wave of height c has only half the energy of a "
                "constant c: it needs √(2/L).",
            ),
            Mistake(
                _waves_too_high,
                "The waves are √2 too high: a frequency and its conjugate share the energy, so "
                "each takes 1/√2 of the number.",
            ),
            Mistake(
                _sines_flipped,
                "The sines have the wrong sign: a cos + b sin belongs to the complex number "
                "a - i b.",
            ),
            Mistake(
                _cosines_first,
                "The order is cosine, sine, cosine, sine: the two numbers of a frequency are "
                "neighbors.",
            ),
            Mistake(
                _sine_of_zero,
                "The constant has no sine. From w[1] on the numbers come in pairs: 2m - 1 in all.",
            ),
            Mistake(
                _ends_meet,
                "The period is L, not L - 1: lag L would be lag 0 again, lag L - 1 isn't.",
            ),
        ),
    ),
    Exercise(
        name="lowrank-count",
        reference=(17, 39, 1024),
        hints=(
            "Which of the modes is real? Its imaginary part would have to equal its own negative.",
            "The constant is one. With an even number of lags there is a second: the fastest wave "
            "there is, +1, -1, +1, ... Has it a sine?",
        ),
        mistakes=(
            Mistake(
                (16, 40, 1026),
                "A complex number has two parts, but the constant is its own conjugate, so it is "
                "real. (And 1,024 lags can't have more than 1,024 free numbers.)",
            ),
            Mistake(
                (17, 39, 1025),
                "1,024 lags can't have more than 1,024 free numbers. The wave +1, -1, ... has no "
                "sine either.",
            ),
            Mistake((33, 20, 513), "Those are complex numbers. Count their parts: real numbers."),
            Mistake(
                (16, 39, 1024),
                "With 16 modes, 31 of the 33 numbers are spent: two are left for one more.",
            ),
            Mistake((17, 40, 1024), "20 modes: the constant, and 19 with a cosine and a sine."),
            Mistake((17, 39, 1026), "Look at the last answer: only 1,024 lags are there."),
            Mistake((17, 41, 1024), "One less than twice the modes, not one more."),
        ),
    ),
    Exercise(
        name="lowrank-error",
        reference={"start", "end"},
        hints=(
            "Bend the 1,024 lags to a circle, as the waves do. Where isn't the decay smooth?",
            "What stands beside lag 0 on the circle?",
        ),
        mistakes=(
            Mistake(
                {"middle"},
                "In the middle the decay is as smooth as anywhere, and slow waves draw it well. "
                "To a wave that goes round, where is the jump?",
            ),
            Mistake(
                {"start"},
                "At the start, yes. But a wave that goes round ringing before the jump is at the "
                "other end.",
            ),
            Mistake(
                {"end"},
                "At the end, yes, and that is half of it: the jump has two sides.",
            ),
            Mistake(
                {"start", "quarter", "middle", "end"},
                "It isn't spread evenly: the waves miss the fast part, and that sits at the jump.",
            ),
            Mistake(
                {"start", "quarter"},
                "The ringing fades on both sides of the jump. What is on its other side?",
            ),
            Mistake(
                {"quarter", "middle"},
                "There the decay is smooth. The jump is where the circle closes.",
            ),
            Mistake(
                {"start", "middle"},
                "One is right. The other side of the jump isn't in the middle.",
            ),
        ),
    ),
    Exercise(
        name="lowrank-aliases",
        reference=_aliases,
        draw=_draw_stride,
        hints=(
            "The taps stand at lags 0, d, 2d, ... What must be added to omega so that "
            "exp(-i omega d) doesn't change?",
            "A real kernel is as loud at -omega as at omega. So take the distance to zero.",
            "There are d of them, in pairs around the multiples of 2π/d.",
        ),
        mistakes=(
            Mistake(
                _alone,
                "There are more: taps d lags apart can't see what a wave does in between.",
            ),
            Mistake(
                _upward,
                "Half of them are missing. -omega is as loud as omega, and has copies, too.",
            ),
            Mistake(
                _round_the_circle,
                "Frequencies above π are negative ones: their distance to zero is 2π minus them.",
            ),
            Mistake(
                _half_the_distance,
                "The copies are 2π/d apart, not π/d: exp(-i omega d) must not change.",
            ),
            Mistake(
                _harmonics,
                "Those are overtones. The distance of the copies doesn't depend on omega.",
            ),
            Mistake(
                _multiples_of_stride,
                "The stride divides the circle of frequencies. It doesn't multiply omega.",
            ),
        ),
        shrink=False,  # omega is below pi / d
    ),
    Exercise(
        name="lowrank-stretch",
        reference=_stretch,
        draw=_draw_short,
        hints=(
            "np.fft.rfft gives the frequencies of k. np.fft.irfft(spectrum, L) fills up with "
            "zeros.",
            "Try it with a constant k. What comes out, and what should?",
        ),
        mistakes=(
            Mistake(
                _scale_one,
                "The heights are too low: the inverse FFT divides by L, but k was summed over "
                "fewer lags.",
            ),
            Mistake(
                _same_energy,
                "That keeps the energy. Here the heights are to stay: take the whole factor.",
            ),
            Mistake(_scaled_down, "The factor is upside down."),
            Mistake(
                _zeros_in_time,
                "Those are zeros after the last lag. The zeros belong after the highest frequency.",
            ),
            Mistake(
                _zeros_after_all,
                "np.fft.fft has the negative frequencies at its end: with zeros after them they "
                "become other ones. Use rfft and irfft.",
            ),
            Mistake(
                _zeros_between,
                "Those are zeros between the lags, as in a dilated kernel: the spectrum repeats.",
            ),
            Mistake(_staircase, "That is a staircase. Slow waves go smoothly from value to value."),
        ),
    ),
    Exercise(
        name="lowrank-verdict",
        reference=("underfits", "overfits", "fits"),
        hints=(
            "Compare the dashed line with the noise. Below it a model has learned noise: why?",
            "Look at the right end, where data abounds. Do the lines meet? And at which height?",
        ),
        mistakes=(
            Mistake(
                ("overfits", "underfits", "fits"),
                "A large error in training is the one thing that overfitting never has.",
            ),
            Mistake(
                ("overfits", "overfits", "fits"),
                "Look at A's training error: it stays above the noise, so A can't even follow "
                "what it was shown.",
            ),
            Mistake(
                ("underfits", "underfits", "fits"),
                "B's training error is below the noise: it follows what it was shown too well.",
            ),
            Mistake(
                ("underfits", "fits", "overfits"),
                "Compare the gaps between both lines: that of B is far wider than that of C.",
            ),
            Mistake(
                ("underfits", "overfits", "overfits"),
                "With one sequence, C's gap is open a little. With more both lines go to the "
                "noise, early.",
            ),
            Mistake(
                ("underfits", "overfits", "underfits"),
                "C goes down to the noise: nothing that could be known is missed.",
            ),
            Mistake(
                ("fits", "overfits", "underfits"),
                "Where do the lines end when data abounds? A stays above the noise, C doesn't.",
            ),
        ),
    ),
    Exercise(
        name="lowrank-sum",
        reference=_fit_sum,
        draw=_draw_trend,
        hints=(
            "Every number of the sum has a kernel that it gives alone: a wave, or a one at a lag. "
            "Make them the columns of a matrix.",
            "np.linalg.lstsq finds all weights at once. Then multiply the matrix by them.",
            "The columns of both parts aren't at right angles: no part can be fitted alone.",
        ),
        mistakes=(
            Mistake(
                _trend_first,
                "The waves were fitted to the echo as well, before it was taken out. Fit both "
                "parts at once.",
            ),
            Mistake(
                _echo_first,
                "Taking out all of k at these lags leaves holes, and the waves are fitted to the "
                "holes. Fit both parts at once.",
            ),
            Mistake(
                _both_alone,
                "Each part is fitted to k as if it were alone: at these lags k is counted twice. "
                "(Multiplying k by the columns gives the weights only if all are at right angles.)",
            ),
            Mistake(_trend_alone, "Those are the waves. The free lags are missing."),
            Mistake(_echo_alone, "Those are the free lags. The waves are missing."),
        ),
    ),
)
