"""Text and Retrieval of the Long Range Arena: documents read byte by byte.

References
----------
A. L. Maas et al., "Learning Word Vectors for Sentiment Analysis", ACL 2011.
D. R. Radev, P. Muthukrishnan, V. Qazvinian, "The ACL Anthology Network corpus", 2009.
Y. Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", ICLR 2021,
arXiv:2011.04006.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrbook.checks import check_count
from mrbook.tasks.base import SPLIT_SEED, fixed_order
from mrbook.tasks.cache import digest, kept_arrays, progress_bar
from mrbook.tasks.lra import ARCHIVE, describe, locate, state
from mrbook.tasks.tokens import TokenTask

__all__ = ["BYTES", "ByteTask", "lra_retrieval", "lra_text"]

Array = NDArray[Any]

_PRINTABLE = range(ord(" ") + 1, 127)
#: All tokens by number; a byte is two places behind its value.
BYTES = (
    "<pad>",
    "<eos>",
    *(chr(byte) if byte in _PRINTABLE else f"<{byte:02x}>" for byte in range(256)),
)

_VERSION = 1  # of what is kept
_IMDB = "aclImdb_v1.tar.gz (84 MB) of https://ai.stanford.edu/~amaas/data/sentiment"
_PAIRS = {split: f"new_aan_pairs.{split}.tsv" for split in ("train", "eval", "test")}


class ByteTask(TokenTask):
    """Classify documents, or pairs of them, read as bytes; see `TokenTask`."""

    def texts(self, split: str, number: int) -> list[str]:
        """The documents of one example, as much of them as the task shows.

        Parameters
        ----------
        split : str
            "train", "valid" or "test".
        number : int
            Which, from 0.

        Returns
        -------
        list of str
            One, or two of a pair. Bytes that are no UTF-8, as where a letter is cut, become U+FFFD.
        """
        return [codes.tobytes().decode(errors="replace") for codes in self.codes(split, number)]


def lra_text(*, folder: str | Path | None = None, max_length: int = 4096) -> ByteTask:
    """Text of the Long Range Arena: is a film review positive? Up to 4,096 bytes.

    The benchmark has no validation data, and its published numbers choose on the test data. Here a
    tenth of the training data validates: 22,500 reviews are left to train, 25,000 test.

    Parameters
    ----------
    folder : str or Path, optional
        Where ``aclImdb`` is, with the folders ``train`` and ``test``, and ``neg`` and ``pos`` in
        each. Default: `data_folder`.
    max_length : int
        Longer reviews lose their ends; ``<eos>`` counts.

    Returns
    -------
    ByteTask
        What was read is kept in `data_folder`. The files are taken for the official ones where
        there are as many as published.

    Raises
    ------
    FileNotFoundError
        If the reviews are not there.
    ValueError
        If a number is out of range, or a folder of reviews is empty.
    """
    check_count(max_length, "max_length", 2)
    place = locate(folder, "aclImdb", "train/pos", _IMDB)
    folders = [place / split / name for split in ("train", "test") for name in ("neg", "pos")]
    files = [sorted(where.glob("*.txt")) for where in folders]
    for reviews, where in zip(files, folders, strict=True):
        if not reviews:
            raise ValueError(f"{where} holds no reviews")
    everything = [file for reviews in files for file in reviews]
    recipe = {"version": _VERSION, "max_length": max_length, "files": state(everything)}

    def read() -> dict[str, Array]:
        with progress_bar(len(everything), "Text", leave=False, delay=2) as bar:
            documents = []
            for file in everything:
                documents.append(file.read_bytes()[: max_length - 1])
                bar.update()
        return _join(documents)

    kept = kept_arrays("Text", "lra-text", recipe, read)
    tokens, lengths = kept["tokens"], kept["lengths"]
    labels = np.repeat([0, 1, 0, 1], [len(reviews) for reviews in files])
    count = len(files[0]) + len(files[1])
    order = fixed_order(count).numpy()
    train, valid = np.split(order, [count - count // 10])
    test = np.arange(count, len(everything))
    splits = {s: (x, labels[x]) for s, x in {"train": train, "valid": valid, "test": test}.items()}
    fingerprint = describe(
        "Text (IMDB)",
        digest(tokens, lengths, labels),
        {"train": count, "test": len(test)},
        {"train": 25_000, "test": 25_000},
        max_length=max_length,
        split_seed=SPLIT_SEED,
    )
    classes = ("negative", "positive")
    return ByteTask("lra-text", classes, BYTES, tokens, lengths, splits, fingerprint)


def lra_retrieval(*, folder: str | Path | None = None, max_length: int = 4000) -> ByteTask:
    """Retrieval of the Long Range Arena: does one paper cite the other? Twice up to 4,000 bytes.

    Parameters
    ----------
    folder : str or Path, optional
        Where ``new_aan_pairs.train.tsv``, ``.eval.tsv`` and ``.test.tsv`` are, or a folder with
        ``tsv_data`` as the archive has it. Default: `data_folder`.
    max_length : int
        Longer papers lose their ends; ``<eos>`` counts.

    Returns
    -------
    ByteTask
        An example is a pair of papers (`Task.pair`). Each paper is kept once, however many pairs
        have it, and what was read is kept in `data_folder`. The files are taken for the official
        ones where there are as many pairs as published.

    Raises
    ------
    FileNotFoundError
        If the papers are not there.
    ValueError
        If a number is out of range, or a line of a file is not an example.
    """
    check_count(max_length, "max_length", 2)
    place = locate(folder, "tsv_data", _PAIRS["train"], ARCHIVE)
    files = [place / name for name in _PAIRS.values()]
    recipe = {"version": _VERSION, "max_length": max_length, "files": state(files)}
    kept = kept_arrays(
        "Retrieval", "lra-retrieval", recipe, lambda: _read_pairs(files, max_length - 1)
    )
    tokens, lengths = kept["tokens"], kept["lengths"]
    members, labels = kept["members"], kept["labels"]
    ends = np.cumsum(kept["sizes"])[:-1]
    parts = zip(np.split(members, ends), np.split(labels, ends), strict=True)
    splits = dict(zip(("train", "valid", "test"), parts, strict=True))
    fingerprint = describe(
        "Retrieval (AAN)",
        digest(tokens, lengths, members, labels),
        {split: len(labels) for split, (_, labels) in splits.items()},
        {"train": 147_086, "valid": 18_090, "test": 17_437},
        max_length=max_length,
    )
    classes = ("apart", "linked")
    return ByteTask("lra-retrieval", classes, BYTES, tokens, lengths, splits, fingerprint)


def _read_pairs(files: list[Path], most: int) -> dict[str, Array]:
    """Read lines of a label, two names and two papers between tabs; quotes mean nothing."""
    numbers: dict[bytes, int] = {}
    members: list[list[int]] = []
    labels: list[int] = []
    sizes: list[int] = []
    for path in files:
        before = len(labels)
        total = path.stat().st_size
        bar = progress_bar(total, path.name, unit="B", unit_scale=True, leave=False, delay=2)
        with bar, path.open("rb") as file:
            for row, line in enumerate(file, 1):
                bar.update(len(line))
                fields = line.rstrip(b"\r\n").split(b"\t")
                if len(fields) != 5 or fields[0] not in _LABELS:
                    raise ValueError(
                        f"line {row} of {path} must be 0 or 1, two names and two papers between "
                        f"tabs, not {len(fields)} fields that begin with {fields[0][:20]!r}"
                    )
                pair = [numbers.setdefault(text[:most], len(numbers)) for text in fields[3:]]
                members.append(pair)
                labels.append(_LABELS[fields[0]])
        sizes.append(len(labels) - before)
    return {
        **_join(numbers),
        "members": np.array(members, np.int32),
        "labels": np.array(labels, np.uint8),
        "sizes": np.array(sizes),
    }


_LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}


def _join(documents: Collection[bytes]) -> dict[str, Array]:
    lengths = np.array([len(document) for document in documents], np.int32)
    return {"tokens": np.frombuffer(bytearray(b"".join(documents)), np.uint8), "lengths": lengths}
