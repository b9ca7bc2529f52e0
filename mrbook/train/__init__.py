"""Training: one loop for the notebooks, the command line, and many devices."""

from mrbook.train.augment import AUGMENTATIONS
from mrbook.train.checkpoint import CheckpointError, read_checkpoint
from mrbook.train.device import best_device, usable_device
from mrbook.train.evaluation import evaluate
from mrbook.train.loop import fit
from mrbook.train.optimizer import parameter_groups
from mrbook.train.processes import join
from mrbook.train.run import DivergedError, MilestoneError, Run
from mrbook.train.schedule import cosine_with_warmup

__all__ = [
    "AUGMENTATIONS",
    "CheckpointError",
    "DivergedError",
    "MilestoneError",
    "Run",
    "best_device",
    "cosine_with_warmup",
    "evaluate",
    "fit",
    "join",
    "parameter_groups",
    "read_checkpoint",
    "usable_device",
]
