"""How a row is run: `Training` for the classification tasks, `Probe` for the probes."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mrbook.comparison.lags import lag_profile
from mrbook.comparison.probes import ProbeNet, probe_data, relative_error, train_probe
from mrbook.comparison.variants import Variant, match_width
from mrbook.models import Block, SequenceClassifier
from mrbook.recipes import Recipe
from mrbook.tasks import Task
from mrbook.train import DivergedError, evaluate, fit

__all__ = ["TUNING_SEED", "Experiment", "Probe", "Result", "Training"]

#: The seed that learning rates are chosen with.
TUNING_SEED = 1000
_EXAMPLES = 4  # sequences to look at lags with


@dataclass
class Result:
    """What one run gave.

    Attributes
    ----------
    network : Module
        Trained, in evaluation mode.
    valid : tuple of float
        What learning rates are chosen by, on validation data, more being better: the score (errors
        have a minus), and where that is the same what follows.
    scores : dict from str to float
        On test data, by what was tested; empty if they weren't read.
    seconds : float
        Wall-clock time of training, up to where it diverged if it did.
    length : int
        Of the sequences that it learned from.
    profiles : list of list of float
        `lag_profile` of the first layer, if asked for.
    diverged : bool
        Whether scores are those of a guess, since training broke off or an error was not finite.
    """

    network: nn.Module
    valid: tuple[float, ...]
    scores: dict[str, float]
    seconds: float
    length: int
    profiles: list[list[float]] = field(default_factory=list)
    diverged: bool = False


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """What all rows have to do.

    Attributes
    ----------
    name, title : str
        What commands and records call it, and what readers do.
    score : {"accuracy", "error"}
        What is measured.
    budget : int
        Parameters of a network, about.
    rates : tuple of float
        Learning rates to choose from.
    seeds : int
        Runs of a row, with seeds 0, 1, ...
    rows : tuple of str
        Keys of `VARIANTS`, each after the row that it is an ablation of.
    """

    name: str
    title: str
    score: str
    budget: int
    rates: tuple[float, ...]
    seeds: int
    rows: tuple[str, ...]
    _widths: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def higher_is_better(self) -> bool:
        """Which of two scores is the better one."""
        return self.score == "accuracy"

    def width(self, variant: Variant) -> int:
        """Channels of a row's network: those nearest to the budget, or its own."""
        if variant.width is not None:
            return variant.width
        key = repr(variant)
        if key not in self._widths:
            self._widths[key] = match_width(
                lambda width: _count(self.build(variant, width)), self.budget
            )
        return self._widths[key]

    def parameters(self, variant: Variant) -> int:
        """Number of parameters of a row's network."""
        return _count(self.build(variant, self.width(variant)))

    @abstractmethod
    def build(self, variant: Variant, width: int) -> nn.Module:
        """A network with new random weights."""

    @abstractmethod
    def run(
        self,
        variant: Variant,
        seed: int,
        lr: float,
        *,
        test: bool = True,
        profile: bool = False,
    ) -> Result:
        """Train one network.

        Parameters
        ----------
        variant : Variant
            The row.
        seed : int
            Of everything random.
        lr : float
            Learning rate at the top of the schedule.
        test : bool
            Whether to read the test data.
        profile : bool
            Whether to look at the lags of the first layer while training.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that a result depends on beside the row, the seed and the code, as plain values."""


@dataclass(frozen=True, kw_only=True)
class Training(Experiment):
    """A network of residual blocks, trained by a recipe.

    Attributes
    ----------
    recipe : Recipe
        Its layer, width and learning rate are the row's.
    lengths : tuple of int
        Lengths to test at, where it isn't that of training alone.
    """

    recipe: Recipe
    lengths: tuple[int, ...] = ()

    def build(self, variant: Variant, width: int) -> nn.Module:
        """A classifier with new random weights."""
        return self._recipe(variant, width).build_model(_task(self.recipe))

    def _recipe(self, variant: Variant, width: int, **changes: Any) -> Recipe:
        model: dict[str, Any] = {"layer": variant.layer, "width": width}
        model["layer_options"] = dict(variant.options)
        if "depth" in variant.options:  # a tree takes it in place of a length
            model["length"] = None
        return self.recipe.but(model=model, **changes)

    def run(
        self, variant: Variant, seed: int, lr: float, *, test: bool = True, profile: bool = False
    ) -> Result:
        """Train one classifier; see `Experiment.run`. One that diverges counts as a guess.

        The lags are looked at before the start and after each epoch.
        """
        task = _task(self.recipe)
        recipe = self._recipe(variant, self.width(variant), lr=lr)
        torch.manual_seed(seed)
        model = recipe.build_model(task)
        assert isinstance(model, SequenceClassifier)
        _same_rate(model)
        profiles = [_first_layer_profile(model, task)] if profile else []

        def look(entry: Mapping[str, Any]) -> None:
            profiles.append(_first_layer_profile(model, task))

        began = time.perf_counter()
        try:
            run = fit(
                model,
                task,
                recipe,
                device="cpu",
                seed=seed,
                progress=False,
                test=False,
                on_epoch=look if profile else None,
                here=_NOWHERE,
            )
        except DivergedError:
            guess = 1 / len(task.classes)
            scores = dict.fromkeys(self._tests(), guess) if test else {}
            valid, seconds = (guess, -math.inf), time.perf_counter() - began
            return Result(model.eval(), valid, scores, seconds, task.length, profiles, True)
        seconds = time.perf_counter() - began
        scores = {}
        if test:
            scores = {
                name: evaluate(model, _task(recipe), "test", recipe.batch_size)[1]
                for name, recipe in self._tests().items()
            }
        valid = run.best["valid_score"], -run.best["valid_loss"]
        return Result(model, valid, scores, seconds, task.length, profiles)

    def _tests(self) -> dict[str, Recipe]:
        if not self.lengths:
            return {"test": self.recipe}
        return {
            str(length): self.recipe.but(task_options={"length": length}) for length in self.lengths
        }

    def settings(self) -> dict[str, Any]:
        """The recipe and the lengths, as plain values."""
        return {"recipe": self.recipe.as_dict(), "lengths": list(self.lengths)}


