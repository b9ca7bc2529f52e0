"""The tasks by name, and the page that lists them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import ROOT

from mrbook.tasks import SPLITS, TASKS


def test_the_page_lists_the_tasks() -> None:
    page = (ROOT / "book" / "api" / "tasks.md").read_text()
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == list(TASKS)


@pytest.mark.parametrize(
    ("name", "options"),
    [("shapes", {}), ("plain-shapes", {}), ("listops", {}), ("paths", {"dashes": 6})],
)
def test_a_task_has_the_name_that_makes_it(name: str, options: dict[str, Any]) -> None:
    task = TASKS[name](train=12, valid=3, test=2, **options)
    assert task.name == name
    assert [task.size(split) for split in SPLITS] == [12, 3, 2]
    assert {"data", "official", "mark", "sizes"} <= task.fingerprint.keys()
    assert task.pair is False
