"""AdamW with what single parameters ask for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["make_optimizer", "parameter_groups"]


def parameter_groups(model: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer.

    A module may have an attribute ``optimizer_options``: from names of its own parameters to
    ``lr`` (taken where it is below that of the run) and ``weight_decay``.

    Parameters
    ----------
    model : Module
        Whose parameters.
    lr, weight_decay : float
        For all others.

    Returns
    -------
    list of dict
        Each with ``params``, ``lr`` and ``weight_decay``; every parameter that learns is in one.

    Examples
    --------
    >>> [group] = parameter_groups(nn.Linear(2, 3), lr=0.1, weight_decay=0.0)
    >>> len(group["params"]), group["lr"]
    (2, 0.1)
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen = set()
    for module in model.modules():
        special: Mapping[str, Mapping[str, float]] = getattr(module, "optimizer_options", {})
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            options = special.get(name, {})
            key = min(lr, options.get("lr", lr)), options.get("weight_decay", weight_decay)
            groups.setdefault(key, []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def make_optimizer(
    model: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`; on CUDA in its fused form.

    Each group's ``top_lr`` keeps its learning rate at the top of the schedule.
    """
    groups = parameter_groups(model, lr, weight_decay)
    cuda = all(p.is_cuda for group in groups for p in group["params"])
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=cuda)
    for group in optimizer.param_groups:
        group["top_lr"] = group["lr"]
    return optimizer
