"""What the networks learn: sequential CIFAR-10, its stand-in, and the Long Range Arena."""

from collections.abc import Callable
from functools import partial

from mrbook.tasks.base import SPLITS, Batch, Task
from mrbook.tasks.cache import DataWarning, data_folder
from mrbook.tasks.cifar import cifar_pixels, download_cifar10, lra_image, sequential_cifar10
from mrbook.tasks.images import ImageTask
from mrbook.tasks.listops import ListOps, long_listops
from mrbook.tasks.nested import Rules
from mrbook.tasks.pathfinder import lra_pathfinder
from mrbook.tasks.paths import draw_paths, sequential_paths
from mrbook.tasks.recall import symbol_recall
from mrbook.tasks.shapes import draw_shapes, sequential_shapes
from mrbook.tasks.texts import ByteTask, lra_retrieval, lra_text
from mrbook.tasks.tokens import TokenTask

__all__ = [
    "SPLITS",
    "TASKS",
    "Batch",
    "ByteTask",
    "DataWarning",
    "ImageTask",
    "ListOps",
    "Rules",
    "Task",
    "TokenTask",
    "cifar_pixels",
    "data_folder",
    "download_cifar10",
    "draw_paths",
    "draw_shapes",
    "long_listops",
    "lra_image",
    "lra_pathfinder",
    "lra_retrieval",
    "lra_text",
    "sequential_cifar10",
    "sequential_paths",
    "sequential_shapes",
    "symbol_recall",
]

#: The tasks by name, as recipes and the command line name them.
TASKS: dict[str, Callable[..., Task]] = {
    "scifar": sequential_cifar10,
    "scifar-33": partial(sequential_cifar10, blank=1),
    "cifar-pixels": cifar_pixels,
    "shapes": sequential_shapes,
    "plain-shapes": partial(sequential_shapes, size=16, channels=1, plain=True),
    "listops": long_listops,
    "lra-text": lra_text,
    "lra-retrieval": lra_retrieval,
    "lra-image": lra_image,
    "lra-pathfinder": lra_pathfinder,
    "lra-pathx": partial(lra_pathfinder, size=128),
    "paths": sequential_paths,
    "recall": symbol_recall,
}
