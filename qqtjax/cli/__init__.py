"""The command line: `qqt plan`, `qqt fit`, `qqt predict`."""

from qqtjax.cli.main import main as main
