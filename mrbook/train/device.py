"""Where to train."""

import torch

__all__ = ["best_device", "usable_device"]


def best_device() -> torch.device:
    """CUDA where it is, then Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def usable_device(device: str | None = None) -> str:
    """The device, refused where tensors can't be put on it.

    Parameters
    ----------
    device : str, optional
        As the user gave it. Default: `best_device`.

    Raises
    ------
    ValueError
        If there is no such device here; says why.

    Examples
    --------
    >>> usable_device("cpu")
    'cpu'
    """
    device = device or str(best_device())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"device {device!r} can't be used here: {reason}") from error
    return device
