"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from vicinal import __version__
from vicinal.cli.more import bench, export, report
from vicinal.cli.questions import anomalies, cluster, duplicates, map_, probe
from vicinal.cli.screen import OneScreen
from vicinal.cli.start import embed, similar, study, train
from vicinal.errors import InputError

app = typer.Typer(
    cls=OneScreen,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn image representations without labels, then measure, map and use them.",
)

PANELS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Start here": (study, train, embed, similar),
    "Ask embeddings": (anomalies, cluster, duplicates, map_, probe),
    "More": (report, export, bench),
}
for _panel, _commands in PANELS.items():
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), rich_help_panel=_panel)(_command)


def _version(shown: bool) -> None:
    if shown:
        print(f"vicinal {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: a user's mistake is one line and exit status 2, never a traceback."""
    console = Console(stderr=True, highlight=False)
    try:
        app(prog_name="vicinal")
    except InputError as error:
        console.print(f"vicinal: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("vicinal: interrupted; finished work is kept, --resume goes on with it")
        sys.exit(130)
