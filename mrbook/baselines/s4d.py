"""S4D: a diagonal state space, computed as a convolution or as a recurrence.

Each channel drives `state_size` / 2 damped oscillators by its input and reads their sum,

    s'(t) = A s(t) + u(t),    y(t) = 2 Re(C s(t)) + D u(t),

with complex numbers A, C per oscillator; the factor B of u is fixed at 1, because C can take it in.
Twice the real part stands for the conjugates, so that the state counts `state_size` numbers. With
the input held over a time step dt, one oscillator is ``s[t] = exp(dt A) s[t - 1] + b u[t]``, and
the layer a convolution whose kernel is a sum of exponentials.

References
----------
A. Gu, A. Gupta, K. Goel, C. Ré, "On the Parameterization and Initialization of Diagonal State
Space Models", NeurIPS 2022, arXiv:2206.11893.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrbook.baselines.state import check_state
from mrbook.checks import check_count, check_number
from mrbook.convolution import ConvolutionLayer
from mrbook.longconv import check_input, inner_dtype

__all__ = ["INITS", "S4D", "exponentials", "s4d_spectrum", "zero_order_hold"]

INITS = ("lin", "inv", "real")

# ---- the core -----------------------------------------------------------------------------------


def exponentials(length: int, c: Tensor, log_z: Tensor) -> Tensor:
    """A kernel that is a sum of damped oscillations, ``k[τ] = 2 Re sum_n c[n] exp(log_z[n] τ)``.

    With ``τ = i width + j`` every exponential is a product of one in i and one in j. That takes two
    short tables per oscillator, and one product of real matrices per channel: the table of
    ``(channels, modes, length)`` exponentials (Vandermonde's matrix) is never made.

    Parameters
    ----------
    length : int
        Number of lags.
    c, log_z : Tensor
        Weights, and logarithms of what one step multiplies by: complex, shape
        ``(channels, modes)``.

    Returns
    -------
    Tensor
        Real, shape ``(channels, length)``.

    Examples
    --------
    >>> c, z = torch.tensor([[0.5 + 0j]]), torch.tensor([[0.5 + 0j]])
    >>> exponentials(4, c, z.log())
    tensor([[1.0000, 0.5000, 0.2500, 0.1250]])
    """
    width = 1
    while width * width < length:
        width *= 2
    i = width * torch.arange(-(-length // width), device=c.device)
    j = torch.arange(width, device=c.device)
    rows = torch.view_as_real(c[..., None] * _exp(log_z[..., None] * i))
    columns = torch.view_as_real(_exp(log_z.conj()[..., None] * j))  # Re(p q) = p · conj(q)
    return 2 * torch.einsum("dnip,dnjp->dij", rows, columns).flatten(1)[:, :length]


def _exp(z: Tensor) -> Tensor:
    """``torch.exp`` of complex numbers, vectorized on the CPU."""
    return torch.polar(z.real.exp(), z.imag)


def zero_order_hold(dt: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    """One time step of ``s' = A s + u``, input held: ``s[t] = exp(dt A) s[t - 1] + b u[t]``.

    Parameters
    ----------
    dt : Tensor
        Time steps, any shape that broadcasts with A.
    A : Tensor
        Complex, none of them 0.

    Returns
    -------
    (Tensor, Tensor)
        ``dt A`` and ``b = (exp(dt A) - 1) / A``.

    Examples
    --------
    >>> log_z, b = zero_order_hold(torch.tensor(0.1), torch.tensor(-1.0 + 0j))
    >>> log_z.exp().real, b.real
    (tensor(0.9048), tensor(0.0952))
    """
    log_z = dt * A
    return log_z, torch.expm1(log_z) / A  # exp(log_z) - 1 would cancel: dt A is often small


def s4d_spectrum(init: str, state_size: int) -> Tensor:
    """Where the oscillators start: the published values of A.

    Parameters
    ----------
    init : {"lin", "inv", "real"}
        S4D-Lin ``-1/2 + iπn``, evenly spaced frequencies; S4D-Inv
        ``-1/2 + i (N/π) (N/(2n + 1) - 1)``, spaced as in the normal part of HiPPO-LegS; S4D-Real
        ``-(n + 1)``, eigenvalues of HiPPO-LegS. N is the state size and n = 0, ..., N/2 - 1.
    state_size : int
        N, even.

    Returns
    -------
    Tensor
        Shape ``(state_size / 2,)``, complex128.

    Raises
    ------
    ValueError
        If init is unknown or the state size is odd.

    Examples
    --------
    >>> s4d_spectrum("real", 4).real
    tensor([-1., -2.], dtype=torch.float64)
    """
    N = check_count(state_size, "state_size", 2)
    if N % 2:
        raise ValueError(f"state_size must be even, got {N}")
    n = torch.arange(N // 2, dtype=torch.float64)
    half = torch.full_like(n, -0.5)
    if init == "lin":
        return torch.complex(half, math.pi * n)
    if init == "inv":
        return torch.complex(half, N / math.pi * (N / (2 * n + 1) - 1))
    if init == "real":
        return torch.complex(-(n + 1), torch.zeros_like(n))
    raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")


# ---- the layer ----------------------------------------------------------------------------------


class S4D(ConvolutionLayer):
    """Sequence layer: diagonal state space, causal and linear, channel by channel.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    length : int, optional
        Taken so that every layer can be built alike; nothing depends on it. How far the layer looks
        back is set by dt: with a real part of -1/2 an oscillator fades to 1/e in 2 / dt steps, from
        20 steps at the default dt_max to 2,000 at the default dt_min.
    state_size : int
        Numbers N in the state of each channel, an even number: N / 2 oscillators.
    init : {"lin", "inv", "real"}
        Where A starts, see `s4d_spectrum`. All of A is trained, so that "real" oscillators don't
        stay so.
    dt_min, dt_max : float
        The time step of each channel starts between them, with a uniform logarithm.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    log_dt : Parameter
        Shape ``(channels,)``.
    log_A_real, A_imag : Parameter
        ``A = -exp(log_A_real) + i A_imag``, shape ``(channels, state_size / 2)``: with a negative
        real part the layer is stable whatever is learned.
    C : Parameter
        Real and imaginary parts, shape ``(channels, state_size / 2, 2)``.
    D : Parameter
        Weight of the input itself, shape ``(channels,)``; the kernel has it at lag 0.
    bias : float
        0: the layer has none.
    method : str
        Of `mrbook.longconv.causal_conv`, "auto" at first; may be set at any time.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or out of range, init is unknown, or the time steps are not
        ``0 < dt_min <= dt_max``.

    Notes
    -----
    The layer has ``channels (2 state_size + 2)`` parameters.

    The parameters have the names and shapes of the published minimal S4D (there, all but D lie in
    a submodule ``kernel``). It trains log_dt, log_A_real and A_imag at a learning rate of at most
    0.001, without weight decay; `optimizer_options` says so to `mrbook.train.parameter_groups`.

    Examples
    --------
    >>> layer = S4D(channels=3)
    >>> layer(torch.randn(2, 3, 50)).shape
    torch.Size([2, 3, 50])
    """

    optimizer_options: ClassVar = {
        name: {"lr": 0.001, "weight_decay": 0.0} for name in ("log_dt", "log_A_real", "A_imag")
    }

    def __init__(
        self,
        channels: int,
        *,
        length: int | None = None,
        state_size: int = 64,
        init: str = "lin",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        if length is not None:
            check_count(length, "length")
        dt_max = check_number(dt_max, "dt_max", 0, ends="(]")
        dt_min = check_number(dt_min, "dt_min", 0, dt_max, ends="(]")
        A = s4d_spectrum(init, state_size).expand(self.channels, -1)
        self.init, self.state_size = init, 2 * A.shape[1]

        def parameter(values: Tensor) -> nn.Parameter:
            values = values.to(device, dtype or torch.get_default_dtype())
            return nn.Parameter(values.clone(memory_format=torch.contiguous_format))

        log_dt = torch.empty(self.channels).uniform_(math.log(dt_min), math.log(dt_max))
        self.log_dt = parameter(log_dt)
        self.log_A_real, self.A_imag = parameter(A.real.neg().log()), parameter(A.imag)
        self.C = parameter(torch.randn(*A.shape, 2) / math.sqrt(2))  # of unit variance, complex
        self.D = parameter(torch.randn(self.channels))

    def _kernel(self, length: int, dtype: torch.dtype) -> Tensor:
        log_z, c, D = self._oscillators(dtype)
        return exponentials(length, c, log_z) + F.pad(D[:, None], (0, length - 1))

    def _oscillators(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithm of the factor of one step, weight in the kernel, and D."""
        log_dt, log_A_real, A_imag, C, D = (p.to(dtype) for p in self._tensors())
        A = torch.complex(-log_A_real.exp(), A_imag)
        log_z, b = zero_order_hold(log_dt.exp()[:, None], A)
        return log_z, torch.view_as_complex(C) * b, D

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.log_dt, self.log_A_real, self.A_imag, self.C, self.D

    # ---- one step at a time ---------------------------------------------------------------------

    def initial_state(self, batch: int) -> tuple[Tensor]:
        """State before the first step: nothing has been seen.

        Returns
        -------
        (Tensor,)
            The oscillators per unit of b, complex, shape ``(batch, channels, state_size / 2)``.
        """
        self._cache.clear()
        shape = check_count(batch, "batch"), *self.A_imag.shape
        dtype = inner_dtype(self.D).to_complex()
        return (torch.zeros(shape, dtype=dtype, device=self.D.device),)

    def step(self, u_t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor]]:
        """Take one time step, at the same cost however much came before.

        Parameters
        ----------
        u_t : Tensor
            Shape ``(batch, channels)``.
        state : (Tensor,)
            From `initial_state` or the step before; it is left as it is.

        Returns
        -------
        (Tensor, (Tensor,))
            The output, shape ``(batch, channels)``, and the state for the next step.

        Raises
        ------
        TypeError, ValueError
            If u_t or the state is of another batch size, dtype, device or layer.
        """
        check_input(u_t, self.D, ("batch", self.channels), "u_t")
        z, c, D = self._one_step(inner_dtype(u_t))
        (s,) = check_state(state, 1, (len(u_t), *z.shape), z)
        s = z * s + u_t[..., None]
        y = 2 * (c * s).sum(-1).real + D * u_t
        return y.to(u_t.dtype), (s,)

    def _one_step(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Factor of one step, weight in the kernel, and D.

        Where no gradients are recorded they are kept until a parameter changes, or a new sequence
        starts: a change through ``.data`` leaves no trace.
        """

        def make() -> tuple[Tensor, Tensor, Tensor]:
            log_z, c, D = self._oscillators(dtype)
            return _exp(log_z), c, D

        learning = torch.is_grad_enabled() or torch.compiler.is_compiling()
        return make() if learning else self._cache.get(self._tensors(), make)

    def extra_repr(self) -> str:
        return f"{self.channels}, state_size={self.state_size}, init={self.init!r}"
