"""The training loop: `fit` one model on one task by one recipe, stop it, and go on."""

import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mrbook.checks import check_count
from mrbook.recipes import Recipe
from mrbook.records import environment
from mrbook.tasks import Task
from mrbook.tasks.cache import progress_bar
from mrbook.train.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from mrbook.train.device import best_device
from mrbook.train.evaluation import evaluate
from mrbook.train.interrupt import interruptible
from mrbook.train.memory import kept_memory
from mrbook.train.processes import rank
from mrbook.train.run import DivergedError, MilestoneError, Run, peak_memory
from mrbook.train.step import Stepper

__all__ = ["fit"]

_LOOK_EVERY = 20  # steps on a GPU between two looks at the losses, which wait for it
_DIVERGED = 4.0  # times the first losses


def fit(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    *,
    device: torch.device | str | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
    compile: bool | None = None,
    milestones: bool = True,
    progress: bool = True,
    test: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    here: Mapping[str, Any] | None = None,
) -> Run:
    """Train a model.

    AdamW with a cosine schedule; the weights with the best validation score are kept, and read on
    test data once, at the end. All random numbers of a step follow from the seed and its number,
    so a run that is taken up again goes on exactly as it would have.

    Under ``torchrun`` (`mrbook.train.join`) each process computes a part of every batch, with the
    result of one process.

    Parameters
    ----------
    model : Module
        As `Recipe.build_model` makes it; it is moved to the device and trained in place.
    task : Task
        As `Recipe.build_task` makes it.
    recipe : Recipe
        Hyperparameters.
    device : torch.device or str, optional
        Default: `best_device`. On CUDA the network runs in bfloat16 (float16 with loss scaling on
        cards without it), the layers' long convolutions in float32.
    seed : int
        Of the order of examples, dropout and augmentation. The model's random start is the caller's
        business.
    folder : str or Path, optional
        Where checkpoints go: ``last.pt`` and the one before every `checkpoint_seconds`, after each
        epoch, and when the run is interrupted; ``best.pt`` after each epoch that is the best.
        Without it there are none.
    resume : bool
        Go on from the checkpoint in `folder`, if there is one.
    checkpoint_seconds : float
        Time between two checkpoints.
    compile : bool, optional
        Whether to use `torch.compile`. Default: on CUDA, for tasks of one length.
    milestones : bool
        Whether to stop where the recipe's milestones are missed.
    progress : bool
        Whether to show a bar with loss, score, examples per second and the time left.
    test : bool
        Whether to read the test data at the end.
    on_epoch : callable, optional
        Called by the first process after each epoch with its entry of the curve.
    here : mapping, optional
        What `mrbook.records.environment` said when the program began. Default: now. A run that is
        taken up again tells all code it was trained with.

    Returns
    -------
    Run

    Raises
    ------
    DivergedError
        If the loss is not finite, or far above where it began: tells step, learning rate, and the
        last good checkpoint.
    MilestoneError
        If a milestone is missed.
    KeyboardInterrupt
        On Ctrl-C, after the step is finished and a checkpoint written.
    CheckpointError
        If `resume` finds only checkpoints that are damaged or of another run.
    ValueError
        If resume is asked for without a folder, or an argument is out of range.
    """
    if resume and folder is None:
        raise ValueError("folder must be given to resume from")
    if not checkpoint_seconds >= 0:
        raise ValueError(f"checkpoint_seconds must not be negative, got {checkpoint_seconds}")
    where = best_device() if device is None else torch.device(device)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    stepper = Stepper(model, task, recipe, where, check_count(seed, "seed", 0), compile)
    here = environment() if here is None else here
    training = _Training(stepper, folder, {name: here[name] for name in ("commit", "dirty")})
    training.pause, training.milestones = checkpoint_seconds, milestones
    training.on_epoch = on_epoch
    if resume:
        training.resume()
    with kept_memory(), interruptible() as interrupted:
        training.go(interrupted, progress)
        return training.finish(test)


