"""Chapters state no result that somebody typed.

The rule: in a chapter's text a percentage, a time, a speed, "so many times faster" or bits per
dimension stands only in a paragraph with a citation. What is measured here comes out of a cell. The
few numbers of that form that are no results are listed below, each with what it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))

NUMBER = r"\d[\d.,]*(?:\s*(?:million|billion|[kKMG](?=\s?B)))?"
WORDS = "two three four five six seven eight nine ten twenty fifty a_hundred a_thousand".split()
COUNT = rf"(?:{NUMBER}|{'|'.join(word.replace('_', ' ') for word in WORDS)})"
GAP = r"(?:\s|\\[,;]|~|-|\$)*"
TIME = "ns|µs|us|ms|s|min|(?:(?:nano|micro|milli)?second|minute|hour|day)s?"
#: What a result looks like.
RESULT = re.compile(
    rf"{NUMBER}{GAP}(?:\\?%|percent|percentage points?|pp\b)"
    rf"|{NUMBER}\$?(?:\s|\\,|~)+(?:{TIME})(?![-\w'’])"
    rf"|{NUMBER}{GAP}bits?{GAP}(?:/|per){GAP}(?:dim|pixel|value|channel)\w*"
    rf"|{NUMBER}{GAP}[\w ]{{0,24}}?(?:/{GAP}s\b|\bper second|\ba second)"
    rf"|{COUNT}{GAP}(?:times|x\b|×|\\times){GAP}(?:as fast|as slow|faster|slower|quicker)",
    re.IGNORECASE,
)

#: (chapter, number): what it is, since it is no result.
DEFINITIONS = {
    ("01-haar", "99 %"): "the share of energy that the reader is asked to reach",
    ("02-daubechies", "99 %"): "the same share",
    ("04-memory", "0 %"): "an end of the scale that errors are shown on",
    ("04-memory", "100 %"): "the other end",
    ("07-fast", "100 billion operations per second"): "the made-up computer of the model",
    ("07-fast", "20 GB per second"): "its memory",
}


def typed_results(text: str) -> list[str]:
    """Return what looks like a result, in paragraphs that cite nobody."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        if "{cite" not in paragraph:
            found += [match[0] for match in RESULT.finditer(paragraph)]
    return [" ".join(x.replace("$", "").split()) for x in found]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_no_result_is_typed(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    found = {x for c in cells if c.cell_type == "markdown" for x in typed_results(c.source)}
    allowed = {number for chapter, number in DEFINITIONS if chapter == path.stem}
    assert not found - allowed, "let a cell print it, or cite where it comes from"
    assert not allowed - found, "no longer in the chapter: strike it from the list"


@pytest.mark.parametrize(
    "text",
    [
        "It reaches 43.2 % after an epoch.",
        "It reaches 43\\% of them.",
        "The error falls by 3 percentage points.",
        "It ends at 2.84 bits/dim.",
        "It ends at 3 bits per dimension.",
        "It draws 120 images/s.",
        "It reads 1,200 tokens per second.",
        "The fused form is 7.5 times faster.",
        "The fused form is ten times as fast.",
        "It is $12\\times$ slower: $12\\times$ faster was hoped for, 3x faster came.",
        "An epoch takes 45 s.",
        "An epoch takes\n3 minutes.",
        "A step takes 12 µs.",
        "It is cited {cite}`haar1910theorie`.\n\nIt reaches 43.2 %.",
    ],
)
def test_a_typed_result_is_found(text: str) -> None:
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    [
        "The published network reaches 93.15 % {cite}`shi2023multires`.",
        "A level has 10 times fewer coefficients.",
        "Filter 2's taps are the 4 s-shaped ones.",
        "It costs $4 K L$ operations, 100 for each sample.",
        "Take $s = 3$ and 5 samples.",
    ],
)
def test_what_is_no_result_is_left_alone(text: str) -> None:
    assert not typed_results(text)
