"""Drawing by repeated steps: the images that the model draws, from state that stays in place."""

import weakref

import pytest
import torch
from contract import assert_close

from mrbook.likelihood import sample_logistic_mixture
from mrbook.models import PixelModel
from mrbook.models.graphs import CapturedDrawing


def model(**options: object) -> PixelModel:
    torch.manual_seed(0)
    return PixelModel(**{"width": 8, "layers": 2, "length": 16, **options}).double().eval()


# Layers that change their state in place, and layers that return a new one.
@pytest.mark.parametrize("layer", ["multires", "s4d", "lstm"])
def test_draws_what_the_model_draws_again_and_again(layer: str) -> None:
    network = model(layer=layer, classes=3)
    labels = torch.tensor([2, 0])
    drawing = CapturedDrawing(network, 2, size=(3, 4), temperature=0.5, labels=labels)
    options = {"size": (3, 4), "temperature": 0.5, "labels": labels}
    for seed in (1, 0, 1):
        images = drawing.draw(seed=seed)
        assert images.dtype == torch.uint8
        assert torch.equal(images, network.draw(2, seed=seed, **options))
    assert not torch.equal(drawing.draw(), drawing.draw())


def test_the_last_parameters_are_those_of_the_whole_network() -> None:
    network = model()
    drawing = CapturedDrawing(network, 2)
    x = 2 * drawing.draw(seed=0).flatten(-2).double() / 255 - 1
    with torch.no_grad():
        assert_close(drawing.params, network(x)[..., -1])
    last = sample_logistic_mixture(drawing.params, 3)
    assert last.shape == (2, 3)


@pytest.mark.parametrize("layer", ["multires", "s4d"])
def test_what_a_graph_reads_outlives_the_layers_caches(layer: str) -> None:
    network = model(layer=layer)
    drawing = CapturedDrawing(network, 2)
    caches = [c for m in network.modules() for c in vars(m).values() if hasattr(c, "_kept")]
    made = [weakref.ref(tensor) for cache in caches for tensor in tensors(cache._kept)]
    assert len(made) >= 2
    network.draw(1)  # as other sequences do, it makes them anew
    assert all(tensor() is not None for tensor in made)
    del drawing  # nobody else held them
    assert any(tensor() is None for tensor in made)


def tensors(kept: object) -> list[torch.Tensor]:
    if isinstance(kept, tuple):
        return [tensor for part in kept for tensor in tensors(part)]
    return [kept] if isinstance(kept, torch.Tensor) else []


def test_nothing_moves_in_memory() -> None:
    drawing = CapturedDrawing(model(layer="s4d"), 2)
    state = drawing._state_tensors(drawing.state)
    kept = [drawing.before, drawing.pixels, drawing.at, drawing.params, *state]
    places = [tensor.data_ptr() for tensor in kept]
    drawing.draw(seed=0)
    assert [tensor.data_ptr() for tensor in kept] == places


def test_what_can_not_be_drawn_or_repeated_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be given for a model of length 7"):
        CapturedDrawing(model(length=7), 2)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        CapturedDrawing(model(), 0)
    with pytest.raises(ValueError, match="labels must be left out"):
        CapturedDrawing(model(), 1, labels=torch.tensor([0]))
    for layer, name in (("mrconv", "MRConv"), ("attention", "Attention")):
        drawing = CapturedDrawing(model(layer=layer), 2)  # good without a graph
        with pytest.raises(ValueError, match=f"steps are all the same.*{name}"):
            drawing._capture()
