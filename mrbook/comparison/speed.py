"""What the rows cost: time and memory of one training step, and of one answer."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mrbook.bench.engine import compare, peak_memory
from mrbook.comparison.experiments import Training
from mrbook.comparison.plan import EXPERIMENTS
from mrbook.comparison.variants import LAYER_ROWS

__all__ = ["SPEED", "measure_speed"]

SPEED = "speed"


def measure_speed(repeats: int = 7) -> dict[str, Any]:
    """Time the networks of "recall" on one of its batches, in turn, so that they share the noise.

    Parameters
    ----------
    repeats : int
        Rounds that are timed, at least 2.

    Returns
    -------
    dict
        ``batch`` and ``length`` of the inputs, ``threads``, and ``rows``: for each row of
        `LAYER_ROWS` ``parameters``, ``width``, and for ``train`` (forward and backward) and
        ``infer`` (forward alone) the ``median`` in seconds, the ``ratio`` to the first row's time,
        and ``peak_memory`` in bytes, None where the system does not tell.
    """
    experiment = EXPERIMENTS["recall"]
    assert isinstance(experiment, Training)
    recipe = experiment.recipe
    task = recipe.build_task(train=recipe.batch_size, valid=1, test=1)
    batch = next(task.batches("train", recipe.batch_size))
    torch.manual_seed(0)
    networks = {
        name: experiment.build(variant, experiment.width(variant))
        for name, variant in LAYER_ROWS.items()
    }

    def training(network: nn.Module) -> Callable[[], None]:
        def step() -> None:
            network.train().zero_grad(set_to_none=True)
            F.cross_entropy(network(batch.inputs, batch.lengths), batch.targets).backward()

        return step

    def inference(network: nn.Module) -> Callable[[], None]:
        @torch.no_grad()
        def answer() -> None:
            network.eval()(batch.inputs, batch.lengths)

        return answer

    rows: dict[str, dict[str, Any]] = {
        name: {
            "parameters": experiment.parameters(LAYER_ROWS[name]),
            "width": experiment.width(LAYER_ROWS[name]),
        }
        for name in networks
    }
    for what, make in (("train", training), ("infer", inference)):
        methods = {name: make(network) for name, network in networks.items()}
        for method in methods.values():
            method()
        peaks = {name: peak_memory(method) for name, method in methods.items()}
        timings = compare(methods, repeats=repeats, warmup=1)
        first = next(iter(timings.values()))
        for name, timing in timings.items():
            rows[name][what] = {
                "median": timing.median,
                "ratio": timing.ratio(first),
                "peak_memory": peaks[name],
            }
    length = batch.inputs.shape[1]
    threads = torch.get_num_threads()
    return {"batch": len(batch.targets), "length": length, "threads": threads, "rows": rows}
