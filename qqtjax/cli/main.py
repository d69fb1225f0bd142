"""The `qqt` program: its commands, and what happens when something is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

import typer
from typer.main import get_command

from qqtjax.cli import (
    bakeoff_command,
    design_command,
    fit_command,
    interrupt,
    mix_command,
    next_command,
    plan_command,
    predict_command,
    profile_command,
    report_command,
    sweep_command,
)
from qqtjax.cli.helping import Command, Group
from qqtjax.cli.output import Answer
from qqtjax.cli.plot_command import NEXT as PLOT_NEXT
from qqtjax.cli.plot_command import plot
from qqtjax.cli.pools_command import NEXT as POOLS_NEXT
from qqtjax.cli.pools_command import pools
from qqtjax.cli.words import as_options
from qqtjax.errors import QQTError, QQTWarning

ABOUT = "Which data should I train on for my compute budget, and how sure am I?"
NEXT = """What to do next:
  qqt plan                              the runs that come with qqtjax
  qqt plan runs.csv --budgets 32M,128M  yours: a row a checkpoint, with columns
                                        pool,pool_size,samples_seen,error
  qqt report runs.csv                   the same as a page to look at or send
  qqt plan --help                       all options, with examples"""
# Typer takes click's exceptions from click or, later, from a copy of its own; both have this one's base.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="qqt",
    cls=Group,
    help=ABOUT,
    epilog=NEXT,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("plan", cls=Command, short_help="Which data to train on at each budget.", epilog=plan_command.EXAMPLES)(
    plan_command.plan
)
app.command("fit", cls=Command, short_help="Fit a law to measured runs.", epilog=fit_command.EXAMPLES)(fit_command.fit)
app.command("profile", cls=Command, short_help="The interval of one parameter.", epilog=profile_command.EXAMPLES)(
    profile_command.profile
)
app.command("predict", cls=Command, short_help="Predict the error of a mix of pools.", epilog=predict_command.EXAMPLES)(
    predict_command.predict
)
app.command("mix", cls=Command, short_help="The best weights over pools at a budget.", epilog=mix_command.EXAMPLES)(
    mix_command.mix
)
app.command("sweep", cls=Command, short_help="Errors or best mixes at many points.", epilog=sweep_command.EXAMPLES)(
    sweep_command.sweep
)
app.command(
    "bakeoff", cls=Command, short_help="Laws against each other on held-out runs.", epilog=bakeoff_command.EXAMPLES
)(bakeoff_command.bakeoff)
app.command("design", cls=Command, short_help="What to run first, and what it tells.", epilog=design_command.EXAMPLES)(
    design_command.design
)
app.command("next", cls=Command, short_help="Which training run to make next.", epilog=next_command.EXAMPLES)(
    next_command.next_run
)
app.command("report", cls=Command, short_help="A page for the browser.", epilog=report_command.EXAMPLES)(
    report_command.report
)
app.add_typer(plot, name="plot", short_help="Figures: PNG, PDF or SVG.", epilog=PLOT_NEXT)
app.add_typer(pools, name="pools", short_help="Make pools; choose the samples to keep.", epilog=POOLS_NEXT)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    import jax

    devices = ", ".join(str(device) for device in jax.devices())
    typer.echo(f"qqtjax {version('qqtjax')}, jax {jax.__version__}, numpy {version('numpy')}; devices: {devices}")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print versions and devices."
    ),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; a user's mistake ends with status 2 and one line on standard error.

    Args:
        arguments: words after `qqt`; by default those of this process, which then also answers to Ctrl-C.
    """
    if arguments is None:
        with interrupt.ends_the_process():
            _main(sys.argv[1:])
    else:
        _main(list(arguments))


def _main(arguments: list[str]) -> None:
    from qqtjax.cache import enable_compile_cache

    try:
        with _held_warnings() as held:
            enable_compile_cache()
            answer = _invoke(arguments)
        for line in _news(held, "" if answer.is_document else answer.text):
            _tell(f"warning: {line}")
        _print(answer.text)
    except QQTError as problem:
        _stop(2, f"error: {as_options(str(problem))}")
    except UsageError as problem:
        _stop(2, f"error: {_usage(problem)}")
    except typer.Exit as ended:
        _print("")
        if ended.exit_code:
            sys.exit(ended.exit_code)
    except KeyboardInterrupt:
        _stop(interrupt.STATUS, "interrupted")
    except BrokenPipeError:  # whoever reads has enough, as in `qqt plan | head`
        _close_output()
        sys.exit(141)
    except MemoryError:
        _stop(1, "error: out of memory; try fewer budgets, starts or rows")
    except Exception as problem:  # the last line of defence: a person gets a sentence, a developer the traceback
        if os.environ.get("QQTJAX_TRACEBACK"):
            raise
        if "RESOURCE_EXHAUSTED" in str(problem):
            _stop(1, "error: the device is out of memory; try fewer budgets, starts or rows")
        first = (str(problem).splitlines() or [""])[0]
        _stop(
            1,
            f"internal error ({type(problem).__name__}: {first}); this is a bug of qqtjax: set "
            "QQTJAX_TRACEBACK=1 to see where",
        )


def _invoke(arguments: list[str]) -> Answer:
    """What a command wants on standard output."""
    command = get_command(app)
    with command.make_context("qqt", arguments) as context:
        return command.invoke(context) or Answer("", False)


@contextlib.contextmanager
def _held_warnings() -> Iterator[list[str]]:
    """Collect warnings; those of the library are never filtered away."""
    held: list[str] = []

    def hold(message: Warning | str, *_: object, **__: object) -> None:
        held.append(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("always", QQTWarning)
        warnings.showwarning = hold
        yield held


def _news(held: Sequence[str], text: str) -> list[str]:
    """Each warning once, without those that the printed text holds; one may be another with its file in front."""
    printed = " ".join(text.split())
    found: list[str] = []
    for line in held:
        same = any(f": {one}".endswith(f": {two}") for other in found for one, two in ((line, other), (other, line)))
        if not same and line not in printed:
            found.append(line)
    return found


def _print(text: str) -> None:
    """Write to standard output and find out here, not at the end of the process, if nobody reads it.

    Raises:
        BrokenPipeError: nobody reads it.
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        _close_output()
        _stop(1, f"error: standard output: cannot be written ({problem.strerror})")


def _close_output() -> None:
    """Nothing that is left in the buffer may be written, or complained of, later."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(problem: Exception) -> str:
    """What is wrong with the words on the command line, and where to look."""
    text = " ".join(getattr(problem, "format_message", problem.__str__)().split()).rstrip(".")
    context = getattr(problem, "ctx", None)
    where = context.command_path if context is not None else "qqt"
    return f"{text[:1].lower()}{text[1:]}; see {where} --help"


def _tell(text: str) -> None:
    """One line on standard error, whatever the text holds."""
    print("qqt: " + " ".join(text.splitlines()), file=sys.stderr)


def _stop(status: int, text: str) -> None:
    _tell(text)
    if interrupt.among_others():  # leaving them in good order would wait for them
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
