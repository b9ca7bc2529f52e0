"""What a run measured, where, and with which code: one small JSON file a run, never typed by hand.

A record holds what was measured (its payload) and the environment it was measured in. Pages and
plots are made from records alone.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import mrbook

__all__ = ["DirtyTreeError", "check_place", "environment", "load_records", "write_record"]

_ROOT = Path(__file__).resolve().parents[1]
_FOLDER = _ROOT / "book" / "records"
_PACKAGES = ("torch", "numpy", "PyWavelets", "ptwt")
#: What a series of runs writes as it goes: it changes no code, so it makes no tree dirty.
_WRITTEN = ("book/records", "book/results.md", "mrbook/weights")
_FIELDS = {"kind": str, "name": str, "created": str, "environment": dict, "payload": dict}


class DirtyTreeError(RuntimeError):
    """The code that is running is not that of its commit, so no record may name the commit."""


def environment() -> dict[str, Any]:
    """Code, packages and machine, as a record keeps them.

    Returns
    -------
    dict
        ``commit`` and ``dirty`` (None outside a git checkout of this project; dirty where tracked
        files other than records, the results page and weights differ from the commit, or
        ``mrbook/`` has files that are not in it), ``mrbook``, ``python`` and ``packages`` (their
        versions, ptwt's where it is installed), ``platform``, ``cpu``, ``cores``, ``threads``
        (those of torch) and ``device``: the GPU's name, or "cpu".

    Examples
    --------
    >>> environment()["packages"]["torch"] == torch.__version__
    True
    """
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": None if commit is None else bool(_changes()),
        "mrbook": mrbook.__version__,
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": _device(),
    }


def check_place(folder: str | Path | None = None, *, here: Mapping[str, Any] | None = None) -> None:
    """Refuse a folder in which no record may be kept: call it before a long run.

    Parameters
    ----------
    folder : str or Path, optional
        As given to `write_record`. Only the checkout's own ``book/records`` is guarded.
    here : mapping, optional
        What `environment` said when the run began. Default: now.

    Raises
    ------
    DirtyTreeError
        If the tree is dirty, in the sense of `environment`; says which files are.
    FileNotFoundError
        If no `folder` is given and the package does not run from a checkout.
    """
    if folder is None and not _FOLDER.parent.is_dir():
        raise FileNotFoundError("folder must be given where mrbook does not run from its checkout")
    if Path(folder or _FOLDER).resolve() != (_ROOT / "book" / "records").resolve():
        return
    if (environment() if here is None else here)["dirty"]:
        files = ", ".join(_changes()[:5]) or "files that have been put back since"
        raise DirtyTreeError(f"a record must name the commit it was made with: commit {files}")


def _changes() -> list[str]:
    """Files that make the tree dirty."""
    ignored = [f":(exclude){name}" for name in _WRITTEN]
    tracked = _git("diff", "--name-only", "HEAD", "--", ".", *ignored) or ""
    new = _git("ls-files", "--others", "--exclude-standard", "--", "mrbook", *ignored) or ""
    return [*tracked.splitlines(), *new.splitlines()]


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write_record(
    kind: str,
    name: str,
    payload: Mapping[str, Any],
    folder: str | Path | None = None,
    *,
    overwrite: bool = False,
    here: Mapping[str, Any] | None = None,
) -> Path:
    """Write one record, whole or not at all.

    Parameters
    ----------
    kind, name : str
        The record becomes ``<folder>/<kind>/<name>.json``; lower-case letters, digits and ``-._``.
    payload : mapping
        What was measured: numbers, strings, lists and dictionaries, all finite.
    folder : str or Path, optional
        Default: ``book/records`` of the checkout that this package runs from.
    overwrite : bool
        Replace a record of the same name. Without it an existing one is kept.
    here : mapping, optional
        What `environment` said when the run began, for files may change while it goes on. Default:
        now.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DirtyTreeError
        If the record would lie in the checkout's own ``book/records``, and the tree is dirty.
    FileExistsError
        If there is such a record already and `overwrite` is not set.
    FileNotFoundError
        If no `folder` is given and the package does not run from a checkout.
    TypeError, ValueError
        If the payload is not JSON (a tensor, NaN), or `kind` or `name` has other characters.
    """
    path = _path(kind, name, folder)
    here = environment() if here is None else here
    check_place(folder, here=here)
    record = {
        "kind": kind,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": dict(here),
        "payload": dict(payload),
    }
    try:
        text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise type(error)(f"payload must be plain, finite JSON: {error}") from error
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or overwrite it")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader sees the old file or the new one, never half of it.
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False
    ) as file:
        file.write(text)
    try:
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError:
        os.unlink(file.name)
        raise
    return path


def load_records(kind: str, folder: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """All records of a kind by name, checked; empty if there are none yet.

    Parameters
    ----------
    kind : str
        As given to `write_record`.
    folder : str or Path, optional
        As given to `write_record`.

    Returns
    -------
    dict
        From each name, in alphabetical order, to its record: a dictionary with ``kind``, ``name``,
        ``created`` (UTC, ISO 8601), ``environment`` and ``payload``.

    Raises
    ------
    ValueError
        If a file is not a record, or its kind and name are not those of the file.

    Examples
    --------
    >>> load_records("there-is-none")
    {}
    """
    _check_slug(kind, "kind")
    paths = sorted((Path(folder or _FOLDER) / kind).glob("*.json"))
    return {path.stem: _load(path) for path in paths}


def _load(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(record).__name__}")
    for field, expected in _FIELDS.items():
        if not isinstance(record.get(field), expected):
            raise ValueError(
                f"{path} must have {field!r} of type {expected.__name__}, got {record.get(field)!r}"
            )
    if (record["kind"], record["name"]) != (path.parent.name, path.stem):
        raise ValueError(f"{path} calls itself {record['kind']}/{record['name']}")
    return record


def _path(kind: str, name: str, folder: str | Path | None) -> Path:
    _check_slug(kind, "kind")
    _check_slug(name, "name")
    return Path(folder or _FOLDER) / kind / f"{name}.json"


def _check_slug(text: str, argument: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", text):
        raise ValueError(f"{argument} must be lower-case letters, digits and -._ , got {text!r}")


def _git(*arguments: str) -> str | None:
    """What git says about this checkout; None without git or outside of a checkout."""

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Installed into some other project, the package must not claim that project's commit.
        inside = Path(run("rev-parse", "--show-toplevel")).resolve() == _ROOT
        return run(*arguments) if inside else None
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "mps" if torch.backends.mps.is_available() else "cpu"
