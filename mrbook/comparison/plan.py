"""What the rows are compared on: three classification tasks and three probes.

All rows of an experiment share the data, the number of steps, the schedule, and the learning rates
to choose from. The choice is by validation data, with a seed that is none of those reported.

Where a layer asks for a learning rate of its own (S4D, SGConv, the long convolution and MRConv
learn their kernels at 0.001 or less) it does not get it: published runs have hundreds of times as
many steps, and in a run as short as these a kernel would stay where it started.
"""

from typing import Any

from mrbook.comparison.experiments import Experiment, Probe, Training
from mrbook.comparison.variants import ABLATIONS, LAYER_ROWS
from mrbook.recipes.base import OURS, Recipe

__all__ = ["EXPERIMENTS"]

_RATES = (0.003, 0.01, 0.03)


def _recall(**task_options: Any) -> Recipe:
    return Recipe(
        name="compare-recall",
        preset="cpu",
        source=OURS,
        task="recall",
        task_options={"hold": 8, "train": 1000, "valid": 250, "test": 1000, **task_options},
        model={"layers": 2, "length": 1024, "pool": "last"},
        epochs=4,
        batch_size=25,
        lr=0.01,
        weight_decay=0.01,
        warmup_epochs=0.2,
        clip=1.0,
    )


_SHAPES = Recipe(
    name="compare-shapes",
    preset="cpu",
    source=OURS,
    task="shapes",
    task_options={"size": 16, "channels": 1, "train": 3200, "valid": 500, "test": 1000},
    model={"layers": 2},
    epochs=4,
    batch_size=25,
    lr=0.01,
    weight_decay=0.01,
    warmup_epochs=0.2,
    clip=1.0,
)


def _probe(name: str, title: str) -> Probe:
    rows = (*LAYER_ROWS, "multires-k4")
    rates = (0.01, 0.03, 0.1)
    return Probe(
        name=name, title=title, score="error", budget=1100, rates=rates, seeds=5, rows=rows
    )


#: The experiments by name.
EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Training(
            name="recall",
            title="Recall over 1,024 steps",
            score="accuracy",
            budget=6000,
            rates=_RATES,
            seeds=3,
            rows=(*LAYER_ROWS, *ABLATIONS),
            recipe=_recall(),
        ),
        Training(
            name="shapes",
            title="Shapes, pixel by pixel",
            score="accuracy",
            budget=6000,
            rates=(*_RATES, 0.1),  # so that what is chosen is no end of the list
            seeds=3,
            rows=(*LAYER_ROWS, *ABLATIONS),
            recipe=_SHAPES,
        ),
        Training(
            name="lengths",
            title="Recall learned over 256 steps, asked for over more",
            score="accuracy",
            budget=6000,
            rates=_RATES,
            seeds=3,
            rows=tuple(LAYER_ROWS),
            recipe=_recall(length=256),
            lengths=(256, 512, 1024),
        ),
        _probe("five-minus-six", "Probe: lag 5 minus lag 6"),
        _probe("slow-exponential", "Probe: a slow exponential"),
        _probe("echo", "Probe: an echo at lag 500"),
    )
}
