"""One training step: its batch, its random numbers, its learning rate, and the optimizer's move."""

from typing import Any

import torch
from torch import Tensor, nn

from mrbook.recipes import Recipe
from mrbook.tasks import Batch, ImageTask, Task
from mrbook.train.augment import AUGMENTATIONS
from mrbook.train.evaluation import amp_dtype
from mrbook.train.objectives import objective_of
from mrbook.train.optimizer import make_optimizer
from mrbook.train.processes import rank, share, sum_over_processes, world
from mrbook.train.schedule import cosine_with_warmup

__all__ = ["Stepper"]


class Stepper:
    """A network and all that its steps change and depend on.

    Parameters
    ----------
    model : Module
        It is moved to the device.
    task : Task
        The data.
    recipe : Recipe
        Hyperparameters.
    device : torch.device
        Where.
    seed : int
        All random numbers of a step follow from it and the number of the step.
    compile : bool or None
        Whether to use `torch.compile`. None: on CUDA, for tasks of one length.

    Attributes
    ----------
    step : int
        Steps taken.
    per_epoch, total : int
        Steps of an epoch, and of the run.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        recipe: Recipe,
        device: torch.device,
        seed: int,
        compile: bool | None,
    ) -> None:
        self.model, self.task, self.recipe = model.to(device), task, recipe
        self.device, self.seed = device, seed
        self.objective = objective_of(model)
        self.augment = _augmentations(task, recipe)
        self.optimizer = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.betas)
        self.amp = amp_dtype(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp == torch.float16)
        self.per_epoch = task.steps("train", recipe.batch_size)
        self.total = self.per_epoch * recipe.epochs
        self.warmup = round(self.per_epoch * recipe.warmup_epochs)
        self.network = self._network(_compiles(task, device) if compile is None else compile)
        self.step = 0

    def _network(self, compile: bool) -> nn.Module:
        network = self.model
        if compile:
            network = torch.compile(network)  # type: ignore[assignment]
        if world() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = nn.parallel.DistributedDataParallel(network, device_ids=ids)
        return network

    def lr(self, step: int) -> float:
        """Learning rate of a step, as a share of its largest value."""
        return cosine_with_warmup(step, self.total, self.warmup)

    def plan(self, epoch: int) -> list[Tensor]:
        """Which examples make the batches of an epoch."""
        generator = torch.Generator().manual_seed(_mix(self.seed, epoch))
        return self.task.plan("train", self.recipe.batch_size, generator)

    def take(self, index: Tensor) -> Tensor:
        """Take one step.

        Parameters
        ----------
        index : Tensor
            Numbers of the examples of the whole batch.

        Returns
        -------
        Tensor
            Sums of losses and of scores, and the number of examples, over all processes: float64 of
            shape ``(3,)``, on the device.
        """
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(self.step) * group["top_lr"]
        torch.manual_seed(_mix(self.seed, self.recipe.epochs + self.step, rank()))
        batch, lengths, real = self._batch(index)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            outputs = self.objective.predict(self.network, batch, lengths)
        losses, scores = self.objective.judge(outputs, batch)
        total = losses.sum() if real else 0 * losses.sum()
        # Processes average their gradients: each gives its share of the sum, times their number.
        loss = total * (world() / len(index))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        with torch.no_grad():
            seen = torch.stack([total.double(), scores.sum().double(), total.new_full((), real)])
            return sum_over_processes(seen if real else torch.zeros_like(seen))

    def _batch(self, index: Tensor) -> tuple[Batch, Tensor | None, int]:
        part, real = share(index, rank(), world())
        batch = self.task.take("train", part, self.device)
        lengths = batch.lengths
        if not real:  # nothing of it may count, in batch statistics neither
            lengths = torch.zeros(len(batch.inputs), dtype=torch.int64, device=self.device)
        if self.augment:
            assert isinstance(self.task, ImageTask)
            batch = batch._replace(inputs=self.task.change(batch.inputs, self.augment))
        return batch, lengths, real

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, among other things."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]


def _augmentations(task: Task, recipe: Recipe) -> list[Any]:
    for name in recipe.augment:
        if name not in AUGMENTATIONS:
            raise ValueError(f"augment must be of {', '.join(AUGMENTATIONS)}, got {name!r}")
    if recipe.augment and not isinstance(task, ImageTask):
        raise ValueError(f"augment is for images, the task is {task.name}")
    return [AUGMENTATIONS[name] for name in recipe.augment]


def _compiles(task: Task, device: torch.device) -> bool:
    """Whether it pays: texts have many lengths, each compiled anew until PyTorch gives up."""
    return device.type == "cuda" and task.vocabulary is None


def _mix(*numbers: int) -> int:
    """One seed from a few numbers, different for each."""
    seed = 0
    for number in numbers:
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) % (1 << 63)
    return seed
