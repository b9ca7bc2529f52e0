"""Images read as sequences, pixel by pixel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS, Batch, Task

__all__ = ["ImageTask"]


class ImageTask(Task):
    """Classify images of which the model sees one pixel at a time, row by row.

    The images stay uint8 and live on the device that batches are asked for; a batch is gathered,
    scaled and normalized there.

    Parameters
    ----------
    name : str
        Name of the task.
    data : mapping
        From each of "train", "valid" and "test" to images, uint8 of shape
        ``(n, channels, height, width)``, and labels, int64 of shape ``(n,)``.
    classes : sequence of str
        Names of the classes.
    mean, std : sequence of float
        One for each channel, on the scale where pixels lie between 0 and 1.
    fingerprint : mapping
        See `Task`; the sizes of the splits are added.
    blank : int
        Black columns that a batch has at the right of each image, which makes its rows longer.

    Raises
    ------
    ValueError
        If shapes, types or labels don't go together.

    Examples
    --------
    >>> from mrbook.tasks import sequential_shapes
    >>> task = sequential_shapes(train=100, valid=20, test=20)
    >>> batch = next(task.batches("train", 50, generator=torch.Generator().manual_seed(0)))
    >>> batch.inputs.shape, batch.targets.shape, batch.lengths
    (torch.Size([50, 3, 1024]), torch.Size([50]), None)
    """

    def __init__(
        self,
        name: str,
        data: Mapping[str, tuple[Tensor, Tensor]],
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        fingerprint: Mapping[str, Any],
        *,
        blank: int = 0,
    ) -> None:
        if set(data) != set(SPLITS):
            raise ValueError(f"data must have the splits {', '.join(SPLITS)}, not {sorted(data)}")
        shape = data["train"][0].shape[1:]
        for split, (images, labels) in data.items():
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != shape:
                raise ValueError(
                    f"images of {split} must be uint8 of shape (n, channels, height, width), the "
                    f"same in all splits, not {images.dtype} of shape {tuple(images.shape)}"
                )
            if len(images) == 0 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{split} must have as many labels as images, at least one, not "
                    f"{tuple(labels.shape)} for {len(images)} images"
                )
            if labels.min() < 0 or labels.max() >= len(classes):
                raise ValueError(f"labels of {split} must lie between 0 and {len(classes) - 1}")
        if not len(mean) == len(std) == shape[0]:
            raise ValueError(f"mean and std must have {shape[0]} numbers, one for each channel")
        self.name = name
        self.classes = tuple(classes)
        self.channels = shape[0]
        self.blank = check_count(blank, "blank", 0)
        self.length = shape[1] * (shape[2] + blank)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.fingerprint = {
            **fingerprint,
            "sizes": {split: len(data[split][1]) for split in SPLITS},
        }
        self._data = {split: data[split] for split in SPLITS}
        self._stored: dict[tuple[str, torch.device], tuple[Tensor, ...]] = {}

    def size(self, split: str) -> int:
        """Count the images of a split."""
        return len(self._data[self._check_split(split)][1])

    def images(self, split: str) -> Tensor:
        """Images of a split without blank columns, uint8 ``(n, channels, height, width)``."""
        return self._data[self._check_split(split)][0]

    def labels(self, split: str) -> Tensor:
        """Class numbers of a split, int64 of shape ``(n,)``."""
        return self._data[self._check_split(split)][1]

    def subset(self, **sizes: int) -> "ImageTask":
        """Take the first images of some splits; see `Task.subset`."""
        kept = self._check_sizes(sizes)
        data = {s: (x[: kept[s]], y[: kept[s]]) for s, (x, y) in self._data.items()}
        about = self.name, data, self.classes, self.mean, self.std, self.fingerprint
        return ImageTask(*about, blank=self.blank)

    def change(self, inputs: Tensor, changes: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
        """Change the images of a batch; blank columns stay what and where they are.

        Parameters
        ----------
        inputs : Tensor
            Of a `Batch` of this task, shape ``(batch, channels, length)``.
        changes : iterable of callable
            Applied one after the other to images, shape ``(batch, channels, height, width)``.

        Returns
        -------
        Tensor
            Shape of the inputs.
        """
        height, width = self.images("train").shape[-2:]
        rows = inputs.unflatten(-1, (height, width + self.blank))
        images = rows[..., :width]
        for change in changes:
            images = change(images)
        return torch.cat([images, rows[..., width:]], -1).flatten(-2)

    def _plan(self, split: str, batch_size: int, generator: torch.Generator | None) -> list[Tensor]:
        n = self.size(split)
        if generator is None:
            order = torch.arange(n)
        else:
            order = torch.randperm(n, generator=generator, device=generator.device).cpu()
        return list(order.split(batch_size))

    def _take(self, split: str, index: Tensor, device: torch.device) -> Batch:
        if (split, device) not in self._stored:
            images, labels = self._data[split]
            rows = F.pad(images, (0, self.blank)) if self.blank else images
            scale = (255 * torch.tensor(numbers).view(-1, 1) for numbers in (self.mean, self.std))
            stored = rows.flatten(2), labels, *scale
            self._stored[split, device] = tuple(tensor.to(device) for tensor in stored)
        images, labels, mean, std = self._stored[split, device]
        index = index.to(device)
        return Batch(images[index].float().sub_(mean).div_(std), labels[index])
