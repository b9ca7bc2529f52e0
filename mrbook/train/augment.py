"""Changes of training images that keep their class, on the device, by torch's random numbers."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["AUGMENTATIONS", "flip", "shift"]


def flip(images: Tensor) -> Tensor:
    """Mirror each image left to right, or not, with equal probability.

    Parameters
    ----------
    images : Tensor
        Shape ``(batch, channels, height, width)``.
    """
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def shift(images: Tensor, most: int = 4) -> Tensor:
    """Move each image by up to `most` pixels in both directions; zeros come in at the border.

    Parameters
    ----------
    images : Tensor
        Shape ``(batch, channels, height, width)``, normalized.
    most : int
        Largest shift.
    """
    batch, channels, height, width = images.shape
    padded = F.pad(images, (most, most, most, most))
    start = torch.randint(0, 2 * most + 1, (2, batch, 1), device=images.device)
    rows = start[0] + torch.arange(height, device=images.device)
    columns = start[1] + torch.arange(width, device=images.device)
    rows = rows[:, None, :, None].expand(-1, channels, -1, padded.shape[-1])
    columns = columns[:, None, None, :].expand(-1, channels, height, -1)
    return padded.gather(2, rows).gather(3, columns)


#: Augmentations by name, as recipes list them.
AUGMENTATIONS = {"flip": flip, "shift": shift}
