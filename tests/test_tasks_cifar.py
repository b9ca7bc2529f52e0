"""CIFAR-10 from a folder and from the network, on small copies that the tests make."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jupyter_client.manager import start_new_kernel
from PIL import Image

from mrbook.__main__ import main
from mrbook.tasks import (
    TASKS,
    DataWarning,
    ImageTask,
    cache,
    cifar,
    cifar_pixels,
    download_cifar10,
    lra_image,
    sequential_cifar10,
    sequential_shapes,
)

NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer"]
NAMES += [b"dog", b"frog", b"horse", b"ship", b"truck"]
EACH = 20  # images in a file


def contents(seed: int = 0) -> dict[str, dict[bytes, Any]]:
    """Return what the seven files hold."""
    rng = np.random.default_rng(seed)
    files: dict[str, dict[bytes, Any]] = {"batches.meta": {b"label_names": NAMES}}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (EACH, 3072), np.uint8)
        labels = rng.integers(0, 10, EACH).tolist()
        files[name] = {b"batch_label": name.encode(), b"labels": labels, b"data": data}
    return files


def write(folder: Path, files: dict[str, dict[bytes, Any]], protocol: int = 2) -> Path:
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return place


def official(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Take the bytes of this folder for the official ones."""
    sums = {name: hashlib.md5((place / name).read_bytes()).hexdigest() for name in cifar.FILES}
    monkeypatch.setattr(cifar, "FILES", sums)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder with nothing in it, as a reader has it."""
    monkeypatch.delenv("MRBOOK_STATIC", raising=False)
    monkeypatch.setenv("MRBOOK_DATA", str(tmp_path / "data"))
    few = partial(sequential_shapes, train=30, valid=10, test=10)  # quicker to draw
    monkeypatch.setattr(cifar, "sequential_shapes", few)
    return tmp_path / "data"


# ---- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    files = contents()
    official(monkeypatch, write(folder, files, protocol))
    task = sequential_cifar10()
    assert task.name == "scifar" and task.classes == tuple(n.decode() for n in NAMES)
    assert [task.size(s) for s in task.splits] == [90, 10, 20]
    assert (task.channels, task.length, task.vocabulary) == (3, 1024, None)
    assert task.fingerprint["official"] is True and task.fingerprint["mark"] is None
    assert task.fingerprint["sizes"] == {"train": 90, "valid": 10, "test": 20}

    test = files["test_batch"]
    assert task.labels("test").tolist() == test[b"labels"]
    assert np.array_equal(task.images("test").flatten(1).numpy(), test[b"data"])
    batch = next(task.batches("test", 4))
    pixel = test[b"data"][2].reshape(3, 1024)[1, 33] / 255  # image 2, green, row 1, column 1
    assert batch.inputs.shape == (4, 3, 1024) and batch.inputs.dtype == torch.float32
    assert batch.inputs[2, 1, 33].item() == pytest.approx((pixel - 0.4822) / 0.1994, abs=1e-6)
    assert batch.targets.tolist() == test[b"labels"][:4] and batch.lengths is None


def test_the_split_is_a_fixed_partition(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents()
    official(monkeypatch, write(folder, files))
    task = sequential_cifar10()
    whole = np.concatenate([files[f"data_batch_{i}"][b"data"] for i in range(1, 6)])
    order = torch.randperm(100, generator=torch.Generator().manual_seed(42))
    assert order[:5].tolist() == [42, 96, 62, 98, 46]  # the same with every torch
    parts = torch.cat([task.images("train"), task.images("valid")]).flatten(1).numpy()
    assert np.array_equal(parts, whole[order])
    assert task.fingerprint["split_seed"] == 42


def test_another_copy_gives_one_warning_and_a_mark(folder: Path) -> None:
    write(folder, contents())
    with pytest.warns(DataWarning, match="copy of CIFAR-10 with other bytes") as caught:
        task = sequential_cifar10()
    assert len(caught) == 1 and caught[0].filename == cifar.__file__
    assert task.fingerprint["official"] is False
    assert task.fingerprint["mark"].startswith("a copy of CIFAR-10 with other bytes")
    assert task.subset(train=10).fingerprint["mark"] == task.fingerprint["mark"]


def test_fingerprints_tell_copies_apart(tmp_path: Path) -> None:
    places = [write(tmp_path / str(i), contents(seed)) for i, seed in enumerate([0, 0, 1])]
    with pytest.warns(DataWarning):
        same, again, other = (sequential_cifar10(folder=p).fingerprint["digest"] for p in places)
    assert same == again != other


def python2(data: np.ndarray, labels: list[int]) -> bytes:
    """Return a batch as Python 2 and NumPy 1 pickled the official files."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    rows, columns = data.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01" + struct.pack("<cHcH", b"M", rows, b"M", columns) + b"\x86"
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
        b"\x89T" + struct.pack("<i", data.size) + data.tobytes() + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def test_reads_what_python_2_wrote(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents()
    place = write(folder, files)
    for name, content in files.items():
        if b"data" in content:
            (place / name).write_bytes(python2(content[b"data"], content[b"labels"]))
    official(monkeypatch, place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = sequential_cifar10()
    assert np.array_equal(task.images("test").flatten(1).numpy(), files["test_batch"][b"data"])


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["MRBOOK_DATA"] + "/evil",)


def test_a_pickle_that_asks_for_more_is_refused(folder: Path) -> None:
    place = write(folder, contents())
    (place / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil(), b"labels": [1]}))
    with pytest.raises(ValueError, match=r"data_batch_3 is not a file of CIFAR-10.*mkdir"):
        sequential_cifar10()
    assert not (folder / "evil").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "data_batch_2 is not a file"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, 2), "labels"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 10]}, 2), "0 and 9"),
        (pickle.dumps({b"data": np.zeros((1, 3000), np.uint8), b"labels": [1]}, 2), "3072"),
        (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [1]}, 2), "an array of b?'f8'"),
        (pickle.dumps({b"labels": [1]}, 2), "data"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, content: bytes, message: str) -> None:
    place = write(folder, contents())
    (place / "data_batch_2").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        sequential_cifar10()
    (place / "data_batch_2").unlink()
    with pytest.raises(ValueError, match=r"data_batch_2 can't be read"):
        sequential_cifar10()


