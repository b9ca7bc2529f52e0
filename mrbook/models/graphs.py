"""Drawing with one launch a pixel: the step of a whole network in a CUDA graph.

A step of a deep network is hundreds of tiny kernels, and on a GPU telling it to start them takes
longer than they run. A CUDA graph holds them all and is started at once.
"""

import torch
from torch import Tensor

from mrbook.baselines import Attention
from mrbook.cache import ParameterCache
from mrbook.checks import check_count
from mrbook.convolution import ConvolutionLayer
from mrbook.likelihood import sample_logistic_mixture, to_levels
from mrbook.models.pixel import PixelModel

__all__ = ["CapturedDrawing"]


class CapturedDrawing:
    """Draw many batches of images with one network; on CUDA each pixel is one launch.

    The graph is made for the weights that the model has now: after changing them, make a new one.
    Elsewhere than on CUDA the same steps are taken without a graph.

    Parameters
    ----------
    model : PixelModel
        Its mode is set to evaluation.
    count : int
        Images drawn side by side.
    size : (int, int), optional
        Height and width. Default: the square of the model's length.
    temperature : float
        As for `PixelModel.draw`.
    labels : Tensor, optional
        Class of each image, int64 of shape ``(count,)``.

    Attributes
    ----------
    params : Tensor
        Of the distribution of the last pixel drawn, shape ``(count, parameters)``: what the model
        says of it given all others.

    Raises
    ------
    TypeError, ValueError
        As `PixelModel.draw` does; and on CUDA, if steps of a layer are not all the same.

    Examples
    --------
    >>> model = PixelModel(channels=1, width=8, layers=2, length=16)
    >>> drawing = CapturedDrawing(model, 3)
    >>> images = drawing.draw(seed=0)
    >>> images.shape
    torch.Size([3, 1, 4, 4])
    >>> torch.equal(images, model.draw(3, seed=0))
    True
    """

    def __init__(
        self,
        model: PixelModel,
        count: int,
        *,
        size: tuple[int, int] | None = None,
        temperature: float = 1.0,
        labels: Tensor | None = None,
    ) -> None:
        count = check_count(count, "count")
        self.model, self.temperature = model.eval(), temperature
        self.size = model._size(size)
        weight = model.encoder.weight
        # All that changes from pixel to pixel stays in place, for a graph knows addresses alone.
        self.labels = None if labels is None else labels.to(weight.device)
        self.generator = torch.Generator(weight.device)
        self.before = weight.new_zeros(count, model.channels)
        self.pixels = weight.new_zeros(count, model.channels, self.size[0] * self.size[1])
        self.params = weight.new_zeros(count, model.head.out_features)
        self.at = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self.state = model.initial_state(count)
        self.first_state = [tensor.clone() for tensor in self._state_tensors(self.state)]
        self.graph: torch.cuda.CUDAGraph | None = None
        with torch.no_grad():
            if weight.is_cuda:
                self.graph = self._capture()
            else:
                self._step()  # a wrong argument raises here
        # A layer forgets what it made of its parameters when another sequence starts, and the graph
        # goes on reading there.
        held = [thing for module in self.model.modules() for thing in vars(module).values()]
        self.made = [thing.value for thing in held if isinstance(thing, ParameterCache)]

    @torch.no_grad()
    def draw(self, *, seed: int | None = None) -> Tensor:
        """Draw one batch.

        Parameters
        ----------
        seed : int, optional
            The same seed gives the same images. Default: another one each time.

        Returns
        -------
        Tensor
            uint8 of shape ``(count, channels, height, width)``, on the model's device.
        """
        if seed is None:
            seed = int(torch.randint(1 << 62, ()))
        self.generator.manual_seed(check_count(seed, "seed", 0))
        for tensor, first in zip(self._state_tensors(self.state), self.first_state, strict=True):
            tensor.copy_(first)
        self.before.zero_()
        self.at.zero_()
        for _ in range(self.pixels.shape[2]):
            if self.graph is None:
                self._step()
            else:
                self.graph.replay()
        return to_levels(self.pixels).unflatten(-1, self.size)

    def _step(self) -> None:
        params, state = self.model.step(self.before, self.state, self.labels)
        drawn = sample_logistic_mixture(
            params,
            self.model.channels,
            generator=self.generator,
            temperature=self.temperature,
        )
        self.params.copy_(params)
        self.before.copy_(drawn)
        self.pixels.index_copy_(2, self.at, self.before[..., None])
        self.at += 1
        # Some layers update their state in place, others return a new one.
        new = self._state_tensors(state)
        for old, value in zip(self._state_tensors(self.state), new, strict=True):
            if value is not old:
                old.copy_(value)

    def _capture(self) -> torch.cuda.CUDAGraph:
        for block in self.model.blocks:
            step = getattr(type(block.layer), "step", None)
            if step in (ConvolutionLayer.step, Attention.step):
                raise ValueError(
                    "model must have layers whose steps are all the same, for a graph repeats one; "
                    f"those of {type(block.layer).__name__} depend on how many came before"
                )
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up, and layers fill their caches
            for _ in range(3):
                self.at.zero_()
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.at.zero_()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph):
            self._step()
        return graph

    @staticmethod
    def _state_tensors(state: tuple[tuple[Tensor, ...], ...]) -> list[Tensor]:
        return [tensor for own in state for tensor in own]
