"""Sampling by steps beside running the whole network again for every sample."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mrbook import native
from mrbook.bench.engine import Case, one_thread
from mrbook.bench.multires import conv1d_tree
from mrbook.multires import MultiresConv


class Stack(nn.Module):
    """A small autoregressive network: the mean of the next value from all values so far."""

    def __init__(self, layers: int, channels: int, length: int) -> None:
        super().__init__()
        self.stem = nn.Linear(1, channels)
        self.convs = [MultiresConv(channels, length=length) for _ in range(layers)]
        self.layers = nn.ModuleList(self.convs)
        self.mixing = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))
        self.head = nn.Linear(channels, 1)

    def forward(self, x: Tensor, convolve: Callable[[int, Tensor], Tensor]) -> Tensor:
        """x has one value in its last dimension; `convolve` applies the layer of an index."""
        x = self.stem(x)
        for i, mixing in enumerate(self.mixing):
            x = x + mixing(nn.functional.gelu(convolve(i, x)))
        return self.head(x).tanh()


def cases(device: str, layers: int = 4, channels: int = 64, length: int = 1024) -> Iterator[Case]:
    """1,024 samples, each with the noise of its own step, batch 1."""
    torch.manual_seed(0)
    network = Stack(layers, channels, length).to(device)
    noise = torch.randn(length, device=device)

    @torch.no_grad()
    def steps(method: str) -> Tensor:
        for layer in network.convs:
            layer.method = method
        states = [layer.initial_state(1) for layer in network.convs]

        def convolve(i: int, x: Tensor) -> Tensor:
            y, states[i] = network.convs[i].step(x, states[i])
            return y

        x, samples = torch.zeros(1, 1, device=device), []
        with one_thread():
            for t in range(length):
                x = network(x, convolve) + noise[t]
                samples.append(x[0, 0])
        return torch.stack(samples)

    @torch.no_grad()
    def run_again() -> Tensor:
        def convolve(i: int, x: Tensor) -> Tensor:
            layer = network.convs[i]
            return conv1d_tree(x.transpose(1, 2), layer.h0, layer.h1, layer.w).transpose(1, 2)

        x = torch.zeros(1, length + 1, 1, device=device)
        for t in range(length):
            x[:, t + 1] = network(x[:, :length], convolve)[:, t] + noise[t]
        return x[0, 1:, 0]

    methods = {"steps": lambda: steps("auto")}
    if native.available(device=torch.device(device).type):
        methods["steps without C++"] = lambda: steps("tree")
    methods["run again"] = run_again
    title = f"{length} samples, {layers} layers of {channels} channels, batch 1"
    yield Case(title, methods, tolerance=1e-4, rounds=2)
