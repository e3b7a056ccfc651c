"""What a command prints: a table for people, or JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vicinal.files import as_json

_RIGHT = ("rank", "distance", "score", "p_value", "size", "probability")


def print_json(data: Any) -> None:
    """Prints plain data as one JSON document, to which standard output is kept."""
    print(as_json(data))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows under a header; numbers with four digits."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in header:
        table.add_column(title, justify="right" if title in _RIGHT else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a file may be called [red].jpg.
        table.add_row(*(Text(f"{c:.4g}" if isinstance(c, float) else str(c)) for c in row))
    Console(highlight=False).print(table)


def say(line: str) -> None:
    """Prints a line below a table."""
    Console(highlight=False).print(line, markup=False, soft_wrap=True)
