"""The kernels of `mrbook.native.triton_conv`: taps spread out, convolution, correlation.

Programs are numbered channel by channel in one dimension, the only one without a low limit: the
programs of a channel run at the same time, and find its inputs and taps in the cache.
"""

from __future__ import annotations  # Triton's annotations stay text where there is no Triton

import contextlib
from typing import no_type_check

from mrbook.native import gpu

with contextlib.suppress(ImportError):
    import triton.language as tl

__all__ = ["convolve", "correlate", "spread"]


@gpu.jit
@no_type_check  # another language
def spread(k, out, taps, width, origin, sign, k_c, k_s, COPIES: tl.constexpr, BLOCK: tl.constexpr):
    """``out[c, r, x] = f[x + r - origin]`` with ``f[lag] = k[c, sign * lag]``, 0 outside of k."""
    blocks = tl.cdiv(width, BLOCK)
    x = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    channel = (tl.program_id(0) // blocks).to(tl.int64)
    row = channel * COPIES * width
    for r in tl.static_range(COPIES):
        tap = sign * (x + r - origin)
        value = tl.load(k + channel * k_c + tap * k_s, (tap >= 0) & (tap < taps), other=0.0)
        tl.store(out + row + r * width + x, value, x < width)


def _configs(tiles: str, *rows: tuple[int, ...]) -> list[dict[str, int]]:
    names = [*tiles.split(), "num_warps", "num_stages"]
    return [dict(zip(names, row, strict=True)) for row in rows]


@gpu.autotune(
    _configs(
        "ROWS BLOCK INNER",
        (64, 64, 64, 4, 3),
        (128, 64, 64, 4, 3),
        (64, 128, 64, 4, 3),
        (128, 128, 64, 8, 3),
        (128, 128, 32, 4, 4),
        (256, 128, 32, 8, 4),
        (64, 64, 32, 4, 4),
        (32, 64, 32, 2, 4),
        (16, 64, 32, 2, 3),
    ),
    small={"ROWS": 16, "BLOCK": 32, "INNER": 16},
    key=["magnitudes"],
)
@gpu.jit
@no_type_check  # another language
def convolve(
    u,
    f,
    y,
    active,
    batch,
    n,
    length,
    past,
    ahead,
    width,
    base,
    u_b,
    u_c,
    u_t,
    y_b,
    y_c,
    magnitudes,
    GELU: tl.constexpr,
    KEEP: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    COPIES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    INNER: tl.constexpr,
):
    """y = sum of f[lag] u[t - lag] over -ahead <= lag <= past; active = gelu(y).

    A program has ROWS blocks of BLOCK outputs of one channel, those of one time side by side, and
    adds up products with INNER inputs each, of which BLOCK is a multiple. `magnitudes` is of no use
    here, see `gpu.jit`.
    """
    tiles = tl.cdiv(batch * tl.cdiv(length, BLOCK), ROWS)
    tile = tiles - 1 - tl.program_id(0) % tiles  # those with the longest past come first
    channel = tl.program_id(0) // tiles
    row = tile * ROWS + tl.arange(0, ROWS)
    start, sequence = row // batch * BLOCK, (row % batch).to(tl.int64)
    first, last = tile * ROWS // batch * BLOCK, (tile * ROWS + ROWS - 1) // batch * BLOCK

    # Block lags that may meet both f and u. Rounded by hand: // is towards 0 on the card.
    early = -((ahead + BLOCK - 1) // INNER)
    inside = -((n - 1 - first) // INNER)
    beyond = (first - n + INNER) // INNER
    early = tl.maximum(early, tl.where(first < n, inside, beyond))
    late = tl.minimum((past + INNER - 1) // INNER, last // INNER)

    s, t = tl.arange(0, INNER), tl.arange(0, BLOCK)
    u_rows = u + channel.to(tl.int64) * u_c + (sequence * u_b)[:, None]
    copy = (COPIES - 1 - s % COPIES) * width - s // COPIES * COPIES
    f_tile = f + channel.to(tl.int64) * COPIES * width + base + copy[:, None] + t[None, :]
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for lag in range(early, late + 1):
        at = start[:, None] - lag * INNER + s[None, :]
        inputs = tl.load(u_rows + at * u_t, (at >= 0) & (at < n), other=0.0)
        taps = tl.load(f_tile + lag * INNER, cache_modifier=".ca")  # few, and asked for again
        if WIDEN:
            inputs, taps = inputs.to(tl.float32), taps.to(tl.float32)
        total = tl.dot(inputs, taps, total, input_precision=PRECISION)

    out = start[:, None] + t[None, :]
    to = channel.to(tl.int64) * y_c + (sequence * y_b)[:, None] + out
    if KEEP:
        tl.store(y + to, total.to(y.dtype.element_ty), out < length)
    if GELU:
        total = 0.5 * total * (1.0 + tl.erf(total * 0.7071067811865476))
        tl.store(active + to, total.to(active.dtype.element_ty), out < length)


@gpu.autotune(
    _configs(
        "ROWS BLOCK",
        (64, 64, 4, 3),
        (32, 64, 4, 4),
        (128, 64, 4, 3),
        (64, 128, 8, 3),
        (32, 128, 8, 4),
    ),
    small={"ROWS": 16, "BLOCK": 16},
    key=["magnitudes"],
)
@gpu.jit
@no_type_check  # another language
def correlate(
    late,
    early,
    out,
    batch,
    late_n,
    early_n,
    taps,
    late_b,
    late_c,
    late_t,
    early_b,
    early_c,
    early_t,
    magnitudes,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[c, 0] + out[c, 1] = sum over batch and t of late[t] early[t - lag], by lag.

    A program has one channel and one block lag: all pairs of a block of `late` and the block of
    `early` so much before give a matrix over (t, s), whose diagonals belong to one lag each. Those
    from 0 on go to the first half of `out`, the others to the second, so nothing is added twice.
    """
    lags = tl.cdiv(taps, BLOCK) + 1
    lag, channel = tl.program_id(0) % lags, (tl.program_id(0) // lags).to(tl.int64)
    t = tl.arange(0, BLOCK)
    blocks = tl.minimum((late_n - 1) // BLOCK, lag + (early_n - 1) // BLOCK) + 1
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for begin in range(lag * batch, blocks * batch, ROWS):
        row = begin + tl.arange(0, ROWS)
        time, sequence = row // batch * BLOCK, (row % batch).to(tl.int64)
        here = time[:, None] + t[None, :]
        there = here - lag * BLOCK
        a = late + channel * late_c + (sequence * late_b)[:, None] + here * late_t
        b = early + channel * early_c + (sequence * early_b)[:, None] + there * early_t
        a = tl.load(a, here < late_n, other=0.0)
        b = tl.load(b, there < early_n, other=0.0)
        if WIDEN:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)

    # Column j of the turned matrix is the diagonal t - s = j - BLOCK.
    j = tl.arange(0, 2 * BLOCK)
    s = t[:, None] + BLOCK - j[None, :]
    diagonals = tl.gather(total, tl.minimum(tl.maximum(s, 0), BLOCK - 1), axis=1)
    sums = tl.sum(tl.where((s >= 0) & (s < BLOCK), diagonals, 0.0), axis=0)
    at = (lag - 1) * BLOCK + j
    half = tl.where(j < BLOCK, taps, 0)
    tl.store(out + channel * 2 * taps + half + at, sums, (at >= 0) & (at < taps))
