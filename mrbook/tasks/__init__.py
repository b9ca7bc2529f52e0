"""What the networks learn: sequential CIFAR-10 and its stand-in, nested lists."""

from collections.abc import Callable

from mrbook.tasks.base import SPLITS, Batch, Task
from mrbook.tasks.cache import DataWarning, data_folder
from mrbook.tasks.cifar import download_cifar10, sequential_cifar10
from mrbook.tasks.images import ImageTask
from mrbook.tasks.listops import ListOps, long_listops
from mrbook.tasks.nested import Rules
from mrbook.tasks.shapes import draw_shapes, sequential_shapes

__all__ = [
    "SPLITS",
    "TASKS",
    "Batch",
    "DataWarning",
    "ImageTask",
    "ListOps",
    "Rules",
    "Task",
    "data_folder",
    "download_cifar10",
    "draw_shapes",
    "long_listops",
    "sequential_cifar10",
    "sequential_shapes",
]

#: The tasks by name, as recipes and the command line name them.
TASKS: dict[str, Callable[..., Task]] = {
    "scifar": sequential_cifar10,
    "shapes": sequential_shapes,
    "listops": long_listops,
}
