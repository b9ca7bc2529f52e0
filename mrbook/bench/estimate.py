"""Bytes and operations of a long convolution, counted before anything is timed.

Each way to compute it has to move so many bytes through the card's memory and do so many operations
on one of its units. The larger of the two times is a floor that no program gets below. For a layer
of the published network at batch 50, 256 channels of length 1,024, in bfloat16:

>>> for count in estimate():
...     print(count)
memory floor             52 MB       0.0 GFLOP          12 us    1.0
tree, on chip            52 MB       1.0 GFLOP          35 us    2.9
cut tree, on chip        52 MB       4.2 GFLOP          12 us    1.0
block-Toeplitz          262 MB      15.1 GFLOP          48 us    3.9
FFT                    1153 MB       1.4 GFLOP         268 us   22.0
tree, by level         3067 MB       1.0 GFLOP         713 us   58.5

The tree has the fewest operations by far, but all levels go through shared memory, and backward
that takes as long as the products of blocks take to come from the cache. Those serve every kernel,
MRConv's, S4D's and the free ones, and tensor cores ask for nothing else: that is why
`mrbook.native.triton_conv` is what was built. Closest comes a tree cut in two, the lags below a
root of the length as two filters and the others as one filter on every root-th low-pass
coefficient, all three as matrix products. It serves MultiresConv alone, and nobody has built it.
"""

import math
from dataclasses import dataclass

from mrbook.memory import tree_depth

__all__ = ["CARDS", "Card", "Count", "estimate"]


@dataclass(frozen=True)
class Card:
    """What a card can do, per second.

    Attributes
    ----------
    memory, cache, shared : float
        Bytes between the card and its memory, its second-level cache, and all shared memories.
    matrix, plain : float
        Floating-point operations of its tensor cores in 16 bits, and of the other units in 32.
    """

    memory: float
    cache: float
    shared: float
    matrix: float
    plain: float


#: Memory and matrix rates are what a large copy and a large product reach; the others are limits of
#: the design at 1.75 GHz (132 multiprocessors, 128 bytes and 256 operations a cycle each).
CARDS = {
    "H200": Card(memory=4.3e12, cache=5.5e12, shared=29.6e12, matrix=7.8e14, plain=59e12),
    "H100": Card(memory=3.0e12, cache=5.5e12, shared=29.6e12, matrix=7.8e14, plain=59e12),
}


@dataclass(frozen=True)
class Count:
    """What one way to compute costs.

    Attributes
    ----------
    name : str
        Which way.
    bytes : float
        Through the card's memory; for "block-Toeplitz" those beyond the first reading come from the
        second-level cache.
    operations : float
        Floating-point operations, a multiplication and an addition being two.
    units : dict from str to float
        Seconds that each unit of the card needs, those that have something to do; all work at once.
    ratio : float
        Seconds by those of the memory floor.
    """

    name: str
    bytes: float
    operations: float
    units: dict[str, float]
    ratio: float

    @property
    def limit(self) -> str:
        """The unit that takes longest."""
        return max(self.units, key=self.units.__getitem__)

    @property
    def seconds(self) -> float:
        """The least time, that of the slowest unit."""
        return self.units[self.limit]

    def __str__(self) -> str:
        return (
            f"{self.name:<18}{self.bytes / 1e6:9.0f} MB{self.operations / 1e9:10.1f} GFLOP"
            f"{self.seconds * 1e6:12.0f} us{self.ratio:7.1f}"
        )