@dataclass(frozen=True, kw_only=True)
class Probe(Experiment):
    """One layer between pointwise maps learns a convolution; see `mrbook.comparison.probes`.

    Attributes
    ----------
    length : int
        Steps of each sequence.
    examples, batch, steps : int
        Sequences to learn from, how many make a step, and how many steps there are.
    noise : float
        Of the targets that are learned from, and chosen by.
    """

    length: int = 1024
    examples: int = 16
    batch: int = 4
    steps: int = 300
    noise: float = 1.0

    def build(self, variant: Variant, width: int) -> nn.Module:
        """A layer between pointwise maps with new random weights."""
        return ProbeNet(variant.layer, width, self.length, variant.options)

    def run(
        self, variant: Variant, seed: int, lr: float, *, test: bool = True, profile: bool = False
    ) -> Result:
        """Train one layer; see `Experiment.run`. Where an error is not finite, they count as 1.

        The lags are looked at once, at the end.
        """

        def draw(part: int, noise: float) -> tuple[Tensor, Tensor]:
            generator = torch.Generator().manual_seed(3 * seed + part)
            return probe_data(self.name, self.examples, self.length, generator, noise=noise)

        width = self.width(variant)  # which draws random numbers where it is not known yet
        torch.manual_seed(seed)
        network = self.build(variant, width)
        assert isinstance(network, ProbeNet)
        _same_rate(network)
        began = time.perf_counter()
        train_probe(
            network, *draw(0, self.noise), lr=lr, steps=self.steps, batch=self.batch, seed=seed
        )
        seconds = time.perf_counter() - began
        valid = relative_error(network, *draw(1, self.noise))
        scores = {"test": relative_error(network, *draw(2, 0.0))} if test else {}
        diverged = not all(map(math.isfinite, (valid, *scores.values())))
        if diverged:
            valid, scores = 1.0, dict.fromkeys(scores, 1.0)
        profiles = []
        if profile:
            x, _ = draw(1, 0.0)
            u = network.spread(x[:_EXAMPLES, :, None]).mT.contiguous()
            profiles.append(_profile(network.layer, u))
        return Result(network, (-valid,), scores, seconds, self.length, profiles, diverged)

    def settings(self) -> dict[str, Any]:
        """The sizes, as plain values."""
        names = "length", "examples", "batch", "steps", "noise"
        return {name: getattr(self, name) for name in names}


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _same_rate(network: nn.Module) -> None:
    """Let all parameters learn at the rate of the run; other wishes of a layer are kept."""
    for module in network.modules():
        options: Mapping[str, Mapping[str, float]] | None
        options = getattr(module, "optimizer_options", None)
        if options is not None:
            module.optimizer_options = {  # type: ignore[assignment]
                name: {key: value for key, value in wishes.items() if key != "lr"}
                for name, wishes in options.items()
            }


def _first_layer_profile(model: SequenceClassifier, task: Task) -> list[float]:
    x = task.take("valid", torch.arange(_EXAMPLES)).inputs
    u = model.encoder(x if task.vocabulary is not None else x.mT).mT.contiguous()
    block = model.blocks[0]
    assert isinstance(block, Block)
    return _profile(block.layer, u)


def _profile(layer: nn.Module, u: Tensor) -> list[float]:
    """`lag_profile`, with the same signs each time, and no other random number changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return lag_profile(layer, u)


_NOWHERE = {"commit": None, "dirty": None}  # these runs leave no checkpoints to name their code in


_TASKS: dict[str, Task] = {}


def _task(recipe: Recipe) -> Task:
    """The task of a recipe, made once."""
    key = repr((recipe.task, sorted(recipe.task_options.items())))
    if key not in _TASKS:
        _TASKS[key] = recipe.build_task()
    return _TASKS[key]
