"""The command line: ``python -m mrbook``, or ``mrbook`` where it is installed."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrbook

if TYPE_CHECKING:  # torch is not loaded to print a help text
    from mrbook.recipes import Recipe
    from mrbook.train import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0, 1 if the command could not do its work, or 130 if it was interrupted.
    """
    from mrbook.bench import SUITES

    parser = argparse.ArgumentParser(prog="mrbook", description=mrbook.__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=f"mrbook {mrbook.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    bench = commands.add_parser("bench", help="time the package beside others")
    bench.add_argument(
        "suites", nargs="*", metavar="suite", help=f"{', '.join(SUITES)} (default: all)"
    )
    bench.add_argument("--repeats", type=int, default=50, help="rounds (default: 50)")
    bench.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    bench.add_argument("--threads", type=int, help="threads of torch (default: torch's own)")
    bench.add_argument(
        "--record",
        action="store_true",
        help="keep the results in book/records/bench/SUITE-DEVICE.json, in place of older ones",
    )
    bench.set_defaults(run=_bench)

    _add_train(commands.add_parser("train", help="train a network by a recipe"))

    report = commands.add_parser("report", help="write the book's page of results from records")
    report.add_argument("--records", metavar="FOLDER", help="default: book/records")
    report.add_argument("--out", metavar="FILE", help="default: book/results.md")
    report.set_defaults(run=_report)

    data = commands.add_parser("data", help="fetch CIFAR-10 unless it is there")
    data.add_argument("--folder", help="where to (default: MRBOOK_DATA, or the user's cache)")
    data.set_defaults(run=_data)

    doctor = commands.add_parser("doctor", help="say what is here and what is missing")
    doctor.set_defaults(run=_doctor)

    options = parser.parse_args(arguments)
    return options.run(options)


def _bench(options: argparse.Namespace) -> int:
    import torch

    from mrbook.bench import SUITES
    from mrbook.bench.engine import run
    from mrbook.records import DirtyTreeError, check_place, environment, write_record

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    here = environment()
    print(f"{here['cpu']}, {here['threads']} threads, torch {here['packages']['torch']}\n")
    try:
        if options.record:
            check_place(here=here)
        for suite in options.suites or SUITES:
            result = run(suite, repeats=options.repeats, device=options.device)
            if options.record:
                command = (
                    f"python -m mrbook bench {suite} --repeats {options.repeats} "
                    f"--device {options.device} --threads {torch.get_num_threads()}"
                )
                name = f"{suite}-{options.device.replace(':', '-')}"
                payload = {"command": command, **result}
                path = write_record("bench", name, payload, overwrite=True, here=here)
                print(f"recorded in {path}\n")
    except (DirtyTreeError, ImportError, ValueError, OSError) as error:
        print(f"mrbook bench: {error}", file=sys.stderr)
        return 1
    return 0


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("recipe", help="such as multires-scifar; a wrong one lists all")
    train.add_argument(
        "--preset",
        help="paper, cpu or fast (default: cpu; on CUDA fast, or paper where there is no fast)",
    )
    train.add_argument("--device", help="default: cuda, else mps, else cpu")
    train.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    train.add_argument("--epochs", type=int, help="in place of the recipe's")
    train.add_argument("--batch-size", type=int, help="in place of the recipe's")
    train.add_argument("--lr", type=float, help="in place of the recipe's")
    train.add_argument(
        "--folder", help="of the checkpoints (default: runs/ and what tells this run from others)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="whether to use torch.compile (default: on CUDA)",
    )
    train.add_argument(
        "--no-milestones",
        dest="milestones",
        action="store_false",
        help="go on where validation scores are worse than the recipe expects",
    )
    train.add_argument(
        "--no-test",
        dest="test",
        action="store_false",
        help="leave the test data unread, as while choosing hyperparameters",
    )
    train.add_argument(
        "--record", action="store_true", help="keep the result in book/records/train"
    )
    train.add_argument(
        "--records", metavar="FOLDER", help="keep it there, in place of book/records"
    )
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from mrbook.records import DirtyTreeError
    from mrbook.train import DivergedError, MilestoneError, join
    from mrbook.train.processes import rank

    # A user's mistakes and a machine's limits; anything else is a defect and shows its traceback.
    expected = DivergedError, MilestoneError, DirtyTreeError, ImportError, ValueError, OSError
    last: Path | None = None
    try:
        with join(options.device) as device:
            try:
                device = _usable(device)
                recipe = _recipe(options, device)
                name = _run_name(recipe, options)
                folder = Path(options.folder or Path("runs") / name)
                last = folder / "last.pt"
                if last.exists() and not options.resume:
                    raise ValueError(
                        f"{folder} holds a run: --resume goes on with it, --folder takes another"
                    )
                _run_recipe(options, recipe, device, name, folder)
            except expected as error:
                if rank() == 0:
                    print(f"mrbook train: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt as stop:
                if rank() == 0:
                    more = "; --resume goes on" if last is not None and last.exists() else ""
                    print(f"mrbook train: {str(stop) or 'stopped'}{more}", file=sys.stderr)
                return 130
    except KeyboardInterrupt:  # while the processes were finding each other
        return 130
    return 0


def _usable(device: str | None) -> str:
    """The device, the best one where none is named; refused where tensors can't be put on it."""
    import torch

    from mrbook.train import best_device

    device = device or str(best_device())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"device {device!r} can't be used here: {reason}") from error
    return device


_OVERRIDES = "epochs", "batch_size", "lr"


def _recipe(options: argparse.Namespace, device: str) -> "Recipe":
    from mrbook.recipes import choose_preset, find_recipe

    preset = options.preset or choose_preset(options.recipe, device)
    recipe = find_recipe(options.recipe, preset)
    changes = {name: getattr(options, name) for name in _OVERRIDES}
    return recipe.but(**{name: value for name, value in changes.items() if value is not None})


def _run_name(recipe: "Recipe", options: argparse.Namespace) -> str:
    """What tells this run from others, for folders and records."""
    parts = [recipe.name, recipe.preset]
    for name in _OVERRIDES:
        if getattr(options, name) is not None:
            parts.append(f"{name.split('_')[0]}{getattr(options, name):g}")
    return "-".join([*parts, f"seed{options.seed}"])


def _command(recipe: "Recipe", options: argparse.Namespace, device: str) -> str:
    """The command that makes the run again, without the places where this machine keeps things."""
    from mrbook.train.processes import world

    start = "python" if world() == 1 else f"torchrun --nproc-per-node {world()}"
    device = device.split(":")[0] if world() > 1 else device
    words = f"{start} -m mrbook train {recipe.name} --preset {recipe.preset} --device {device}"
    words += f" --seed {options.seed}"
    for name in _OVERRIDES:
        if getattr(options, name) is not None:
            words += f" --{name.replace('_', '-')} {getattr(options, name)}"
    if options.compile is not None:
        words += " --compile" if options.compile else " --no-compile"
    words += "" if options.milestones else " --no-milestones"
    return words + ("" if options.test else " --no-test")


def _run_recipe(
    options: argparse.Namespace, recipe: "Recipe", device: str, name: str, folder: Path
) -> None:
    import torch
    from torch import distributed

    from mrbook.records import check_place, environment, write_record
    from mrbook.train import fit
    from mrbook.train.processes import rank, world

    first = rank() == 0
    record = options.record or options.records is not None
    here = environment()  # files may change while the run goes on
    if record:
        check_place(options.records, here=here)
    if not first:  # the first process fetches or draws the data, the others read them
        distributed.barrier()
    task = recipe.build_task()
    if first and world() > 1:
        distributed.barrier()
    torch.manual_seed(options.seed)
    model = recipe.build_model(task)
    if first:
        print(f"{recipe.name} ({recipe.preset}), seed {options.seed}, on {device}: {folder}")
    bar = sys.stdout.isatty()
    score = "accuracy" if recipe.kind == "classifier" else "bits_per_dim"

    def tell(entry: dict[str, Any]) -> None:
        print(_epoch_line(entry, score), flush=True)

    run = fit(
        model,
        task,
        recipe,
        device=device,
        seed=options.seed,
        folder=folder,
        resume=options.resume,
        compile=options.compile,
        milestones=options.milestones,
        progress=bar,
        test=options.test,
        on_epoch=None if bar else tell,
    )
    if not first:
        return
    print(_summary(run))
    print(f"weights in {folder / 'best.pt'}")
    if record:
        payload = run.payload(_command(recipe, options, device))
        path = write_record("train", name, payload, options.records, overwrite=True, here=here)
        print(f"recorded in {path}")


def _epoch_line(entry: dict[str, Any], score: str) -> str:
    from mrbook.report import score_text

    train, valid = (score_text(score, [entry[f"{part}_score"]]) for part in ("train", "valid"))
    return (
        f"epoch {entry['epoch']}: loss {entry['train_loss']:.4f}, validation loss "
        f"{entry['valid_loss']:.4f}, train {train}, validation {valid}, {entry['seconds']:.1f} s"
    )


def _summary(run: "Run") -> str:
    from mrbook.report import duration, score_text

    best = score_text(run.score, [run.best["valid_score"]])
    lines = [f"{run.parameters:,} parameters, {duration(run.seconds)} on {run.device}"]
    lines += [f"validation {best} after epoch {run.best['epoch']}, the best"]
    if run.test:
        lines.append(f"test {score_text(run.score, [run.test['score']])}")
    if run.mark:
        lines = [f"{line} ({run.mark})" if i else line for i, line in enumerate(lines)]
    return "\n".join(lines)


def _report(options: argparse.Namespace) -> int:
    from mrbook.report import write_report

    try:
        print(f"written to {write_report(options.records, options.out)}")
    except (ValueError, OSError) as error:
        print(f"mrbook report: {error}", file=sys.stderr)
        return 1
    return 0


def _data(options: argparse.Namespace) -> int:
    from mrbook.tasks import download_cifar10

    try:
        print(f"CIFAR-10 is in {download_cifar10(options.folder)}")
    except (OSError, ValueError) as error:
        print(f"mrbook data: {error}", file=sys.stderr)
        return 1
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from mrbook.records import environment

    here = environment()
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    commit = here["commit"]
    lines = {
        "mrbook": here["mrbook"],
        "commit": f"{commit[:12]}{' and changes' if here['dirty'] else ''}" if commit else "none",
        "python": here["python"],
        **here["packages"],
        "platform": here["platform"],
        "cpu": here["cpu"],
        "cores": here["cores"],
        "threads": here["threads"],
        "device": here["device"],
        "compiler": compiler or "none",
    }
    for name, value in lines.items():
        print(f"{name:12}{value}")
    missing = [
        f"{name}: {why}" for name, why in _OPTIONAL.items() if not importlib.util.find_spec(name)
    ]
    if compiler is None:
        missing.append(
            f"a C++ compiler ({', '.join(_COMPILERS)}): torch.compile on the CPU needs it"
        )
    print("\nmissing" if missing else "\nnothing is missing")
    for line in missing:
        print(f"  {line}")
    return 0


_COMPILERS = tuple(filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")))
_OPTIONAL = {
    "ipywidgets": 'sliders in notebooks: pip install "mrbook[interactive]"',
    "ptwt": 'python -m mrbook bench: pip install "mrbook[bench]"',
}

if __name__ == "__main__":
    sys.exit(main())
