"""Work that has to fit into the time that a machine is lent for: cut off cleanly, taken up again.

Everything runs in processes of its own. Where a kernel reads what is not its own, CUDA refuses all
that its process asks for afterwards, and a process that hangs can be ended.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["RUNS", "run_for", "train"]

#: Recipe and preset of training runs, in order of worth.
RUNS: tuple[tuple[str, str], ...] = (
    ("multires-scifar", "fast"),
    ("multires-drawing", "fast"),
    ("mrconv-scifar-fourier", "fast"),
    ("multires-scifar", "paper"),
    ("multires-listops", "fast"),
    ("multires-scifar-untied", "fast"),
    ("mrconv-scifar-dense", "fast"),
    ("mrconv-scifar-fourier-sparse", "fast"),
)

#: What a process gets to write what it has after Ctrl-C, in seconds.
GRACE = 25.0
#: With less than this left no run is begun or taken up: compiling a network takes longer.
LEAST = 90.0

_TRAIN = (sys.executable, "-m", "mrbook", "train")


def run_for(command: Sequence[str], seconds: float) -> int | None:
    """Run a command, and stop it as Ctrl-C does when its time is up.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    seconds : float
        Its time, `GRACE` included; ``math.inf`` for no limit.

    Returns
    -------
    int or None
        Its exit status, None if it was stopped.

    Examples
    --------
    >>> run_for([sys.executable, "-c", "raise SystemExit(3)"], 60)
    3
    """
    until = time.monotonic() + seconds - GRACE
    process = _start(command)
    try:
        try:
            return process.wait(None if until == float("inf") else until - time.monotonic())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()  # nothing, if it has ended
        process.wait()
    return None


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start it able to hear Ctrl-C, which a shell has what runs in its background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # nobody answers a question
    finally:
        signal.signal(signal.SIGINT, before)


def train(out: Path, seconds: float, runs: Sequence[tuple[str, str]] = RUNS) -> bool:
    """Go on with the training runs that have no record yet.

    Parameters
    ----------
    out : Path
        Records are ``out/train/*.json``, checkpoints ``out/runs/RECIPE-PRESET/*.pt``.
    seconds : float
        How long.
    runs : sequence of (str, str)
        Recipes and presets.

    Returns
    -------
    bool
        Whether none has failed. One that has stands in no other's way.
    """
    until, good = time.monotonic() + seconds, True
    for recipe, preset in runs:
        name = f"{recipe}-{preset}"
        if (out / "train" / f"{name}-seed0.json").exists():
            print(f"{name} is done", flush=True)
            continue
        left = until - time.monotonic()
        if left < LEAST:
            break
        if missing := _missing(recipe, preset):
            print(f"{name} is left out: {missing}", flush=True)
            good = False
            continue
        places = ["--folder", str(out / "runs" / name), "--records", str(out), "--resume"]
        status = run_for([*_TRAIN, recipe, "--preset", preset, *places], left)
        if status is None:
            print(f"{name}: its time is up; another call goes on with it", flush=True)
            break
        good = good and status == 0
    return good


def _missing(recipe: str, preset: str) -> str | None:
    """What a run lacks: drawn shapes, which else stand in for CIFAR-10, are not worth a card."""
    from mrbook.recipes import find_recipe
    from mrbook.tasks.cache import data_folder
    from mrbook.tasks.cifar import FOLDER

    if "cifar" in find_recipe(recipe, preset).task and not (data_folder() / FOLDER).is_dir():
        return f"CIFAR-10 is not in {data_folder()}, which MRBOOK_DATA names"
    return None
