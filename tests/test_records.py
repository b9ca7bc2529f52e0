"""Records: written whole or not at all, read only if they are records."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mrbook
from mrbook import records
from mrbook.records import (
    DirtyTreeError,
    check_place,
    environment,
    load_records,
    write_record,
)

ROOT = Path(mrbook.__file__).parents[1]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    payload = {"median": 0.1 + 0.2, "curve": [1, 2.5], "note": "größer", "cases": {"a": None}}
    path = write_record("bench", "dwt-cpu", payload, tmp_path)
    assert path == tmp_path / "bench" / "dwt-cpu.json"
    write_record("bench", "another", {}, tmp_path)
    loaded = load_records("bench", tmp_path)
    assert list(loaded) == ["another", "dwt-cpu"]
    record = loaded["dwt-cpu"]
    assert record["payload"] == payload
    assert (record["kind"], record["name"]) == ("bench", "dwt-cpu")
    assert record["environment"] == environment()
    assert record["created"].endswith("+00:00")
    assert load_records("train", tmp_path) == {}


def test_a_record_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = write_record("bench", "dwt", {"a": 1}, tmp_path)
    with pytest.raises(FileExistsError, match=r"dwt\.json exists"):
        write_record("bench", "dwt", {"a": 2}, tmp_path)
    assert load_records("bench", tmp_path)["dwt"]["payload"] == {"a": 1}
    assert write_record("bench", "dwt", {"a": 2}, tmp_path, overwrite=True) == path
    assert load_records("bench", tmp_path)["dwt"]["payload"] == {"a": 2}


def test_a_failed_write_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record("bench", "dwt", {"a": 1}, tmp_path)

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_record("bench", "dwt", {"a": 2}, tmp_path, overwrite=True)
    assert [path.name for path in (tmp_path / "bench").iterdir()] == ["dwt.json"]
    assert load_records("bench", tmp_path)["dwt"]["payload"] == {"a": 1}


@pytest.mark.parametrize(
    ("payload", "error"),
    [({"x": float("nan")}, ValueError), ({"x": torch.ones(2)}, TypeError)],
)
def test_payload_must_be_finite_json(
    payload: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error, match="payload must be plain, finite JSON"):
        write_record("bench", "dwt", payload, tmp_path)
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Upper", ".hidden", "with space"])
def test_names_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name must be lower-case letters"):
        write_record("bench", name, {}, tmp_path)
    with pytest.raises(ValueError, match="kind must be lower-case letters"):
        write_record(name, "dwt", {}, tmp_path)
    with pytest.raises(ValueError, match="kind must be lower-case letters"):
        load_records(name, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("payload"), "must have 'payload' of type dict, got None"),
        (lambda record: record.update(environment=[]), "must have 'environment' of type dict"),
        (lambda record: record.update(name="other"), "calls itself bench/other"),
    ],
)
def test_what_is_no_record(change: object, message: str, tmp_path: Path) -> None:
    path = write_record("bench", "dwt", {}, tmp_path)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        load_records("bench", tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "got list")])
def test_a_broken_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=rf"broken\.json.* {message}"):
        load_records("bench", tmp_path)


def test_environment_is_that_of_this_process() -> None:
    here = environment()
    assert here["packages"]["torch"] == torch.__version__
    assert here["threads"] == torch.get_num_threads()
    assert here["mrbook"] == mrbook.__version__
    assert here["python"] == ".".join(map(str, sys.version_info[:3]))
    assert str(ROOT) not in json.dumps(here), "no paths of this machine"
    if (ROOT / ".git").exists():
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert here["commit"] == head.stdout.strip()
        assert isinstance(here["dirty"], bool)


def test_commit_and_dirt_are_those_of_the_checkout_alone(tmp_path: Path) -> None:
    """In its own checkout a copy knows commit and changes; inside another project it does not."""
    checkout = tmp_path / "project"
    shutil.copytree(ROOT / "mrbook", checkout / "mrbook")
    code = "from mrbook.records import environment as e; print(e()['commit'], e()['dirty'])"

    def git(*arguments: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *author, *arguments]
        result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    def says(folder: Path) -> str:
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    assert says(checkout) == "None None"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    head = git("rev-parse", "HEAD")
    assert says(checkout) == f"{head} False"
    (checkout / "mrbook" / "__init__.py").write_text('__version__ = "2"\n')
    assert says(checkout) == f"{head} True"
    shutil.move(checkout / "mrbook", checkout / "inner" / "mrbook")
    assert says(checkout / "inner") == "None None"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small checkout with one commit, which the package believes to run from."""
    root = tmp_path.resolve() / "project"
    for name in ("mrbook/code.py", "book/intro.md", "book/results.md", "book/records/bench/a.json"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old\n")
    (root / ".gitignore").write_text("*.pyc\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *author, *arguments], cwd=root, check=True)
    monkeypatch.setattr(records, "_ROOT", root)
    monkeypatch.setattr(records, "_FOLDER", root / "book" / "records")
    return root


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("mrbook/code.py", True),
        ("mrbook/deep/new.py", True),
        ("book/intro.md", True),
        (".gitignore", True),
        ("mrbook/code.pyc", False),
        ("notes.txt", False),
        ("book/results.md", False),
        ("book/records/bench/a.json", False),
        ("book/records/train/new.json", False),
        ("mrbook/weights/new.pt", False),
    ],
)
def test_a_dirty_tree_gets_no_record(checkout: Path, name: str, dirty: bool) -> None:
    path = checkout / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("new\n")
    assert environment()["dirty"] is dirty
    if not dirty:
        check_place()
        assert write_record("bench", "b", {}) == checkout / "book" / "records" / "bench" / "b.json"
        return
    for folder in (
        None,
        checkout / "book" / "records",
        checkout / "mrbook" / ".." / "book/records",
    ):
        with pytest.raises(DirtyTreeError, match=f"must name the commit .*{re.escape(name)}"):
            check_place(folder)
        with pytest.raises(DirtyTreeError, match="must name the commit"):
            write_record("bench", "b", {}, folder)
    assert not (checkout / "book" / "records" / "bench" / "b.json").exists()
    written = write_record("bench", "b", {}, checkout / "elsewhere")
    assert json.loads(written.read_text())["environment"]["dirty"] is True


def test_what_counts_is_the_tree_that_a_run_began_with(checkout: Path) -> None:
    clean = environment()
    (checkout / "mrbook" / "code.py").write_text("new\n")
    path = write_record("bench", "b", {}, here=clean)
    assert json.loads(path.read_text())["environment"] == clean
    dirty = environment()
    (checkout / "mrbook" / "code.py").write_text("old\n")
    with pytest.raises(DirtyTreeError, match="files that have been put back since"):
        write_record("bench", "c", {}, here=dirty)


def test_outside_of_a_checkout_a_record_names_no_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout / ".git")
    path = write_record("bench", "b", {})
    here = json.loads(path.read_text())["environment"]
    assert here["commit"] is None and here["dirty"] is None
    monkeypatch.setattr(records, "_FOLDER", checkout / "no" / "records")
    with pytest.raises(FileNotFoundError, match="folder must be given"):
        check_place()
    with pytest.raises(FileNotFoundError, match="folder must be given"):
        write_record("bench", "b", {})


def test_the_records_of_the_book_are_records() -> None:
    folder = ROOT / "book" / "records"
    for kind in (path.name for path in folder.iterdir() if path.is_dir()):
        for record in load_records(kind).values():
            assert record["environment"]["commit"] and record["payload"]
            assert record["environment"]["dirty"] is False
