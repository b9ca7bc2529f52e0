"""The learning rate: linear warm-up, then a cosine down to zero."""

import math

__all__ = ["cosine_with_warmup"]


def cosine_with_warmup(step: int, total: int, warmup: int = 0) -> float:
    """Learning rate of a step, as a share of its largest value.

    Parameters
    ----------
    step : int
        Steps taken before, from 0 to ``total - 1``.
    total : int
        Steps in all.
    warmup : int
        Steps of linear growth from 0.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        If step or warmup is out of range.

    Examples
    --------
    >>> [round(cosine_with_warmup(step, total=6, warmup=2), 3) for step in range(6)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146]
    """
    if not 0 <= step < total:
        raise ValueError(f"step must be from 0 to {total - 1}, got {step}")
    if not 0 <= warmup <= total:
        raise ValueError(f"warmup must be from 0 to {total}, got {warmup}")
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
