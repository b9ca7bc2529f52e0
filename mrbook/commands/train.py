"""``mrbook train``: from its options to a run, its checkpoints and its record."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is not loaded to print a help text
    from mrbook.recipes import Recipe
    from mrbook.train import Run

__all__ = ["add_arguments"]


def add_arguments(train: argparse.ArgumentParser) -> None:
    """What ``mrbook train`` takes, and what it then does."""
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

    # A user's mistakes and a machine's limits; anything else is a defect and shows its traceback.
    expected = DivergedError, MilestoneError, DirtyTreeError, ImportError, ValueError, OSError
    last: Path | None = None
    speaks = os.environ.get("RANK", "0") == "0"  # of several processes one
    try:
        with join(options.device) as device:
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
        if speaks:
            print(f"mrbook train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        if speaks:
            more = "; --resume goes on" if last is not None and last.exists() else ""
            print(f"mrbook train: {str(stop) or 'stopped'}{more}", file=sys.stderr)
        return 130
    return 0


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

    from mrbook.records import environment, write_record
    from mrbook.train import fit
    from mrbook.train.processes import rank, world

    first = rank() == 0
    record = options.record or options.records is not None
    here = environment()  # files may change while the run goes on
    if record:
        _check_code(options, here, folder)
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
        here=here,
    )
    if not first:
        return
    print(_summary(run))
    print(f"weights in {folder / 'best.pt'}")
    if record:
        payload = run.payload(_command(recipe, options, device))
        path = write_record("train", name, payload, options.records, overwrite=True, here=here)
        print(f"recorded in {path}")


def _check_code(options: argparse.Namespace, here: dict[str, Any], folder: Path) -> None:
    """Refuse a record where any part of the run is made with code that is in no commit."""
    from mrbook.records import DirtyTreeError, check_place
    from mrbook.train.checkpoint import load_checkpoint

    check_place(options.records, here=here)
    state = load_checkpoint(folder)[0] if options.resume else None
    for code in [] if state is None else state["code"]:
        try:
            check_place(options.records, here=code)
        except DirtyTreeError as error:
            raise DirtyTreeError(
                f"a record must name the commits it was made with: {folder} holds a run that was "
                f"trained with changes which are in none"
            ) from error


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
