"""`python -m qqtjax.cli`: the same as `qqt`."""

from qqtjax.cli.main import main

main()
