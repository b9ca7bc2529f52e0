"""Recall: one symbol is shown at the start, the question comes a thousand steps later.

Between them stand random symbols of another alphabet, so that whatever a network keeps of the start
has to outlast them. An average over time knows the answer as well as the last step does: read the
network at its last step alone (``pool="last"`` of `mrbook.models.SequenceClassifier`).
"""

from collections.abc import Mapping

import numpy as np

from mrbook.checks import check_count
from mrbook.tasks.base import SPLITS
from mrbook.tasks.tokens import END, TokenTask

__all__ = ["symbol_recall"]

_SHOWN, _FILLERS = "ABCDEFGH", "abcdefgh"


def symbol_recall(
    *,
    length: int = 1024,
    hold: int = 16,
    train: int = 1000,
    valid: int = 250,
    test: int = 1000,
    seed: int = 0,
) -> TokenTask:
    """Recall what was shown at the start of a sequence, at its end.

    One of the symbols A to H stands in `hold` steps running, which begin at one of the first `hold`
    steps. All other steps hold symbols from a to h, independent of each other and of the class. The
    last step is ``<eos>``, the question: the class is the symbol that was shown.

    Parameters
    ----------
    length : int
        Steps in all. From the last step that shows the symbol to the question there are at least
        ``length - 2 hold``.
    hold : int
        Steps that show the symbol, at most a quarter of `length`.
    train, valid, test : int
        Number of sequences in each split; in each every class is as frequent as the others, up to
        one.
    seed : int
        The same seed gives the same sequences. A split depends on its own size alone, and all
        are drawn apart.

    Returns
    -------
    TokenTask
        Eight classes.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or out of range.

    References
    ----------
    After the tasks with long time lags of S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory",
    Neural Computation 9(8), 1997; the sizes are ours.

    Examples
    --------
    >>> task = symbol_recall(length=16, hold=2, train=1, valid=1, test=1)
    >>> batch = next(task.batches("test", 1))
    >>> "".join(task.vocabulary[token] for token in batch.inputs[0])
    'dAAabfefgeehdea<eos>'
    >>> task.classes[batch.targets[0]]
    'A'
    """
    hold = check_count(hold, "hold")
    length = check_count(length, "length", 4 * hold)
    seed = check_count(seed, "seed", 0)
    sizes = {"train": train, "valid": valid, "test": test}
    codes, splits, total = [], {}, 0
    for number, split in enumerate(SPLITS):
        size = check_count(sizes[split], split)
        rng = np.random.default_rng([seed, length, hold, number])
        labels = rng.permutation(np.arange(size) % len(_SHOWN))
        steps = np.arange(length - 1)  # and <eos>, which TokenTask adds
        tokens = rng.integers(0, len(_FILLERS), (size, length - 1)) + len(_SHOWN)
        since = steps - rng.integers(0, hold, (size, 1))
        codes.append(np.where((since >= 0) & (since < hold), labels[:, None], tokens))
        splits[split] = np.arange(total, total + size), labels
        total += size
    fingerprint: Mapping[str, object] = {
        "data": "recall",
        "official": False,
        "mark": None,
        "length": length,
        "hold": hold,
        "seed": seed,
    }
    return TokenTask(
        "recall",
        tuple(_SHOWN),
        ("<pad>", END, *_SHOWN, *_FILLERS),
        np.concatenate(codes).astype(np.uint8).ravel(),
        np.full(total, length - 1),
        splits,
        fingerprint,
    )
