"""Checkpoints: whole or not at all, checked when they are read, the one before kept."""

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch

__all__ = ["CheckpointError", "load_checkpoint", "read_checkpoint", "save_checkpoint"]

_FORMAT = "mrbook checkpoint 2"


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or is one of another run."""


def save_checkpoint(folder: str | Path, state: dict[str, Any], name: str = "last") -> Path:
    """Write a checkpoint; an older one of the name becomes ``<name>-before.pt``.

    Whenever the process is killed, a whole checkpoint is left.

    Parameters
    ----------
    folder : str or Path
        Where; it is made.
    state : dict
        Tensors, numbers, strings, and lists and dictionaries of them.
    name : str
        The file is ``<folder>/<name>.pt``.

    Returns
    -------
    Path
        The file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    handle, part = tempfile.mkstemp(dir=folder, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": _FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)  # a temporary file is its owner's alone
        if path.exists():
            os.replace(path, folder / f"{name}-before.pt")
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def read_checkpoint(path: str | Path, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint: tensors and plain values only, nothing is executed.

    Parameters
    ----------
    path : str or Path
        The file.
    device : torch.device or str
        Where its tensors shall be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged, or something else than a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself doesn't look at the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of {damaged} is wrong")
        state = torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a truncated or foreign file makes torch raise
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{path} is truncated or no checkpoint: {reason}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of mrbook")
    return state


def load_checkpoint(
    folder: str | Path, run: dict[str, Any] | None = None, *, device: torch.device | str = "cpu"
) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest good checkpoint of a run.

    Parameters
    ----------
    folder : str or Path
        Where `save_checkpoint` wrote.
    run : dict, optional
        What tells this run from others; a checkpoint's ``run`` must equal it. Default: any run.
    device : torch.device or str
        Where its tensors shall be.

    Returns
    -------
    state : dict or None
        None if there is no checkpoint yet.
    refused : list of str
        What was wrong with newer ones.

    Raises
    ------
    CheckpointError
        If there are checkpoints, and none of them is good.
    """
    refused: list[str] = []
    found = [p for p in (Path(folder) / n for n in ("last.pt", "last-before.pt")) if p.is_file()]
    for path in found:
        try:
            state = read_checkpoint(path, device=device)
            theirs = state.get("run", {})
            if different := _differences(theirs if run is None else run, theirs):
                raise CheckpointError(f"{path} is of another run: {different}")
            return state, refused
        except CheckpointError as error:
            refused.append(str(error))
    if refused:
        raise CheckpointError("; ".join(refused))
    return None, []


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{k} is {theirs.get(k)!r}, not {ours.get(k)!r}" for k in keys[:3])
