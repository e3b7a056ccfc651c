"""The page that `vicinal --help` prints: every command, and no longer than a screen."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup


def _panel(command: object) -> str:
    return str(getattr(command, "rich_help_panel", ""))


class OneScreen(TyperGroup):
    """A group of commands whose help fits 24 lines of 80 characters.

    Typer's own frames take two lines a panel, and its list of options four more.
    """

    def format_help(self, ctx, formatter) -> None:  # type: ignore[no-untyped-def]
        """Prints the usage, the panels with a line for each command, and where to read on."""
        console = Console(highlight=False)
        ways = "COMMAND … | COMMAND --help | --version | --install-completion"
        console.print(Text.assemble(("Usage: ", "bold"), f"{ctx.command_path} {ways}"))
        console.print(self.help or "", soft_wrap=True)
        commands = [command for command in self.commands.values() if not command.hidden]
        for number, (panel, members) in enumerate(groupby(commands, _panel)):
            if number:  # the first needs no name, and the page no further line
                console.print(Text(panel, style="bold"))
            for command in members:
                name = Text.assemble("  ", (f"{command.name:<12}", "cyan"))
                console.print(name.append(command.get_short_help_str(limit=64)), no_wrap=True)
