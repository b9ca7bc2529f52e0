"""MRConv: convolutions of many lengths, normalized, weighted, summed, and merged into one.

`mrconv_branches` is the definition, `mrconv_merged` the same answer with a single convolution, and
`MRConv` the layer. `FusedConv` is what its branches become for inference. The kernels of the
branches are of several kinds: see `Kernel`.
"""

from mrbook.mrconv.base import Kernel
from mrbook.mrconv.branches import (
    batch_moments,
    branch_lengths,
    merge_kernels,
    mrconv_branches,
    mrconv_merged,
    start_weights,
)
from mrbook.mrconv.fused import FusedConv
from mrbook.mrconv.kernels import (
    KERNELS,
    DenseKernel,
    DilatedKernel,
    FourierKernel,
    SumKernel,
    make_kernel,
)
from mrbook.mrconv.layer import MRConv
from mrbook.mrconv.moments import branch_moments, spectral_conv
from mrbook.mrconv.sparse import SparseKernel

__all__ = [
    "KERNELS",
    "DenseKernel",
    "DilatedKernel",
    "FourierKernel",
    "FusedConv",
    "Kernel",
    "MRConv",
    "SparseKernel",
    "SumKernel",
    "batch_moments",
    "branch_lengths",
    "branch_moments",
    "make_kernel",
    "merge_kernels",
    "mrconv_branches",
    "mrconv_merged",
    "spectral_conv",
    "start_weights",
]