# ---- the same images on another scale -----------------------------------------------------------


def test_pixels_lie_on_the_grid_of_256_levels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official(monkeypatch, write(folder, contents()))
    task, color = cifar_pixels(), sequential_cifar10()
    assert task.name == "cifar-pixels" and TASKS[task.name] is cifar_pixels
    assert task.fingerprint == {**color.fingerprint, "image": [3, 32, 32]}
    for split in task.splits:
        assert torch.equal(task.images(split), color.images(split))
        assert torch.equal(task.labels(split), color.labels(split))
    batch = next(task.batches("test", 20))
    level = (batch.inputs + 1) * 127.5
    assert torch.allclose(level, task.images("test").flatten(2).float(), atol=1e-4)


def test_image_of_the_long_range_arena_is_gray(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official(monkeypatch, write(folder, contents()))
    task, color = lra_image(), sequential_cifar10()
    assert task.name == "lra-image" and TASKS[task.name] is lra_image
    assert (task.channels, task.length) == (1, 1024)
    assert task.fingerprint == {**color.fingerprint, "image": [1, 32, 32]}
    for split in task.splits:
        assert torch.equal(task.labels(split), color.labels(split))
        for gray, image in zip(task.images(split), color.images(split), strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
            assert np.array_equal(gray[0].numpy(), np.asarray(pillow))
    batch = next(task.batches("test", 4))
    pixel = task.images("test")[2, 0, 1, 5].item()  # row 1, column 5
    assert batch.inputs.shape == (4, 1, 1024)
    assert batch.inputs[2, 0, 37].item() == pytest.approx((pixel - 122.6) / 61, abs=1e-6)


def test_a_blank_column_makes_33_pixels_a_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official(monkeypatch, write(folder, contents()))
    task, square = TASKS["scifar-33"](), sequential_cifar10()
    assert task.name == "scifar-33" and isinstance(task, ImageTask)
    assert (task.channels, task.length) == (3, 1056)
    assert task.fingerprint == {**square.fingerprint, "image": [3, 32, 33]}
    for split in task.splits:
        assert torch.equal(task.images(split), square.images(split))
        assert torch.equal(task.labels(split), square.labels(split))
    batch, narrow = (next(t.batches("test", 4)).inputs for t in (task, square))
    wide = F.pad(task.images("test")[:4], (0, 1)).flatten(2) / 255  # black
    mean, std = (torch.tensor(x).view(-1, 1) for x in (cifar.MEAN, cifar.STD))
    assert torch.allclose(batch, (wide - mean) / std, atol=1e-6)
    assert torch.equal(batch[..., 33 * 7 : 33 * 7 + 32], narrow[..., 32 * 7 : 32 * 8])
    assert sequential_cifar10(blank=3).name == "scifar-35"
    with pytest.raises(ValueError, match="blank must be at least 0, got -1"):
        sequential_cifar10(blank=-1)


@pytest.mark.parametrize(
    ("make", "channels"), [(cifar_pixels, 3), (lra_image, 1), (TASKS["scifar-33"], 3)]
)
def test_their_copies_and_stand_ins_are_marked_too(
    folder: Path, make: Any, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make()
    assert "Stand-in data" in capsys.readouterr().out
    assert task.name == "shapes" and task.fingerprint["stands_for"] == "CIFAR-10"
    assert task.fingerprint["mark"] == "drawn shapes, not CIFAR-10"
    width = task.length // 32
    assert width == (33 if make is TASKS["scifar-33"] else 32)
    assert task.fingerprint["image"] == [channels, 32, width] and task.channels == channels
    write(folder, contents())
    with pytest.warns(DataWarning, match="other bytes") as caught:
        task = make()
    assert len(caught) == 1
    assert task.fingerprint["official"] is False and "other bytes" in task.fingerprint["mark"]


# ---- doing without ------------------------------------------------------------------------------


def test_without_data_shapes_stand_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = sequential_cifar10()
    assert "Stand-in data: drawn shapes instead of CIFAR-10" in capsys.readouterr().out
    assert task.name == "shapes" and task.fingerprint["official"] is False
    assert task.fingerprint["mark"] == "drawn shapes, not CIFAR-10"
    assert task.fingerprint["stands_for"] == "CIFAR-10"
    assert (task.channels, task.length, len(task.classes)) == (3, 1024, 10)
    assert not folder.exists()


def test_the_build_of_the_book_neither_fetches_nor_asks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MRBOOK_STATIC", "1")
    monkeypatch.setattr(cifar, "download", pytest.fail)
    monkeypatch.setattr(builtins, "input", pytest.fail)
    assert (
        sequential_cifar10(download=True).name
        == sequential_cifar10(download="ask").name
        == "shapes"
    )
    assert capsys.readouterr().out.count("Stand-in") == 2


@pytest.mark.parametrize("answer", ["", "n", EOFError(), RuntimeError("no frontend")])
def test_a_download_that_is_not_wanted_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str | Exception
) -> None:
    def reply(prompt: str) -> str:
        assert "170 MB" in prompt
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(builtins, "input", reply)
    monkeypatch.setattr(cifar, "download", pytest.fail)
    assert sequential_cifar10(download="ask").name == "shapes"


def test_refuses_another_answer_to_download() -> None:
    with pytest.raises(ValueError, match="download must be True, False or"):
        sequential_cifar10(download="yes")  # type: ignore[arg-type]


def test_in_a_notebook_the_banner_is_a_box(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr("IPython.display.display", shown.append)
    sequential_cifar10()
    write(folder, contents())
    sequential_cifar10()  # and another copy's warning, which would spoil the page, is a box too
    assert [box.data.count("<div") for box in shown] == [1, 1]
    assert "Stand-in data" in shown[0].data and "other bytes" in shown[1].data
    assert capsys.readouterr() == ("", "")


# ---- the network --------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """Return an archive of the standard layout."""
    write(tmp_path / "packed", contents())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "packed" / "cifar-10-batches-py", "cifar-10-batches-py")
    return buffer.getvalue()


@pytest.fixture
def server(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Serve /good, /wrong, /cut and /slow; yield the address and the list of requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path not in {"/good", "/wrong", "/cut", "/slow"}:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive)))
            self.end_headers()
            body = archive[::-1] if self.path == "/wrong" else archive
            half = len(body) // 2
            self.wfile.write(body[:half])
            if self.path == "/cut":
                return
            if self.path == "/slow":
                self.wfile.flush()
                time.sleep(0.2)
            self.wfile.write(body[half:])

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cifar, "ARCHIVE_MD5", hashlib.md5(archive).hexdigest())
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_fetches_from_the_first_source_that_gives_it_whole(
    folder: Path,
    server: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, asked = server
    sources = [f"{address}/{path}" for path in ["missing", "wrong", "cut", "good", "good"]]
    monkeypatch.setattr(cifar, "SOURCES", sources)
    with pytest.warns(DataWarning):
        task = sequential_cifar10(download=True)
    assert asked == ["/missing", "/wrong", "/cut", "/good"]
    assert task.size("train") == 90
    assert "100%" in capsys.readouterr().err  # the progress bar
    assert os.listdir(folder) == ["cifar-10-batches-py"]
    with pytest.warns(DataWarning):
        sequential_cifar10(download=True)
    assert len(asked) == 4


def test_says_what_was_wrong_with_each_source(
    folder: Path,
    server: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, _ = server
    monkeypatch.setattr(cifar, "SOURCES", [f"{address}/missing", f"{address}/wrong"])
    with pytest.raises(OSError, match=r"404.*other bytes than expected"):
        download_cifar10()
    assert sequential_cifar10(download=True).name == "shapes"
    out = capsys.readouterr().out
    assert "Stand-in" in out and "404" in out
    assert os.listdir(folder) == []


def test_a_crawling_source_is_the_last_resort(
    folder: Path, server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = server
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    monkeypatch.setattr(cache, "CHUNK", 1 << 14)
    monkeypatch.setattr(cifar, "SOURCES", [f"{address}/slow", f"{address}/missing"])
    monkeypatch.setattr(cache, "SPEED", 10**9)
    assert download_cifar10() == folder / "cifar-10-batches-py"
    assert asked == ["/slow", "/missing", "/slow"]


def test_the_answer_yes_fetches(
    folder: Path, server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "SOURCES", [f"{server[0]}/good"])
    monkeypatch.setattr(builtins, "input", lambda prompt: "y")
    with pytest.warns(DataWarning):
        assert sequential_cifar10(download="ask").name == "scifar"


def test_the_command_fetches_what_is_not_there(
    folder: Path,
    server: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, asked = server
    monkeypatch.setattr(cifar, "SOURCES", [f"{address}/good"])
    for _ in range(2):
        assert main(["data"]) == 0
        assert capsys.readouterr().out == f"CIFAR-10 is in {folder / 'cifar-10-batches-py'}\n"
    assert asked == ["/good"]
    assert main(["data", "--folder", str(folder / "other")]) == 0
    assert (folder / "other" / "cifar-10-batches-py" / "test_batch").is_file()
    monkeypatch.setattr(cifar, "SOURCES", [f"{address}/missing"])
    assert main(["data", "--folder", str(folder / "third")]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert (
        err.startswith("mrbook data: cifar-10-python.tar.gz can't be downloaded") and "404" in err
    )


def test_sources_are_secure_and_more_than_one() -> None:
    assert len(set(cifar.SOURCES)) >= 3
    assert all(url.startswith("https://") and cifar.ARCHIVE in url for url in cifar.SOURCES)
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in cifar.SOURCES


def tar_with(path: Path, files: dict[str, bytes], links: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path


def test_unpacking_writes_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    files = {f"cifar-10-batches-py/{name}": b"content" for name in cifar.FILES}
    evil = {"../evil": b"x", str(tmp_path / "absolute"): b"x", "cifar-10-batches-py/../../e": b"x"}
    cifar.unpack(tar_with(tmp_path / "a.tar.gz", files | evil, {"link": "/etc"}), root)
    assert sorted(os.listdir(tmp_path)) == ["a.tar.gz", "root"]
    assert os.listdir(root) == ["cifar-10-batches-py"]
    assert sorted(os.listdir(root / "cifar-10-batches-py")) == sorted(cifar.FILES)


def test_unpacking_is_all_or_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    files = {f"cifar-10-batches-py/{name}": b"content" for name in cifar.FILES}
    del files["cifar-10-batches-py/test_batch"]
    with pytest.raises(ValueError, match=r"a\.tar\.gz has no cifar-10-batches-py/test_batch"):
        cifar.unpack(tar_with(tmp_path / "a.tar.gz", files, {}), root)
    link = {"cifar-10-batches-py/test_batch": "/etc/hostname"}
    with pytest.raises(ValueError, match=r"test_batch in b\.tar\.gz is not a plain file"):
        cifar.unpack(tar_with(tmp_path / "b.tar.gz", files, link), root)
    assert os.listdir(root) == []


# ---- the offer in a live notebook ---------------------------------------------------------------


class Notebook:
    """A kernel, and what its cells print, show and ask."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel()

    def run(self, code: str, answer: str | None = None) -> tuple[str, list[str]]:
        """Run a cell; without an answer there is nobody to ask. Return the text, and questions."""
        texts, questions = [], []

        def show(message: dict[str, Any]) -> None:
            content = message["content"]
            data = content.get("data", {})
            texts.append(content.get("text", "") + data.get("text/html", "") + str(list(data)))
            texts.append(data.get("text/plain", ""))

        def ask(message: dict[str, Any]) -> None:
            questions.append(message["content"]["prompt"])
            self.client.input(answer)

        reply = self.client.execute_interactive(
            code,
            allow_stdin=answer is not None,
            stdin_hook=ask,
            output_hook=show,
            timeout=60,
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "\n".join(texts), questions

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def test_a_notebook_offers_the_download_and_never_waits_for_nobody(
    folder: Path, server: tuple[str, list[str]]
) -> None:
    notebook = Notebook()
    ask = "print(cifar.sequential_cifar10(download='ask').name)"
    try:
        notebook.run(
            "from mrbook.tasks import cifar\n"
            f"cifar.SOURCES, cifar.ARCHIVE_MD5 = ['{server[0]}/good'], '{cifar.ARCHIVE_MD5}'"
        )
        # A tool runs the notebook: there is nobody to ask.
        text, questions = notebook.run(ask)
        assert "shapes\n" in text and "Stand-in data" in text and questions == []
        # A reader who answers no, and one who answers yes.
        text, questions = notebook.run(ask, "n")
        assert "shapes\n" in text and len(questions) == 1 and "170 MB" in questions[0]
        assert server[1] == []
        text, questions = notebook.run(ask, "y")
        assert "scifar\n" in text and "Stand-in" not in text and len(questions) == 1
        assert "application/vnd.jupyter.widget-view+json" in text  # the progress bar
        assert "cifar-10-python.tar.gz from 127.0.0.1" in text
        # Now that it is there nobody is asked.
        text, questions = notebook.run(ask, "n")
        assert "scifar\n" in text and questions == []
        assert server[1] == ["/good"]
    finally:
        notebook.close()
