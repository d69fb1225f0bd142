"""The README names the whole public interface, and its commands parse."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import qqtjax
from qqtjax.cli.main import app

README = (Path(__file__).parents[1] / "README.md").read_text()
PUBLIC = re.findall(r"^from .* import \w+ as (\w+)", Path(qqtjax.__file__).read_text(), flags=re.M)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_readme(name):
    assert f"`{name}`" in README


def test_no_placeholder_is_left():
    assert "@@" not in README


def commands():
    for block in re.findall(r"```\n(.*?)```", README, flags=re.S):
        for line in block.splitlines():
            for command in re.split(r"&&|;|\|", line.split("  #")[0]):
                if command.strip().startswith("qqt "):
                    yield command.strip()


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_commands_of_the_readme_parse(command):
    """Every option exists: the command line is taken apart as it would be, and not run."""
    name, *arguments = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    context = group.make_context("qqt", [name], resilient_parsing=True)
    found = group.get_command(context, name)
    assert found is not None
    found.make_context(name, arguments, parent=context)
