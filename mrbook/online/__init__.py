"""Online convolution: a long convolution output by output, below the price of dot products.

``y[t] = sum_τ k[τ] u[t - τ]`` is wanted before u[t + 1] is known: in sampling, the next input is
made of this output. No FFT of the whole can do that, and a dot product a step costs L²/2 in L
steps. But a past input may be sent ahead to its part in the future at any time. Whenever i inputs
are known and p is the largest power of two that divides i, the newest p of them are sent to the
next p outputs, the p² products of this tile by one FFT. Every pair of an input and a later output
lies in one tile and in no other. L steps cost O(L log² L), and nobody needs to know L.

Why once: let input s meet output t > s. Of the numbers in ``(s, t]`` take i, the one that the
largest power of two divides, p. There is one such i: between two odd multiples of p lies an even
one. The multiples of 2p next to it, ``i - p`` and ``i + p``, are outside of ``(s, t]``, so tile i
has the pair. No other i' in ``(s, t]`` has it: its tile is of a size p' < p, and i, a multiple of
2p', is at least p' away. If i is later, output t comes after the tile's last; if it is earlier,
input s comes before the tile's first.

A kernel of length M needs no tile beyond the first power of two P that is at least M - 1, its
largest lag: then ``(s, t]`` holds at most one multiple of P, which takes the part of i with P in
place of p.

References
----------
J. van der Hoeven, "Relax, but don't be too lazy", Journal of Symbolic Computation 34 (2002), for
power series. C.-A. Oncescu, S. Purandare, S. Idreos, S. Kakade, "Flash Inference: Near Linear Time
Inference for Long Convolution Sequence Models and Beyond", arXiv:2410.12982, and N. Agarwal et al.,
"FutureFill: Fast Generation from Convolutional Sequence Models", arXiv:2410.03766, for layers.
"""

from mrbook.online.streams import (
    BLOCK,
    OnlineKernel,
    State,
    check_state,
    dot_step,
    initial_state,
)
from mrbook.online.tiles import (
    OnlineConv,
    Tile,
    largest_tile,
    multiplications,
    tile_conv,
    tile_size,
    tile_spectrum,
    tiles,
)

__all__ = [
    "BLOCK",
    "OnlineConv",
    "OnlineKernel",
    "State",
    "Tile",
    "check_state",
    "dot_step",
    "initial_state",
    "largest_tile",
    "multiplications",
    "tile_conv",
    "tile_size",
    "tile_spectrum",
    "tiles",
]