class _Training:
    """A run: epochs of steps, what was best, checkpoints, and what may go wrong."""

    def __init__(self, stepper: Stepper, folder: str | Path | None, code: dict[str, Any]) -> None:
        self.stepper, self.recipe, self.task = stepper, stepper.recipe, stepper.task
        self.model, self.objective = stepper.model, stepper.objective
        self.folder = None if folder is None else Path(folder)
        self.run = Run(
            self.recipe,
            stepper.seed,
            self.objective.score,
            sum(p.numel() for p in self.model.parameters()),
            _name(stepper.device),
            self.task.fingerprint,
            [code],
        )
        # of this epoch: loss, score, examples
        self.sums = torch.zeros(3, device=stepper.device, dtype=torch.float64)
        self.recent: list[Tensor] = []  # losses not looked at yet
        self.first_loss: float | None = None
        self.busy = 0.0  # seconds spent in training steps
        self.pause, self.milestones = 60.0, True
        self.on_epoch: Callable[[dict[str, Any]], None] | None = None

    # ---- the run --------------------------------------------------------------------------------

    def go(self, interrupted: threading.Event, progress: bool) -> None:
        """Train to the end, or to a signal."""
        began = time.perf_counter() - self.run.seconds
        saved = time.perf_counter()
        stepper, size = self.stepper, self.task.size("train")
        done = stepper.step // stepper.per_epoch * size
        done += stepper.step % stepper.per_epoch * self.recipe.batch_size
        bar = progress_bar(
            size * self.recipe.epochs,
            self.recipe.name,
            unit="ex",
            initial=done,
            disable=not progress or rank() > 0,
        )
        with bar:
            while stepper.step < stepper.total:
                epoch, first = divmod(stepper.step, stepper.per_epoch)
                if first == 0:
                    self.sums.zero_()
                for index in stepper.plan(epoch)[first:]:
                    tick = time.perf_counter()
                    seen = stepper.take(index)
                    self.sums += seen
                    self.recent.append(seen[0] / seen[2])
                    looked = self._look()
                    self.busy += time.perf_counter() - tick
                    self.run.seconds = time.perf_counter() - began
                    bar.update(len(index))
                    if looked:
                        bar.set_postfix(self._status(epoch), refresh=False)
                    if stepper.step % stepper.per_epoch == 0:
                        self._end_epoch(epoch)
                        self.run.seconds = time.perf_counter() - began
                        self.save()
                        if self.on_epoch is not None and rank() == 0:
                            self.on_epoch(self.run.curve[-1])
                        self._check_milestone(epoch)
                        saved = time.perf_counter()
                    if interrupted.is_set():
                        self.save()
                        raise KeyboardInterrupt(f"stopped after step {stepper.step}")
                    if time.perf_counter() - saved >= self.pause:
                        self.save()
                        saved = time.perf_counter()

    def _end_epoch(self, epoch: int) -> None:
        loss, score, examples = self.sums.tolist()
        valid_loss, valid_score = evaluate(self.model, self.task, "valid", self.recipe.batch_size)
        entry = {
            "epoch": epoch + 1,
            "train_loss": loss / examples,
            "train_score": score / examples,
            "valid_loss": valid_loss,
            "valid_score": valid_score,
            "lr": self.stepper.optimizer.param_groups[0]["lr"],
            "seconds": round(self.run.seconds, 2),
        }
        self.run.curve.append(entry)
        if not self.run.best or self._better(valid_score, self.run.best["valid_score"]):
            self.run.best = entry
            self.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
            if self.folder is not None and rank() == 0:
                state = {
                    "run": self._identity(),
                    "model": self.best_weights,
                    "best": entry,
                    "kind": self.recipe.kind,
                    "options": self.recipe.model_options(self.task),
                }
                save_checkpoint(self.folder, state, "best")

    def _better(self, new: float, old: float) -> bool:
        return new > old if self.objective.higher_is_better else new < old

    def finish(self, test: bool) -> Run:
        """Leave the model with its best weights, and read the test data."""
        self.model.load_state_dict(self.best_weights)
        if test:
            loss, score = evaluate(self.model, self.task, "test", self.recipe.batch_size)
            self.run.test = {"loss": loss, "score": score}
        self.run.memory = peak_memory(self.stepper.device)
        self.run.examples_per_second = (
            self.recipe.epochs * self.task.size("train") / max(self.busy, 1e-9)
        )
        self.model.eval()
        return self.run

    # ---- what may go wrong ----------------------------------------------------------------------

    def _look(self) -> bool:
        """Look at the losses of the last steps, on a GPU now and then."""
        stepper = self.stepper
        due = stepper.device.type != "cuda" or len(self.recent) >= _LOOK_EVERY
        if not due and stepper.step % stepper.per_epoch:
            return False
        losses = torch.stack(self.recent).tolist()
        begin = stepper.step - len(losses)
        self.recent.clear()
        if self.first_loss is None:
            self.first_loss = losses[0]
        for i, loss in enumerate(losses):
            if not math.isfinite(loss):
                self._diverged(begin + i, f"the loss is {loss}")
        mean = sum(losses) / len(losses)
        if mean > _DIVERGED * max(self.first_loss, 1.0) and stepper.step > stepper.per_epoch // 10:
            text = f"the loss is {mean:.3g}, and began at {self.first_loss:.3g}"
            self._diverged(begin, text)
        return True

    def _diverged(self, step: int, what: str) -> None:
        lr = self.stepper.lr(step) * self.recipe.lr
        good = "there is no checkpoint"
        if self.folder is not None and (self.folder / "last.pt").exists():
            good = f"the last good checkpoint is {self.folder / 'last.pt'}"
        raise DivergedError(f"{what} at step {step} with learning rate {lr:.3g}; {good}")

    def _check_milestone(self, epoch: int) -> None:
        wanted = self.recipe.milestones.get(epoch + 1)
        got = self.run.curve[-1]["valid_score"]
        if self.milestones and wanted is not None and self._better(wanted, got):
            raise MilestoneError(
                f"after {epoch + 1} epochs the validation {self.objective.score} is {got:.4g}, and "
                f"{wanted:.4g} is expected by then: something is wrong (milestones=False goes on)"
            )

    def _status(self, epoch: int) -> dict[str, str]:
        loss, score, examples = self.sums.tolist()
        status = {
            "epoch": f"{epoch + 1}/{self.recipe.epochs}",
            "loss": f"{loss / examples:.3f}",
            self.objective.score: f"{score / examples:.3f}",
        }
        if self.run.curve:
            status["valid"] = f"{self.run.curve[-1]['valid_score']:.3f}"
        return status

    # ---- checkpoints ----------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be gone on from."""
        recipe = self.recipe.as_dict()
        data = self.task.fingerprint
        return {
            "recipe": repr(recipe),
            "seed": self.run.seed,
            "data": repr({key: data[key] for key in sorted(data)}),
        }

    def save(self) -> None:
        """Write a checkpoint, unless the weights are broken."""
        if self.folder is None or rank() != 0:
            return
        self._look_now()
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            self._diverged(self.stepper.step - 1, "a weight is not finite")
        state = {
            "run": self._identity(),
            **self.stepper.state_dict(),
            "sums": self.sums,
            "first_loss": self.first_loss,
            "curve": self.run.curve,
            "best": self.run.best,
            "seconds": self.run.seconds,
            "busy": self.busy,
            "code": self.run.code,
        }
        save_checkpoint(self.folder, state)

    def _look_now(self) -> None:
        if self.recent and not torch.stack(self.recent).isfinite().all():
            self._diverged(self.stepper.step - len(self.recent), "the loss is not finite")

    def resume(self) -> None:
        """Take up the newest good checkpoint, if there is any."""
        assert self.folder is not None
        device = self.stepper.device
        state, refused = load_checkpoint(self.folder, self._identity(), device=device)
        for reason in refused:
            warnings.warn(f"{reason}; going on from the checkpoint before", stacklevel=3)
        if state is None:
            return
        self.stepper.load_state_dict(state)
        self.first_loss, self.sums = state["first_loss"], state["sums"].to(device)
        self.run.curve, self.run.best = state["curve"], state["best"]
        self.run.seconds, self.busy = state["seconds"], state["busy"]
        before = state["code"]
        self.run.code = before if before[-1] == self.run.code[0] else before + self.run.code
        if self.run.best:
            best = read_checkpoint(self.folder / "best.pt", device=device)
            self.best_weights = best["model"]


# ---- details ------------------------------------------------------------------------------------


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