def estimate(
    batch: int = 50,
    channels: int = 256,
    length: int = 1024,
    *,
    taps: int = 2,
    itemsize: int = 2,
    backward: bool = False,
    card: str = "H200",
    tile: tuple[int, int] = (128, 128),
) -> list[Count]:
    """Count the ways to compute MultiresConv, each as a causal convolution as long as its input.

    Parameters
    ----------
    batch, channels, length : int
        Of the input.
    taps : int
        Of the filters, K.
    itemsize : int
        Bytes of a number: 2 with products on tensor cores, 4 with products of float32.
    backward : bool
        With the gradients of input and kernel.
    card : str
        A key of `CARDS`.
    tile : (int, int)
        Rows and columns that a program of the block-Toeplitz product holds.

    Returns
    -------
    list of Count
        The memory floor, then "tree, on chip", "cut tree, on chip", "block-Toeplitz", "FFT" and
        "tree, by level", the form of `mrbook.multires.multires_conv`.

    Notes
    -----
    The floor reads the input and writes the output, 2 numbers a sample; backward it reads the
    gradient and the input and writes a gradient, 3 more.

    The tree multiplies 2 K times a level and sample, backward 5 K times more (the levels again, the
    gradient, and the sums for the filters). Through shared memory go K numbers a level, those of
    other threads and its own, in float32; backward 3 K more.

    The cut tree has blocks of B, the root of the length: its two filters of (K - 1) B taps take
    2 K B multiplications a sample as matrix products, and the coarse one ``length / B``.

    The product of blocks multiplies ``(length + columns) / 2`` times a sample. Each input is read
    for each tile of output that comes after it, ``(length / columns + 1) / 2`` on average, and a
    tile of the matrix serves as many rows as a program has: both come from the second-level cache.
    Backward there are two more products.

    The FFT works in float32 on twice the length. Counted as numbers of a sample it is converted
    (written 1), padded (1 + 2), transformed (2 + 2), multiplied (2 + 2), copied (2 + 2: PyTorch
    keeps the input of an inverse), transformed back (2 + 2), and converted (read 1).

    Level by level the tree as published pads (1 + 1), convolves twice (2 + 2), weights (1 + 1) and
    adds (2 + 1), and has 7 more at its ends. Backward both of the last cost about twice as much
    again.

    Examples
    --------
    >>> floor, *others = estimate(length=16384, backward=True, card="H100")
    >>> fastest = min(others, key=lambda count: count.seconds)
    >>> fastest.name, fastest.limit
    ('cut tree, on chip', 'tensor cores')
    """
    limits = CARDS[card]
    samples = batch * channels * length
    floor = samples * itemsize * (5 if backward else 2)
    levels = tree_depth(length, taps)
    cores = "tensor cores" if itemsize == 2 else "plain units"
    product = limits.matrix if itemsize == 2 else limits.plain

    tree = 2 * (7 if backward else 2) * taps * levels * samples
    shared = (4 if backward else 1) * taps * levels * samples * 4

    products = 3 if backward else 1
    root = 2 ** math.ceil(math.log2(length) / 2)
    cut = 2 * (2 * taps * root + length / root) * samples * products

    rows, columns = tile
    toeplitz = (length + columns) * samples * products
    inputs = samples * (length / columns + 1) / 2
    cached = ((inputs + toeplitz / products / 2 / rows + samples) * products) * itemsize

    n = 2 * length
    fft = 2.5 * n * math.log2(n) * batch * channels * 2 * products
    converted = 2 * (itemsize + 4) if itemsize < 4 else 0
    fft_bytes = (converted + 4 * (3 + 4 + 4 + 4 + 4)) * samples * products
    level_bytes = (11 * levels + 7) * itemsize * samples * products
    toeplitz_units = {
        "memory": floor / limits.memory,
        "cache": cached / limits.cache,
        cores: toeplitz / product,
    }
    rows_of: list[tuple[str, float, float, dict[str, float]]] = [
        ("memory floor", floor, 0.0, {}),
        (
            "tree, on chip",
            floor,
            tree,
            {"plain units": tree / limits.plain, "shared memory": shared / limits.shared},
        ),
        ("cut tree, on chip", floor, cut, {cores: cut / product}),
        ("block-Toeplitz", cached, toeplitz, toeplitz_units),
        ("FFT", fft_bytes, fft, {"plain units": fft / limits.plain}),
        ("tree, by level", level_bytes, tree, {"plain units": tree / limits.plain}),
    ]
    counts = []
    for name, moved, operations, units in rows_of:
        units = {"memory": moved / limits.memory} | units
        ratio = max(units.values()) * limits.memory / floor
        counts.append(Count(name, moved, operations, units, ratio))
    return counts
