"""How help looks: options in groups, examples as they are typed, plain text that fits 80 columns."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


def write_examples(command: Any, formatter: Any) -> None:
    """The epilog of a command line by line, never wrapped: examples are there to be copied."""
    if command.epilog:
        formatter.write("\n" + "\n".join(line.rstrip() for line in command.epilog.splitlines()) + "\n")


class Command(TyperCommand):
    """A command whose options are shown by their `rich_help_panel`, in order of first appearance."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Output"
                if parameter.param_type_name == "argument":
                    record, default = (str(getattr(parameter, "metavar", None) or record[0]), record[1]), "Arguments"
                group = getattr(parameter, "rich_help_panel", None) or default
                sections.setdefault(group, []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        write_examples(self, formatter)


class Group(TyperGroup):
    """The program itself, with what to do next at the end of its help."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write what to do next."""
        write_examples(self, formatter)
