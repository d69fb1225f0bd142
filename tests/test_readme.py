"""The README names the whole public interface, and its commands parse."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import qqtjax
from qqtjax.cli.main import app

README = (Path(__file__).parents[1] / "README.md").read_text()
PUBLIC = qqtjax.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_readme(name):
    assert f"`{name}`" in README


def test_no_placeholder_is_left():
    assert "@@" not in README


BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.S | re.M)


def commands():
    for _, block in BLOCKS:
        for line in block.splitlines():
            for command in re.split(r"&&|;|\|", line.split("  #")[0]):
                if command.strip().startswith("qqt "):
                    yield command.strip()


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_commands_of_the_readme_parse(command):
    """Every option exists: the command line is taken apart as it would be, and not run."""
    name, *arguments = shlex.split(command)
    found, context = typer.main.get_command(app), None
    while (inside := getattr(found, "get_command", None)) is not None:
        context = found.make_context(name, arguments[:1], parent=context, resilient_parsing=True)
        name, *arguments = arguments
        found = inside(context, name)
        assert found is not None, name
    found.make_context(name, arguments, parent=context)


@pytest.mark.slow
def test_a_strangers_path(tmp_path):
    """Every command and every line of Python, pasted as it stands, from the top; what it quotes is what is printed."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    place = {"cwd": tmp_path, "env": os.environ | {"PATH": paths}}
    printed = ""
    for kind, block in BLOCKS:
        if kind == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, **place)
            assert done.returncode == 0, done.stderr
            printed += done.stdout
    python = "\n".join(block for kind, block in BLOCKS if kind == "python")
    done = subprocess.run([sys.executable, "-"], input=python, capture_output=True, text=True, **place)
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "curves.png", "fit.json", "mix.json"):
        assert (tmp_path / name).stat().st_size > 100
    lines = {" ".join(line.split()) for line in printed.splitlines()}
    quoted = [
        line for kind, block in BLOCKS if kind == "" and "pip install" not in block for line in block.splitlines()
    ]
    missing = [line for line in quoted if " ".join(line.split()) not in lines | {""}]
    assert missing == []


RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def section(name):
    return README.split(f"\n## {name}\n")[1].split("\n## ")[0]


def short(values):
    """The mean as the README writes it: .0119."""
    return f"{sum(values) / len(values):.4f}".lstrip("0")


def test_the_first_screen_quotes_the_evidence():
    figures = json.loads((RESULTS / "evidence.json").read_text())["figures"]["per_redraw"]
    trust = section("How far to trust it")
    headline = figures["V | 0.25 to 20"]
    for metric, names in {
        "mixture error": ("utility, dilution 1", "utility, dilution 0", "blind", "interpolation", "effective samples"),
        "regret": ("utility, dilution 1", "always the best pool", "at most 4 epochs"),
        "regret of filters": ("utility, dilution 1", "at most 4 epochs"),
    }.items():
        for name in names:
            assert short([*headline[metric][name].values()]) in trust, (metric, name)
    for family in "VCR":
        assert short([*figures[f"{family} | pilot"]["regret"]["utility, dilution 1"].values()]) in trust


def test_the_first_screen_quotes_the_theorem():
    figures = json.loads((RESULTS / "theorem.json").read_text())["figures"]["scaled"]
    trust = section("How far to trust it")
    for found in figures.values():
        gammas = [each["shape 1"]["gamma"] for each in found["profile"]]
        assert f"{sum(gammas) / len(gammas):.2f}".lstrip("0") in trust


def test_the_first_screen_and_the_table_quote_the_circle():
    figures = json.loads((RESULTS / "circle.json").read_text())["figures"]
    using = (Path(__file__).parents[1] / "notebooks" / "using.md").read_text()
    for label, found in figures["errors"].items():
        name = label.rsplit(" at ", 1)[0]
        row = next(line for line in using.splitlines() if line.startswith(f"| {name} |"))
        assert f"{found['mean']:.4f} ± {found['half']:.4f}".replace("0.", ".") in row, label
    trust = section("How far to trust it")
    for budget in (8, 16, 32):
        runs = figures["cost"][f"plan for {budget} at {budget}"]
        assert f"{sum(runs) / len(runs):.2f}".lstrip("0") in trust
