"""The `qqt` program: its commands, and what happens when something is wrong."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from qqtjax.cli import fit_command, plan_command, predict_command
from qqtjax.errors import QQTError

app = typer.Typer(
    name="qqt",
    help="Which data should I train on for my compute budget, and how sure am I?",
    epilog="Start with: qqt plan        (the runs that come with qqtjax; nothing to prepare)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("plan", epilog=plan_command.EXAMPLES)(plan_command.plan)
app.command("fit", epilog=fit_command.EXAMPLES)(fit_command.fit)
app.command("predict", epilog=predict_command.EXAMPLES)(predict_command.predict)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    import jax

    devices = ", ".join(str(device) for device in jax.devices())
    typer.echo(
        f"qqtjax {version('qqtjax')}, jax {jax.__version__}, numpy {version('numpy')}; devices: {devices}"
    )
    raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print versions and devices."
    ),
) -> None:
    """Which data should I train on for my compute budget, and how sure am I?"""


def main(arguments: list[str] | None = None) -> None:
    """Run the program; a user's mistake ends with status 2 and one line on standard error."""
    from qqtjax.cache import enable_compile_cache

    shown: set[str] = set()

    def one_line(message: Warning | str, *_: object, **__: object) -> None:
        text = str(message)
        if text not in shown:
            shown.add(text)
            print(f"qqt: warning: {text}", file=sys.stderr)

    warnings.showwarning = one_line
    try:
        enable_compile_cache()
        app(args=arguments, standalone_mode=True)
    except QQTError as problem:
        print(f"qqt: error: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("qqt: interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except MemoryError:
        print("qqt: error: out of memory; try fewer budgets, starts or rows", file=sys.stderr)
        sys.exit(1)
    except (
        Exception
    ) as problem:  # the last line of defence: a person gets a sentence, a developer the traceback
        if os.environ.get("QQTJAX_TRACEBACK"):
            raise
        kind = type(problem).__name__
        first = (str(problem).splitlines() or [""])[0]
        print(
            f"qqt: internal error ({kind}: {first}); this is a bug of qqtjax: set QQTJAX_TRACEBACK=1 to see where",
            file=sys.stderr,
        )
        sys.exit(1)
