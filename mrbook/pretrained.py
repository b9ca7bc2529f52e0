"""Trained networks that come with the package, each with the record of the run that made it.

A file of weights is named after its record in ``book/records/train`` and holds a copy of it: which
recipe and seed, which code, on which data, with which scores.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mrbook.models import MODELS
from mrbook.records import load_records
from mrbook.train.checkpoint import CheckpointError, read_checkpoint, save_checkpoint

__all__ = ["available", "pretrained", "publish", "record_of"]

_FOLDER = Path(__file__).with_name("weights")
_LIMIT = 16 << 20  # bytes of a file


def available() -> list[str]:
    """Names of the networks that come with the package, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.pt"))


def pretrained(name: str) -> nn.Module:
    """Return a trained network, in evaluation mode and on the CPU.

    Parameters
    ----------
    name : str
        One of `available`.

    Returns
    -------
    Module
        A `SequenceClassifier` or a `PixelModel`, with the weights that were best on validation
        data.

    Raises
    ------
    ValueError
        If there is none of this name; says which there are.

    Examples
    --------
    >>> pretrained("nothing")
    Traceback (most recent call last):
        ...
    ValueError: name must be one of ..., got 'nothing'
    """
    return _build(_read(name)).eval()


def record_of(name: str) -> dict[str, Any]:
    """Return the record of the run that made a network, as `mrbook.records.load_records` does.

    Show ``record["payload"]["data"]["mark"]`` beside every number where it is not None: the network
    was trained on other data than published figures are about.

    Parameters
    ----------
    name : str
        One of `available`.

    Raises
    ------
    ValueError
        If there is none of this name; says which there are.
    """
    return json.loads(_read(name)["record"])


def publish(
    name: str, checkpoint: str | Path | None = None, records: str | Path | None = None
) -> Path:
    """Put the weights of a recorded run into the package.

    Parameters
    ----------
    name : str
        The record's.
    checkpoint : str or Path, optional
        The run's ``best.pt``. Default: where the command line leaves it, ``runs/<name>/best.pt``.
    records : str or Path, optional
        As given to `mrbook.records.load_records`.

    Returns
    -------
    Path
        The file, in place of an older one.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If there is no such record, the checkpoint is damaged or of another run, or the file would
        have more than 16 MiB.
    """
    known = load_records("train", records)
    if name not in known:
        raise ValueError(f"name must be one of {_listed(known)}, got {name!r}")
    path = Path(checkpoint or Path("runs") / name / "best.pt")
    state = read_checkpoint(path)
    if "options" not in state:
        raise CheckpointError(f"{path} must be the best.pt of a run")
    if state["best"] != known[name]["payload"]["best"]:
        raise CheckpointError(f"{path} is of another run than the record {name}")
    _build(state)
    weights = {key: state[key] for key in ("kind", "options", "model")}
    record = json.dumps(known[name], ensure_ascii=False)
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        made = save_checkpoint(folder, {"record": record, **weights}, name)
        if (size := made.stat().st_size) > _LIMIT:
            raise ValueError(f"{path} must have at most {_LIMIT:,} bytes of weights, got {size:,}")
        os.replace(made, _FOLDER / made.name)
    return _FOLDER / made.name


def _read(name: str) -> dict[str, Any]:
    if name not in available():
        raise ValueError(f"name must be one of {_listed(available())}, got {name!r}")
    return read_checkpoint(_FOLDER / f"{name}.pt")


def _listed(names: Any) -> str:
    return ", ".join(names) or "(there are none yet)"


def _build(state: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # weights are drawn, only to be replaced
        model = MODELS[state["kind"]](**state["options"])
    model.load_state_dict(state["model"])
    return model
