"""Help in groups, each argument under the one name that it has: Typer does so only with Rich, which is slow to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

_REQUIRED = "[required]"


class Grouped(TyperCommand):
    """A verb: options stand under their ``rich_help_panel``, and arguments have one name in usage and help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_named(parameter) for parameter in self.get_params(ctx) if _positional(parameter))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            usual = "Options"
            if _positional(parameter):  # the usage line tells whether one may be left out
                usual, record = "Arguments", (str(parameter.metavar), record[1].removesuffix(_REQUIRED).rstrip())
            rows = groups.setdefault(getattr(parameter, "rich_help_panel", None) or usual, [])
            if record not in rows:  # two arguments of one kind
                rows.append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Verbs(TyperGroup):
    """The command, whose verbs stand under what they are for."""

    panels: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Headings and the verbs under them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for names in self.panels.values() for name in names)
        for title, names in self.panels.items():
            verbs = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), verb.get_short_help_str(formatter.width)) for name, verb in verbs if verb]
                )


def _positional(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _named(argument: Any) -> str:
    return str(argument.metavar) if argument.required else f"[{argument.metavar}]"
