"""Well-known sequence layers to compare with, under the same contract.

Convolutions, like MultiresConv, are `S4D`, a diagonal state space, `SGConv`, whose kernel is made
of pieces of doubling length, and `LongConv`, whose kernel is free. Not linear are `LSTM`, the
recurrent network, `WaveNet`, a gated stack of dilated convolutions, and causal `Attention`. Each
takes ``(channels, *, length=..., ...)``, so that a model can be built with any of them by name.
"""

from mrbook.baselines.attention import Attention, rotary
from mrbook.baselines.free import LongConv
from mrbook.baselines.lstm import LSTM, lstm_step
from mrbook.baselines.s4d import S4D, exponentials, s4d_spectrum, zero_order_hold
from mrbook.baselines.sgconv import SGConv, multiscale_kernel
from mrbook.baselines.wavenet import WaveNet, gated

__all__ = [
    "LSTM",
    "S4D",
    "Attention",
    "LongConv",
    "SGConv",
    "WaveNet",
    "exponentials",
    "gated",
    "lstm_step",
    "multiscale_kernel",
    "rotary",
    "s4d_spectrum",
    "zero_order_hold",
]
