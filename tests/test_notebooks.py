"""The notebooks run, and what stands in them is what they print today."""

import os
import re

import numpy as np
import pytest

from benchmarks.notebooks import FOLDER, NAMES, executed

nbformat = pytest.importorskip("nbformat")
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)(?:e[-+]?\d+)?")
LARGEST = 400_000


def stored(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook):
    """What each cell printed, and how many figures it drew."""
    found = []
    for cell in notebook.cells:
        parts = cell.get("outputs", ())
        text = "".join(each.get("text", "") or each.get("data", {}).get("text/plain", "") for each in parts)
        found.append((text, sum("image/png" in each.get("data", {}) for each in parts)))
    return found


def values(text):
    """The numbers in a text, and what one step of the last printed digit of each is worth."""
    numbers = [each.replace(",", "") for each in NUMBER.findall(text)]
    steps = []
    for each in numbers:
        mantissa, _, exponent = each.partition("e")
        steps.append(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
    return np.array(numbers, float), np.array(steps)


def assert_same(text, known):
    """The same words, and numbers within a thousandth or two steps of the last digit; below 1e-6 all is rounding."""
    assert NUMBER.sub("#", text) == NUMBER.sub("#", known)
    (now, _), (before, step) = values(text), values(known)
    allowed = np.maximum(np.maximum(1e-3 * np.abs(before), 2.001 * step), 1e-6)
    far = np.abs(now - before) > allowed
    assert not far.any(), [*zip(now[far], before[far], strict=True)]


def test_every_kind_of_notebook_is_there():
    assert set(NAMES) == {"mixes_and_how_sure", "paper", "pools", "quickstart"}


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ("top10 345,788,290 (27.01)", True),
        ("top10 346,788,237 (27.01)", False),
        ("top10 345,788,237 (27.06)", False),
        ("top20 345,788,237 (27.01)", False),
        ("top10 345,788,237 (27.01), 1", False),
    ],
)
def test_what_counts_as_the_same_print(now, same):
    try:
        assert_same(now, "top10 345,788,237 (27.01)")
    except AssertionError:
        assert not same
    else:
        assert same


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_script_with_outputs(name):
    jupytext = pytest.importorskip("jupytext")
    script, notebook = jupytext.read(FOLDER / f"{name}.py"), stored(name)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]
    assert sum(figures for _, figures in outputs(notebook)) >= 1
    whole = (FOLDER / f"{name}.ipynb").read_text()
    assert len(whole) < LARGEST
    assert not re.search(r"/tmp/|/root/|/home/|Traceback", whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_still_prints_what_it_printed(name, monkeypatch):
    # Programs that several notebooks need are compiled once.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.environ["QQTJAX_CACHE"])
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    for (text, figures), (known, known_figures) in zip(outputs(executed(name)), outputs(stored(name)), strict=True):
        assert_same(text, known)
        assert figures == known_figures
