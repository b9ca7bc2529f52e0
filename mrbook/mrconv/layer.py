"""MRConv: a weighted sum of normalized convolutions of different lengths, which merges into one."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.checks import check_count, check_number
from mrbook.convolution import ConvolutionLayer
from mrbook.longconv import causal_conv, check_input, inner_dtype, mask_padding
from mrbook.mrconv.base import Kernel
from mrbook.mrconv.branches import (
    batch_moments,
    branch_lengths,
    merge_kernels,
    mrconv_branches,
    mrconv_merged,
    start_weights,
)
from mrbook.mrconv.fused import FusedConv, fuse
from mrbook.mrconv.kernels import KERNELS, make_kernel
from mrbook.statistics import count_steps, follow

__all__ = ["MRConv"]

NORMS = ("batch", "layer", None)
Form = Callable[[Tensor, Tensor | None], Tensor]


class MRConv(ConvolutionLayer):
    """Sequence layer: multi-resolution convolution, channel by channel.

    ``y = sum_i alpha_i BN_i(k_i * u) + beta``, kernel i being ``2^i l0`` lags long. The weights
    alpha decide how much the past counts by its distance: they learn the decay of the kernel. In
    evaluation mode batch normalization is affine, and the layer is one causal convolution with a
    bias, which `fuse` makes a layer of its own. In training it is one convolution too, whose
    scales depend on statistics of the whole batch: there it sees the future, see `mrconv_merged`.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int, optional
        Longest lag that should be reached, see `branch_lengths`. Any length may follow.
    kernel : {"dense", "dilated", "fourier", "sparse", "fourier+sparse"}
        Kind of the kernels, see `mrbook.mrconv.make_kernel`.
    branches : int, optional
        How many resolutions N; required without `length`.
    l0 : int
        Length of the shortest kernel.
    taps : int, optional
        Parameters of every kernel and channel at every resolution, at most l0, where the kind is
        not dense. Default: l0.
    norm : {"batch", "layer", None}
        What normalizes a branch: statistics of each channel over batch and time; of each time step
        over the channels, which is not linear; or nothing.
    bidirectional : bool
        Let N branches more look ahead in time, for classification of whole sequences. Such a layer
        is not causal.
    decay : float
        Start of alpha, ``alpha_i ∝ 2^(-decay i)``, see `mrbook.mrconv.start_weights`.
    learn_alpha : bool
        Whether alpha is trained.
    kernel_lr : float
        Highest learning rate of the kernels, for `mrbook.train.parameter_groups`.
    eps, momentum : float
        As for `torch.nn.BatchNorm1d`.
    seed : int, optional
        For sparse lags; branch i takes seed + i. Default: PyTorch's global generator.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    kernels : ModuleList of Kernel
        Shortest first; those that look ahead follow, shortest first.
    alpha : Parameter
        Shape ``(channels, branches)``, twice as many if bidirectional.
    beta : Parameter
        Shape ``(channels,)``, 0 at first.
    running_mean, running_var : Tensor
        With norm="batch": buffers of the shape of alpha, which follow the statistics in training.
    num_batches_tracked : Tensor
        How often they did.
    bias : Tensor
        Of the one convolution, shape ``(channels,)``: beta, less what the means of the branches
        come to.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time. The merged form
        in training takes an FFT.

    Raises
    ------
    TypeError, ValueError
        If a size, a number or a name is out of range, see also `branch_lengths`.
    RuntimeError
        Where a linear answer is asked for (`kernel`, `bias`, `initial_state`, `step`, `fuse`) and
        the layer is not linear: in training mode with batch normalization, or with layer
        normalization. If bidirectional, these always raise.

    Notes
    -----
    Batch normalization usually has a gain gamma and an offset of its own. Here ``alpha_i gamma_i``
    would be one number, and the offsets of all branches add up to one: so each branch has alpha
    alone, and the layer beta. Folding a gamma in means multiplying alpha by it.

    All branches start alike. That no decay is presupposed is our choice, and so are the start of
    the kernels (see `mrbook.mrconv.Kernel`) and l0; the paper's are not known to us.

    Parameters per channel: those of the kernels, alpha (N) and beta (1).

    References
    ----------
    H. J. Cunningham, G. Giannone, M. Zhang, M. Deisenroth, "Reparameterized Multi-Resolution
    Convolutions for Long Sequence Modelling", NeurIPS 2024, arXiv:2408.09453.

    Examples
    --------
    >>> layer = MRConv(channels=3, length=100, l0=8)
    >>> [kernel.length for kernel in layer.kernels]
    [8, 16, 32, 64, 100]
    >>> layer(torch.randn(2, 3, 50)).shape  # a batch to train on
    torch.Size([2, 3, 50])
    >>> fused, error = layer.eval().fuse()
    >>> fused.weight.shape, error < 1e-6
    (torch.Size([3, 100]), True)
    """

    optimizer_options: ClassVar[Mapping[str, Mapping[str, float]]] = {
        "alpha": {"weight_decay": 0.0},
        "beta": {"weight_decay": 0.0},
    }

    kernel_length: int
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: int,
        *,
        length: int | None = None,
        kernel: str = "dense",
        branches: int | None = None,
        l0: int = 16,
        taps: int | None = None,
        norm: str | None = "batch",
        bidirectional: bool = False,
        decay: float = 0.0,
        learn_alpha: bool = True,
        kernel_lr: float = 0.001,
        eps: float = 1e-5,
        momentum: float = 0.1,
        seed: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        sizes = branch_lengths(length, branches, l0)
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        if norm not in NORMS:
            raise ValueError(f'norm must be "batch", "layer" or None, got {norm!r}')
        if kernel == "dense" and taps is not None:
            raise ValueError(f"taps goes with kernels that are not dense, got {taps}")
        taps = l0 if taps is None else check_count(taps, "taps", high=l0)
        kernel_lr = check_number(kernel_lr, "kernel_lr", 0, ends="(]")
        self.eps = check_number(eps, "eps", 0, ends="(]")
        self.momentum = check_number(momentum, "momentum", 0, 1, ends="(]")
        for name, flag in (("bidirectional", bidirectional), ("learn_alpha", learn_alpha)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be True or False, got {flag!r}")
        if seed is not None:
            seed = check_count(seed, "seed", 0)
        self.kind, self.norm, self.bidirectional = kernel, norm, bidirectional
        self.branches, self.l0, self.kernel_length = len(sizes), l0, sizes[-1]
        alpha = start_weights(len(sizes), check_number(decay, "decay"))
        alpha = (alpha / (1 + bidirectional) ** 0.5).repeat(self.channels, 1 + bidirectional)
        alpha = alpha.to(device, dtype or torch.get_default_dtype())
        self.alpha = nn.Parameter(alpha, requires_grad=learn_alpha)
        self.beta = nn.Parameter(torch.zeros(self.channels, device=device, dtype=dtype))
        seeds = itertools.repeat(None) if seed is None else itertools.count(seed)
        kernels = nn.ModuleList(
            make_kernel(kernel, self.channels, size, taps, seed=own, device=device, dtype=dtype)
            for size, own in zip(sizes * (1 + bidirectional), seeds, strict=False)
        )
        self.kernels: Iterable[Kernel] = kernels  # type: ignore[assignment]
        for part in kernels.modules():
            if isinstance(part, Kernel):
                part.optimizer_options = {"weight": {"lr": kernel_lr, "weight_decay": 0.0}}
        if norm == "batch":
            self.register_buffer("running_mean", torch.zeros_like(alpha))
            self.register_buffer("running_var", torch.ones_like(alpha))
            self.register_buffer("num_batches_tracked", torch.tensor(0, device=device))

    # ---- whole sequences ------------------------------------------------------------------------

    def forward(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Apply the layer to whole sequences; in training, let the running statistics follow.

        Parameters
        ----------
        u : Tensor
            Shape ``(batch, channels, length)``, any length.
        lengths : Tensor, optional
            True lengths of a padded batch, integers of shape ``(batch,)``. Batch statistics are of
            the real time steps, over all processes if there are several.

        Returns
        -------
        Tensor
            Shape and dtype of u; 0 beyond each true length. float16 and bfloat16 are computed in
            float32, under autocast too.

        Raises
        ------
        TypeError, ValueError
            If u or lengths has another shape, dtype or device than it should have, or there are
            fewer than two real time steps for batch statistics (checked on the CPU only).
        """
        if self.norm == "layer":
            return self.by_branches(u, lengths)
        if self.norm == "batch" and self.training:
            return self._whole(u, lengths, self._in_training)
        if self.bidirectional:
            return self._whole(u, lengths, self._both_ways)
        return super().forward(u, lengths)

    def by_branches(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The same answer one branch after the other: slow, and with derivatives of every order.

        The running statistics stay as they are.
        """
        return self._whole(u, lengths, self._by_branches)

    def _whole(self, u: Tensor, lengths: Tensor | None, convolve: Form) -> Tensor:
        """What is the same for all forms: checks, padding, dtypes, autocast and beta."""
        check_input(u, self.alpha, ("batch", self.channels, "length"))
        x = u if lengths is None else mask_padding(u, lengths)
        dtype = inner_dtype(u)
        with torch.autocast(u.device.type, enabled=False):
            y = convolve(x.to(dtype), lengths) + self.beta.to(dtype)[:, None]
            y = y.to(u.dtype)
        return y if lengths is None else mask_padding(y, lengths)

    def _by_branches(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        def back(z: Tensor, i: int) -> Tensor:
            return self._normalize(z, i, lengths)

        def ahead(z: Tensor, i: int) -> Tensor:
            return self._normalize(z.flip(-1), self.branches + i, lengths).flip(-1)

        kernels, alpha = self._materialized(x.shape[-1]), self.alpha.to(x.dtype)
        n = self.branches
        y = mrconv_branches(x, kernels[:n], alpha[:, :n], back, self.method)
        if self.bidirectional:
            other = mrconv_branches(x.flip(-1), kernels[n:], alpha[:, n:], ahead, self.method)
            y = y + other.flip(-1)
        return y

    def _normalize(self, z: Tensor, i: int, lengths: Tensor | None) -> Tensor:
        if self.norm is None:
            return z
        if self.norm == "layer":
            return F.layer_norm(z.mT, (self.channels,), eps=self.eps).mT
        if self.training:
            mean, variance = batch_moments(z, lengths)
        else:
            mean, variance = (s[:, i].to(z.dtype) for s in (self.running_mean, self.running_var))
        return (z - mean[:, None]) * (variance[:, None] + self.eps).rsqrt()

    def _in_training(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        count, n = count_steps(x, lengths), self.branches
        kernels, alpha = self._materialized(x.shape[-1]), self.alpha.to(x.dtype)
        y, mean, variance = mrconv_merged(x, kernels[:n], alpha[:, :n], count, self.eps, lengths)
        if self.bidirectional:
            ahead = x.flip(-1)  # all sequences end together, whatever their lengths
            other, *more = mrconv_merged(ahead, kernels[n:], alpha[:, n:], count, self.eps)
            y = y + other.flip(-1)
            mean, variance = torch.cat([mean, more[0]], 1), torch.cat([variance, more[1]], 1)
        follow(self, mean, variance, count)
        return y

    def _both_ways(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        kernels, (scale, shift) = self._materialized(x.shape[-1]), self._affine(x.dtype)
        n = self.branches
        back, ahead = (
            merge_kernels(kernels[part], scale[:, part]) for part in (slice(n), slice(n, None))
        )
        y = causal_conv(x, back, self.method)
        return y + causal_conv(x.flip(-1), ahead, self.method).flip(-1) + shift[:, None]

    # ---- as one convolution ---------------------------------------------------------------------

    @property
    def bias(self) -> Tensor:
        """Of the one convolution that the layer is, shape ``(channels,)``."""
        self._require_linear("bias")
        dtype = inner_dtype(self.beta)
        return self.beta.to(dtype) + self._affine(dtype)[1]

    @bias.setter
    def bias(self, value: float | Tensor) -> None:
        if not (isinstance(value, float) and value == 0):  # which the base class starts with
            raise AttributeError("bias follows from beta and the running statistics: set beta")

    def kernel(self, length: int) -> Tensor:
        """The convolution that the layer is, by lag, shape ``(channels, length)``."""
        k = super().kernel(length)
        return F.pad(k, (0, length - k.shape[1]))

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        # No longer than its longest branch: zeros at more lags would only cost time.
        self._require_linear("kernel")
        return merge_kernels(self._materialized(length), self._affine(dtype)[0])

    def _finite_length(self) -> int:
        self._require_linear("a step")
        return super()._finite_length()

    def fuse(self, length: int | None = None) -> tuple[FusedConv, float]:
        """Merge branches, weights and running statistics into one convolution with a bias.

        Many sets of branches merge into the same kernel (what a short kernel adds, a longer one
        could have added), so that there is no way back: keep the original for further training. It
        is left as it is.

        Parameters
        ----------
        length : int, optional
            Lags of the fused kernel. Default: as many as the longest branch has.

        Returns
        -------
        fused : FusedConv
            With ``channels * length + channels`` parameters, in evaluation mode.
        error : float
            The largest difference from the branches computed one after the other, relative to
            their largest value, for white noise: 4,096 steps or the length of the kernel, whichever
            is more, but no more than `length` where that cuts the kernel.

        Raises
        ------
        RuntimeError
            In training mode, with statistics that were never updated, if bidirectional, or with
            layer normalization, which is not linear.
        """
        self._require_linear("fuse")
        if self.training:
            raise RuntimeError("fuse works in evaluation mode only: call .eval() first")
        if self.norm == "batch" and self.num_batches_tracked == 0:
            raise RuntimeError(
                "fuse needs the running statistics of training, and these were never updated: "
                "train the layer or load its state first"
            )
        length = self.kernel_length if length is None else check_count(length, "length")
        return fuse(self, length, self.by_branches)

    def _require_linear(self, what: str) -> None:
        if self.bidirectional:
            raise RuntimeError(f"{what} is of causal layers, and this one is bidirectional")
        if self.norm == "layer":
            raise RuntimeError(f"{what} is of linear layers, and layer normalization is not linear")
        if self.norm == "batch" and self.training:
            raise RuntimeError(
                f"{what} works in evaluation mode only, in training the layer is not linear: "
                "call .eval() first"
            )

    # ---- parts ----------------------------------------------------------------------------------

    def _materialized(self, length: int) -> list[Tensor]:
        """All kernels, none with more lags than `length`."""
        return [kernel.materialize(min(length, kernel.length)) for kernel in self.kernels]

    def _affine(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What multiplies each branch, shape of alpha, and what is added to their sum."""
        alpha = self.alpha.to(dtype)
        if self.norm is None:
            return alpha, alpha.new_zeros(self.channels)
        scale = alpha * (self.running_var.to(dtype) + self.eps).rsqrt()
        return scale, -(scale * self.running_mean.to(dtype)).sum(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}weight" in state_dict:
            args[-1].append(
                f"{prefix or 'the state dict '}is of a fused layer, whose branches can't be had "
                "back: load it into a FusedConv"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        sizes = f"{self.channels}, kernel={self.kind!r}, branches={self.branches}, l0={self.l0}"
        return f"{sizes}, norm={self.norm!r}, bidirectional={self.bidirectional}"
