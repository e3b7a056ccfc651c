"""The command line: parse, call one function, print."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from rich.console import Console

from vicinal import __version__
from vicinal.cli.anomalies import anomalies
from vicinal.cli.bench import bench
from vicinal.cli.choose import choose
from vicinal.cli.cluster import cluster
from vicinal.cli.compare import compare
from vicinal.cli.duplicates import duplicates
from vicinal.cli.embed import embed
from vicinal.cli.explore import explore
from vicinal.cli.export import export
from vicinal.cli.index import index
from vicinal.cli.labels import labels
from vicinal.cli.map import map_
from vicinal.cli.probe import probe
from vicinal.cli.report import report
from vicinal.cli.screen import OneScreen
from vicinal.cli.select import select
from vicinal.cli.shard import shard
from vicinal.cli.similar import similar
from vicinal.cli.study import study
from vicinal.cli.train import train
from vicinal.errors import InputError, naming_options

app = typer.Typer(
    cls=OneScreen,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn image representations without labels, then measure, map and use them.",
)

PANELS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Start here": (explore, study, choose, train, embed),
    "Ask embeddings": (
        *(similar, anomalies, cluster, duplicates, map_, probe),
        *(labels, select, compare),
    ),
    "More": (report, index, export, shard, bench),
}


class Interrupted(Exception):  # noqa: N818 — no error
    """Ctrl-C, which Typer would swallow; its text says how to go on."""


def _interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, with Ctrl-C as `Interrupted`."""
    resumes = "resume" in inspect.signature(command).parameters

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as stop:
            how = "give the same command again"
            if resumes and not options.get("update"):
                goes_on = f"go on with:\n{stop}" if str(stop) else "--resume goes on with it"
                how = f"finished work is kept, {goes_on}"
            raise Interrupted(how) from None

    return run


for _panel, _commands in PANELS.items():
    for _command in _commands:
        app.command(
            _command.__name__.rstrip("_"),
            rich_help_panel=_panel,
            # In a raw docstring the mark that keeps the examples' lines is two characters.
            help=inspect.cleandoc(_command.__doc__ or "").replace("\\b\n", "\b\n"),
        )(_interruptible(_command))


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is escaped
            stream.reconfigure(errors="backslashreplace")
    console = Console(stderr=True, highlight=False, emoji=False)
    try:
        with naming_options():
            app(prog_name="vicinal")
    except InputError as error:
        console.print(
            f"vicinal: {error.on_command_line()}",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(2)
    except (KeyboardInterrupt, Interrupted) as stop:
        how = f"; {stop}" if str(stop) else ""
        console.print(f"vicinal: interrupted{how}", markup=False, soft_wrap=True)
        sys.exit(130)
