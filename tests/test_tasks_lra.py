"""Text, Retrieval and Pathfinder from small files of the published formats."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mrbook.tasks import (
    TASKS,
    ByteTask,
    ImageTask,
    lra_pathfinder,
    lra_retrieval,
    lra_text,
    pathfinder,
    texts,
)
from mrbook.tasks.texts import BYTES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MRBOOK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


# ---- text ---------------------------------------------------------------------------------------


def write_reviews(root: Path, each: int = 10) -> dict[str, int]:
    """Write ``aclImdb`` with `each` reviews in a folder; return text and label of all."""
    rng = np.random.default_rng(0)
    found = {}
    for split in ("train", "test"):
        for label, name in enumerate(("neg", "pos")):
            place = root / "aclImdb" / split / name
            place.mkdir(parents=True)
            for i in range(each):
                text = f"{split} {name} {i}<br />né " + "x" * int(rng.integers(0, 300))
                (place / f"{i}_{rng.integers(1, 11)}.txt").write_text(text, encoding="utf-8")
                found[text] = label
    (root / "aclImdb" / "train" / "unsup").mkdir()
    (root / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("not to be read")
    (root / "aclImdb" / "README").write_text("not to be read")
    return found


def examples(task: ByteTask, split: str) -> dict[tuple[str, ...], int]:
    labels = task.labels(split).tolist()
    return {tuple(task.texts(split, i)): label for i, label in enumerate(labels)}


def test_text_reads_the_folders(folder: Path) -> None:
    found = write_reviews(folder)
    task = lra_text()
    assert task.name == "lra-text" and task.classes == ("negative", "positive")
    assert [task.size(split) for split in task.splits] == [18, 2, 20]
    parts = [examples(task, split) for split in task.splits]
    assert parts[0] | parts[1] | parts[2] == {(text,): label for text, label in found.items()}
    assert all(text.startswith("test") for (text,) in parts[2])
    assert all(text.startswith("train") for (text,) in parts[0] | parts[1])
    assert task.pair is False and task.length == 1 + max(len(text.encode()) for text in found)


def test_the_bytes_of_a_batch(folder: Path) -> None:
    write_reviews(folder)
    task = lra_text()
    (batch,) = task.batches("valid", 5)
    assert batch.inputs.dtype == batch.lengths.dtype == batch.targets.dtype == torch.int64
    assert batch.inputs.shape == (2, batch.lengths.max()) and batch.lengths.shape == (2,)
    texts = examples(task, "valid")
    for row, length, label in zip(batch.inputs, batch.lengths, batch.targets, strict=True):
        assert (row[length:] == 0).all() and row[length - 1] == 1
        text = bytes((row[: length - 1] - 2).tolist()).decode()
        assert texts[text,] == label


def test_long_reviews_lose_their_ends(folder: Path) -> None:
    found = write_reviews(folder)
    task = lra_text(max_length=30)
    assert task.length == 30 and task.lengths("test").max() == 30
    begins = sorted(text.encode()[:29].decode(errors="replace") for text in found)
    seen = [task.texts(s, i)[0] for s in task.splits for i in range(task.size(s))]
    assert sorted(seen) == begins
    assert task.fingerprint["max_length"] == 30


def test_bytes_have_a_name_each() -> None:
    assert len(set(BYTES)) == len(BYTES) == 258 and BYTES[:2] == ("<pad>", "<eos>")
    assert BYTES[2 + ord("a")] == "a" and BYTES[2 + ord("\n")] == "<0a>"
    assert BYTES[2 + 255] == "<ff>"


def test_a_part_of_the_reviews_is_marked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_reviews(folder)
    task = lra_text()
    assert task.fingerprint["official"] is False
    assert task.fingerprint["mark"] == "40 examples where Text (IMDB) has 50,000"
    assert task.subset(train=5).fingerprint["mark"] == task.fingerprint["mark"]
    describe = texts.describe
    whole = {"train": 20, "test": 20}
    monkeypatch.setattr(texts, "describe", lambda d, g, s, p, **m: describe(d, g, s, whole, **m))
    assert lra_text().fingerprint["official"] is True and lra_text().fingerprint["mark"] is None


def test_what_was_read_is_kept_until_files_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reviews(folder)
    first = lra_text()
    (kept,) = folder.glob("lra-text-*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(texts, "_join", pytest.fail)
        assert lra_text().fingerprint == first.fingerprint
    kept.write_bytes(kept.read_bytes()[:-300])  # damaged: read again
    assert lra_text().fingerprint == first.fingerprint
    digests = [first.fingerprint["digest"]]

    def changed(path: Path, text: str, time: int) -> None:
        path.write_text(text)
        os.utime(path, ns=(time, time))
        task = lra_text()
        digests.append(task.fingerprint["digest"])
        assert len(set(digests)) == len(digests)
        assert any((text,) in examples(task, split) for split in task.splits)

    file = folder / "aclImdb" / "test" / "pos" / "99_7.txt"
    changed(file, "a new file", 10**18)
    changed(file, "the same name, longer", 10**18)
    changed(file, "the same size, later.", 10**18 + 1)
    file.rename(folder / "aclImdb" / "train" / "pos" / "99_7.txt")  # the same name elsewhere
    assert ("the same size, later.",) not in examples(lra_text(), "test")


def test_text_needs_reviews(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"aclImdb/train/pos is not there.*aclImdb_v1"):
        lra_text()
    write_reviews(folder)
    shutil.rmtree(folder / "aclImdb" / "test" / "neg")
    with pytest.raises(ValueError, match="aclImdb/test/neg holds no reviews"):
        lra_text()
    with pytest.raises(ValueError, match="max_length must be at least 2, got 1"):
        lra_text(max_length=1)


# ---- retrieval ----------------------------------------------------------------------------------

SPLITS = {"train": ("train", 23), "eval": ("valid", 5), "test": ("test", 7)}


def write_pairs(place: Path) -> dict[str, list[tuple[int, str, str]]]:
    """Write the three files; return their contents."""
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    papers = [f'{i}: "quoted" ± ' + "word " * int(rng.integers(0, 40)) for i in range(12)]
    found: dict[str, list[tuple[int, str, str]]] = {}
    for name, (split, count) in SPLITS.items():
        lines = []
        for _ in range(count):
            a, b = rng.choice(12, 2, replace=False)
            label = int(rng.integers(0, 2))
            found.setdefault(split, []).append((label, papers[a], papers[b]))
            lines.append(f"{label}.0\tP{a}\tP{b}\t{papers[a]}\t{papers[b]}\n")
        (place / f"new_aan_pairs.{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return found


def test_retrieval_reads_pairs(folder: Path) -> None:
    found = write_pairs(folder / "tsv_data")
    task = lra_retrieval()
    assert task.name == "lra-retrieval" and task.pair is True and task.vocabulary == BYTES
    for split in task.splits:
        labels = task.labels(split).tolist()
        got = [(label, *task.texts(split, i)) for i, label in enumerate(labels)]
        assert got == found[split]
        assert task.lengths(split).shape == (len(labels), 2)
    assert task.fingerprint["mark"] == "35 examples where Retrieval (AAN) has 182,613"


@pytest.mark.parametrize("seed", [None, 0])
def test_rows_of_a_batch_are_pairs(folder: Path, seed: int | None) -> None:
    found = write_pairs(folder / "tsv_data")
    task = lra_retrieval()
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    seen = []
    for batch in task.batches("train", 4, generator=generator):
        count = len(batch.targets)
        assert batch.inputs.shape == (2 * count, batch.lengths.max())
        assert batch.lengths.shape == (2 * count,)
        for i, label in enumerate(batch.targets.tolist()):
            rows = zip(batch.inputs, batch.lengths.tolist(), strict=True)
            pair = [row[: length - 1] - 2 for row, length in list(rows)[2 * i : 2 * i + 2]]
            seen.append((label, *(bytes(codes.tolist()).decode() for codes in pair)))
    assert sorted(seen) == sorted(found["train"])


def test_batches_of_pairs_hold_about_the_same_length(folder: Path) -> None:
    write_pairs(folder / "tsv_data")
    task = lra_retrieval()
    longest = [int(batch.lengths.max()) for batch in task.batches("train", 4)]
    assert longest == sorted(longest)


def test_a_paper_is_kept_once(folder: Path) -> None:
    found = write_pairs(folder / "tsv_data")
    papers = {text for pairs in found.values() for _, *both in pairs for text in both}
    lra_retrieval()
    (path,) = folder.glob("lra-retrieval-*.npz")
    with np.load(path) as kept:
        assert len(kept["lengths"]) == len(papers) < 13
        assert len(kept["tokens"]) == sum(len(paper.encode()) for paper in papers)


@pytest.mark.parametrize("inside", ["", "tsv_data", "lra_release/lra_release/tsv_data"])
def test_files_are_found_where_the_archive_puts_them(tmp_path: Path, inside: str) -> None:
    write_pairs(tmp_path / "here" / inside)
    assert lra_retrieval(folder=tmp_path / "here").size("test") == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.0\tA\tB\tonly one text\n", r"line 3 of .*eval\.tsv must be .* not 4 fields"),
        ("2\tA\tB\tone\ttwo\n", r"line 3 .* begin with b'2'"),
        ("\n", "line 3 .* not 1 fields"),
    ],
)
def test_a_bad_line_is_named(folder: Path, line: str, message: str) -> None:
    write_pairs(folder / "tsv_data")
    path = folder / "tsv_data" / "new_aan_pairs.eval.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(ValueError, match=message):
        lra_retrieval()


def test_retrieval_says_where_its_files_come_from(tmp_path: Path) -> None:
    message = r"here/tsv_data/new_aan_pairs.train.tsv is not there.*lra_release.gz \(7.7 GB\).*here"
    with pytest.raises(FileNotFoundError, match=message):
        lra_retrieval(folder=tmp_path / "here")


# ---- pathfinder ---------------------------------------------------------------------------------


def write_images(
    place: Path, size: int = 32, difficulty: str = "curv_contour_length_14"
) -> list[tuple[np.ndarray, int]]:
    """Write 3 lists of 8 images; return images and labels as the lists have them."""
    rng = np.random.default_rng(size)
    found = []
    (place / difficulty / "metadata").mkdir(parents=True)
    for group in (0, 2, 10):  # as text, 10 would come before 2
        (place / difficulty / "imgs" / str(group)).mkdir(parents=True)
        lines = []
        for i in range(8):
            pixels, label = rng.integers(0, 256, (size, size), np.uint8), int(rng.integers(0, 2))
            path = f"imgs/{group} sample_{i}.png"
            Image.fromarray(pixels).save(place / difficulty / path.replace(" ", "/"))
            lines.append(f"{path} {i} {label} 1.0 14 4 2 0.5 1 1\n")
            found.append((pixels, label))
        (place / difficulty / "metadata" / f"{group}.npy").write_text("".join(lines))
    return found


def check_images(task: ImageTask, found: list[tuple[np.ndarray, int]]) -> None:
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(42)).tolist()
    tenth = len(found) // 10
    assert [task.size(s) for s in task.splits] == [len(found) - 2 * tenth, tenth, tenth]
    images = torch.cat([task.images(split) for split in task.splits])
    labels = torch.cat([task.labels(split) for split in task.splits])
    for number, source in enumerate(order):
        pixels, label = found[source]
        assert np.array_equal(images[number, 0], pixels) and labels[number] == label


@pytest.mark.parametrize(("name", "size"), [("lra-pathfinder", 32), ("lra-pathx", 128)])
def test_pathfinder_reads_what_the_lists_name(folder: Path, name: str, size: int) -> None:
    found = write_images(folder / f"pathfinder{size}", size)
    task = TASKS[name]()
    assert task.name == name and (task.channels, task.length) == (1, size**2)
    assert isinstance(task, ImageTask) and task.classes == ("apart", "joined")
    check_images(task, found)
    data = f"Pathfinder {size}, hard"
    assert task.fingerprint["data"] == data and task.fingerprint["split_seed"] == 42
    assert task.fingerprint["mark"] == f"24 examples where {data} has 200,000"
    batch = next(task.batches("test", 1))
    pixel = task.images("test")[0, 0, 1, 2].item() / 255  # row 1, column 2
    assert batch.inputs[0, 0, size + 2].item() == pytest.approx(2 * pixel - 1, abs=1e-6)


def test_difficulties_lie_in_folders_of_their_own(folder: Path) -> None:
    place = folder / "pathfinder32"
    easy = write_images(place, difficulty="curv_baseline")
    middle = write_images(place, difficulty="curv_contour_length_9")
    check_images(lra_pathfinder(difficulty="easy", folder=place), easy)
    check_images(lra_pathfinder(difficulty="intermediate"), middle)
    with pytest.raises(FileNotFoundError, match="curv_contour_length_14/metadata is not there"):
        lra_pathfinder()


def test_empty_files_are_left_out(folder: Path) -> None:
    found = write_images(folder / "pathfinder32")
    images = folder / "pathfinder32" / "curv_contour_length_14" / "imgs"
    (images / "0" / "sample_3.png").write_bytes(b"")
    task = lra_pathfinder()
    check_images(task, found[:3] + found[4:])
    assert task.fingerprint["mark"].startswith("24 examples where")


def test_as_many_images_as_published_are_the_official_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(folder / "pathfinder32")
    monkeypatch.setattr(pathfinder, "_PUBLISHED", 24)
    fingerprint = lra_pathfinder().fingerprint
    assert fingerprint["official"] is True and fingerprint["mark"] is None


def test_images_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = write_images(folder / "pathfinder32")
    first = lra_pathfinder()
    monkeypatch.setattr(pathfinder, "_pixels", pytest.fail)
    assert lra_pathfinder().fingerprint == first.fingerprint
    check_images(lra_pathfinder(), found)


def png(size: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((size, size), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("imgs/2/sample_1.png", b"no image", "sample_1.png can't be read as an image"),
        ("imgs/2/sample_1.png", png(32)[:-30], "sample_1.png can't be read as an image"),
        ("imgs/2/sample_1.png", png(16), r"must have 32 x 32 pixels, not \(16, 16\)"),
        (
            "metadata/2.npy",
            b"imgs/2 sample_0.png 0 7\n",
            r"line 1 of .*2\.npy must be folder, file",
        ),
        ("metadata/2.npy", b"\n", "line 1 of .* not ''"),
    ],
    ids=["no image", "cut", "small", "label", "blank"],
)
def test_a_bad_file_is_named(folder: Path, name: str, content: bytes, message: str) -> None:
    write_images(folder / "pathfinder32")
    (folder / "pathfinder32" / "curv_contour_length_14" / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        lra_pathfinder()


def test_pathfinder_refuses(folder: Path) -> None:
    with pytest.raises(ValueError, match="size must be one of 32, 64, 128, 256, got 16"):
        lra_pathfinder(size=16)
    with pytest.raises(ValueError, match="difficulty must be one of easy, intermediate, hard"):
        lra_pathfinder(difficulty="harder")
    place = folder / "pathfinder32" / "curv_contour_length_14" / "metadata"
    place.mkdir(parents=True)
    with pytest.raises(ValueError, match="holds 0 images, and three splits need 10"):
        lra_pathfinder()
