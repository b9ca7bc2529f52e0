"""Loss and score of a model over a split."""

import torch
from torch import nn

from mrbook.tasks import Task
from mrbook.train.objectives import objective_of
from mrbook.train.processes import rank, share, sum_over_processes, world

__all__ = ["amp_dtype", "evaluate"]


def amp_dtype(device: torch.device) -> torch.dtype | None:
    """The short type that networks run in on a GPU; None elsewhere."""
    if device.type != "cuda":
        return None
    native = torch.cuda.get_device_capability(device) >= (8, 0)  # older cards emulate it, slowly
    return torch.bfloat16 if native else torch.float16


@torch.no_grad()
def evaluate(model: nn.Module, task: Task, split: str, batch_size: int) -> tuple[float, float]:
    """Mean loss and mean score of a model over a split, in evaluation mode.

    Parameters
    ----------
    model : Module
        On its device.
    task : Task
        The data.
    split : str
        "train", "valid" or "test".
    batch_size : int
        Examples computed at once, in all processes together.

    Returns
    -------
    (float, float)
        The same in all processes.
    """
    device = next(model.parameters()).device
    objective, amp = objective_of(model), amp_dtype(device)
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    for index in task.plan(split, batch_size):
        part, real = share(index, rank(), world())
        if not real:
            continue
        batch = task.take(split, part, device)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            outputs = objective.predict(model, batch, batch.lengths)
        losses, scores = objective.judge(outputs, batch)
        sums += torch.stack([losses.sum().double(), scores.sum().double(), sums.new_full((), real)])
    model.train(was_training)
    loss, score, examples = sum_over_processes(sums).tolist()
    return loss / examples, score / examples
