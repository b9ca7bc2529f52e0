"""What the networks learn: sequential CIFAR-10 and its stand-in, nested lists."""

from mrbook.tasks.base import SPLITS, Batch, Task
from mrbook.tasks.cache import DataWarning, data_folder
from mrbook.tasks.cifar import download_cifar10, scifar
from mrbook.tasks.images import ImageTask
from mrbook.tasks.shapes import draw_shapes, shapes

__all__ = [
    "SPLITS",
    "Batch",
    "DataWarning",
    "ImageTask",
    "Task",
    "data_folder",
    "download_cifar10",
    "draw_shapes",
    "scifar",
    "shapes",
]
