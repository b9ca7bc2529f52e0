"""A wavelet memory of a signal's past: write, forget, recall.

`AnchoredMemory` is the memory at one time, its tree anchored at now: what MultiresConv weights.
`WaveletMemory` is a stream, anchored at the start, which never needs the past again. Beside them
stand three memories to compare with: `SlidingWindow`, `ExponentialMemory` and `LegendreMemory`
(HiPPO-LegS). All recall in the same way and say how many numbers they keep.
"""

from mrbook.memory.anchored import AnchoredMemory, tree_depth
from mrbook.memory.bands import Band
from mrbook.memory.base import Memory, Stream
from mrbook.memory.comparison import ExponentialMemory, SlidingWindow
from mrbook.memory.legendre import LegendreMemory, hippo_legs
from mrbook.memory.stream import WaveletMemory

__all__ = [
    "AnchoredMemory",
    "Band",
    "ExponentialMemory",
    "LegendreMemory",
    "Memory",
    "SlidingWindow",
    "Stream",
    "WaveletMemory",
    "hippo_legs",
    "tree_depth",
]
