"""Batches of images, and the drawn shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mrbook.tasks import TASKS, ImageTask, draw_shapes, sequential_shapes
from mrbook.tasks.shapes import CLASSES


@pytest.fixture(scope="module")
def task() -> ImageTask:
    return sequential_shapes(train=103, valid=20, test=20)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- batches ------------------------------------------------------------------------------------


def test_an_epoch_holds_every_image_once(task: ImageTask) -> None:
    batches = list(task.batches("train", 25, generator=seeded(0)))
    assert [len(b.targets) for b in batches] == [25, 25, 25, 25, 3]
    assert len(batches) == task.steps("train", 25)
    seen = torch.cat([b.inputs for b in batches]).flatten(1)
    whole = ((task.images("train").float() / 255 - 0.5) / 0.25).flatten(1)
    match = ((seen[:, None] - whole).abs() < 1e-5).all(-1).nonzero()
    assert match[:, 1].sort().values.tolist() == list(range(103))
    assert match[:, 1].tolist() != list(range(103))
    labels = torch.cat([b.targets for b in batches])
    assert torch.equal(labels, task.labels("train")[match[:, 1]])


def test_the_generator_decides_the_order(task: ImageTask) -> None:
    def order(seed: int | None) -> list[int]:
        generator = None if seed is None else seeded(seed)
        batches = task.batches("train", 9, generator=generator)
        return torch.cat([batch.targets for batch in batches]).tolist()

    assert order(1) == order(1) != order(2)
    assert order(None) == task.labels("train").tolist()


def test_an_epoch_is_taken_up_in_the_middle(task: ImageTask) -> None:
    whole = list(task.batches("train", 25, generator=seeded(3)))
    rest = list(task.batches("train", 25, generator=seeded(3), start=2))
    assert len(rest) == 3
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[2:], rest, strict=True))
    generator = seeded(3)
    iterator = task.batches("train", 25, generator=generator)
    before = generator.get_state()
    list(iterator)
    assert torch.equal(generator.get_state(), before)  # used when called, not while iterating


def test_the_smaller_batch_can_be_left_out(task: ImageTask) -> None:
    sizes = [len(b.targets) for b in task.batches("train", 25, drop_last=True)]
    assert sizes == [25] * 4 and task.steps("train", 25, drop_last=True) == 4


def test_a_subset_is_the_first_images(task: ImageTask) -> None:
    few = task.subset(train=7, test=5)
    assert [few.size(s) for s in few.splits] == [7, 20, 5]
    assert torch.equal(few.images("train"), task.images("train")[:7])
    assert few.fingerprint == {
        **task.fingerprint,
        "sizes": {"train": 7, "valid": 20, "test": 5},
    }


def test_blank_columns_make_rows_longer(task: ImageTask) -> None:
    data = {split: (task.images(split), task.labels(split)) for split in task.splits}
    wide = ImageTask("t", data, task.classes, task.mean, task.std, {}, blank=2)
    height, width = task.images("train").shape[-2:]
    assert wide.length == height * (width + 2) == task.length + 2 * height
    for each in (wide, wide.subset(train=9)):
        index = torch.tensor([3, 0, 8])
        inputs, narrow = each.take("train", index).inputs, task.take("train", index).inputs
        assert inputs.shape == (3, task.channels, wide.length) and inputs.dtype == torch.float32
        rows = inputs.unflatten(-1, (height, width + 2))
        assert torch.equal(rows[..., :width].flatten(-2), narrow)
        black = -torch.tensor(task.mean) / torch.tensor(task.std)
        assert torch.allclose(rows[..., width:], black.view(-1, 1, 1), atol=1e-6)
        assert torch.equal(each.images("train")[index], task.images("train")[index])
    # an image is turned around, and what is blank stays at the right
    turned = wide.change(inputs, [lambda images: images.flip(-1), torch.neg])
    assert torch.equal(task.change(narrow, []), narrow)
    turned = turned.unflatten(-1, (height, width + 2))
    assert torch.equal(turned[..., :width], -rows[..., :width].flip(-1))
    assert torch.equal(turned[..., width:], rows[..., width:])
    with pytest.raises(ValueError, match="blank must be at least 0, got -1"):
        ImageTask("t", data, task.classes, task.mean, task.std, {}, blank=-1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.batches("dev", 4), ValueError, "split must be one of train, valid, test"),
        (lambda t: t.batches("train", 0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda t: t.batches("train", 2.0), TypeError, "batch_size must be an integer, got"),
        (lambda t: t.batches("train", 4, start=-1), ValueError, "start must be at least 0"),
        (lambda t: t.images("all"), ValueError, "split must be"),
        (lambda t: t.subset(train=104), ValueError, "train must be at most 103, not 104"),
        (lambda t: t.subset(dev=1), ValueError, "split must be"),
    ],
)
def test_bad_requests_fail_at_once(task: ImageTask, call, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call(task)


def test_bad_data_are_refused() -> None:
    images, labels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 0])
    good = {split: (images, labels) for split in ["train", "valid", "test"]}

    def make(name: str = "valid", pair: object = (images, labels), mean: int = 3) -> None:
        data = good | {name: pair}
        ImageTask("t", data, ["a", "b"], [0.5] * mean, [1.0] * 3, {})  # type: ignore[arg-type]

    make()
    for pair, message in [
        ((images.float(), labels), "images of valid must be uint8"),
        ((images[:, :1], labels), "the same in all splits"),
        ((images, labels[:3]), "as many labels as images"),
        ((images, labels + 1), "labels of valid must lie between 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(pair=pair)
    with pytest.raises(ValueError, match="splits train, valid, test"):
        make("dev")
    with pytest.raises(ValueError, match="mean and std must have 3"):
        make(mean=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_data_stay_bytes() -> None:
    task = sequential_shapes(train=2000, valid=10, test=10)
    before = torch.cuda.memory_allocated()
    epochs = [task.batches("train", 50, generator=seeded(0), device=d) for d in ["cuda", "cpu"]]
    for there, here in zip(*epochs, strict=True):
        assert there.inputs.is_cuda and torch.equal(there.targets.cpu(), here.targets)
        assert torch.allclose(there.inputs.cpu(), here.inputs, atol=1e-6)
    del there, epochs
    assert torch.cuda.memory_allocated() - before < 2000 * 3072 * 1.2


# ---- shapes -------------------------------------------------------------------------------------


def test_shapes_are_seeded_balanced_and_different() -> None:
    images, labels = draw_shapes(200, seed=5)
    assert images.shape == (200, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.dtype == torch.int64 and labels.bincount().tolist() == [20] * 10
    assert torch.equal(images, draw_shapes(200, seed=5)[0])
    assert not torch.equal(images, draw_shapes(200, seed=6)[0])
    assert len(images.flatten(1).unique(dim=0)) == 200


def test_every_shape_can_be_seen() -> None:
    """The ground varies smoothly; a shape has edges well above the noise."""
    images, _ = draw_shapes(500, size=16, channels=1)
    rows = (images[:, 0, :, 1:].float() - images[:, 0, :, :-1]).abs().flatten(1)
    assert (rows.max(1).values > 45).all()
    assert (rows.median(1).values < 25).all()


@pytest.mark.parametrize(
    ("size", "channels", "labels", "pixels"),
    [
        (32, 3, [9, 4, 2, 3, 4, 9, 0, 2], [151, 138, 137, 126, 129, 138, 121, 130]),
        (16, 1, [3, 8, 9, 4, 8, 3, 4, 3], [84, 70, 64, 61, 61, 61, 80, 84]),
    ],
)
def test_the_shapes_are_still_the_same(
    size: int, channels: int, labels: list[int], pixels: list[int]
) -> None:
    """Records of trainings on them stay comparable."""
    images, numbers = draw_shapes(60, size, channels)
    assert numbers[:8].tolist() == labels
    row = images[59, 0, size // 2, :8].int()
    assert (row - torch.tensor(pixels)).abs().max() <= 1  # libraries round sines differently


def test_plain_shapes_are_upright_white_and_in_the_middle() -> None:
    images, labels = draw_shapes(400, size=16, channels=1, plain=True)
    assert images.shape == (400, 1, 16, 16) and images.dtype == torch.uint8
    assert torch.equal(labels, draw_shapes(400, size=16, channels=1, plain=True)[1])
    assert len(images.flatten(1).unique(dim=0)) == 400
    border = torch.cat([images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]], -1)
    assert border.float().mean() < 3 and (images == 0).float().mean() > 0.5
    assert (images.flatten(1).amax(1) == 255).all()
    mean = images[:, 0].double() / 255
    for name, mirrored in [("disc", True), ("triangle", True), ("star", True), ("corner", False)]:
        prototype = mean[labels == CLASSES.index(name)].mean(0)
        difference = (prototype - prototype.flip(1)).abs().mean()
        assert (difference < 0.04) == mirrored
    top, bottom = mean[labels == CLASSES.index("triangle")].mean(0).split(8)
    assert top.sum() < bottom.sum()


def test_plain_shapes_lie_on_the_grid_of_256_levels() -> None:
    task = TASKS["plain-shapes"](train=50, valid=10, test=10)
    assert isinstance(task, ImageTask)
    assert task.name == task.fingerprint["data"] == "plain-shapes"
    assert (task.channels, task.length) == (1, 256) and task.fingerprint["mark"]
    inputs = next(task.batches("train", 50)).inputs
    assert inputs.min() == -1 and inputs.max() == 1
    level = (inputs + 1) * 127.5
    assert torch.allclose(level, task.images("train").flatten(2).float(), atol=1e-4)
    three = draw_shapes(20, 16, 3, plain=True)[0]
    assert torch.equal(three[:, 0], three[:, 2])


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (16, 1)])
def test_a_linear_probe_stays_under_half(size: int, channels: int) -> None:
    task = sequential_shapes(train=4000, valid=10, test=1000, size=size, channels=channels)
    pixels = F.avg_pool2d(task.images("train").float() / 255, size // 16).flatten(1)
    held_out = F.avg_pool2d(task.images("test").float() / 255, size // 16).flatten(1)
    mean = pixels.mean(0)
    pixels, held_out = pixels - mean, held_out - mean
    scores = F.one_hot(task.labels("train"), 10) - 0.1
    accuracy = 0.0
    for ridge in [1, 10, 100]:
        gram = pixels.T @ pixels + ridge * torch.eye(pixels.shape[1])
        guess = (held_out @ torch.linalg.solve(gram, pixels.T @ scores)).argmax(1)
        accuracy = max(accuracy, (guess == task.labels("test")).float().mean().item())
    assert 0.1 < accuracy < 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 1, "size": 4}, ValueError, "size must be at least 8, got 4"),
        ({"count": 1, "channels": 2}, ValueError, "channels must be 1 or 3, not 2"),
        ({"count": 1, "seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"count": 1.5}, TypeError, "count must be an integer, got"),
    ],
)
def test_shapes_refuse(arguments: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        draw_shapes(**arguments)
