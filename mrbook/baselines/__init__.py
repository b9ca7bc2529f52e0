"""Well-known sequence layers to compare with, under the same contract.

`S4D` is a diagonal state space, linear like MultiresConv; `LSTM` is the recurrent network with a
nonlinear state. Each takes ``(channels, *, length=None, ...)``, so that a model can be built with
any of them by name.
"""

from mrbook.baselines.lstm import LSTM, lstm_step
from mrbook.baselines.s4d import S4D, exponentials, s4d_spectrum, zero_order_hold

__all__ = ["LSTM", "S4D", "exponentials", "lstm_step", "s4d_spectrum", "zero_order_hold"]
