"""What every command ends with: a CSV where one is asked for, then a table or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vicinal.errors import number_of, option, readable
from vicinal.file_names import on_one_line
from vicinal.files import as_json as json_text
from vicinal.files import write_csv
from vicinal.progress import say

if TYPE_CHECKING:
    from vicinal.evaluations.score import Answer
    from vicinal.images import Skipped
    from vicinal.representations.representations import Representations

Row = Mapping[str, Any]

SHOWN = 20
"""Rows of a table in the terminal; files and JSON have them all."""

_NAMED = 5  # pictures that could not be used, in the terminal
_RIGHT = ("rank", "distance", "score", "p_value", "size", "probability", "epochs")
_UNITS = (", images/s", " take")


def answer(
    as_json: bool,
    data: Callable[[], Any],
    *lines: str | None,
    header: Sequence[str] = (),
    rows: Iterable[Row] = (),
    warning: str | None = None,
) -> None:
    """Prints what a command found.

    Args:
        as_json: Whether for a program, as one JSON document.
        data: Makes what the document holds.
        lines: Sentences for a person, below the table.
        header: The table's columns; none where there is no table.
        rows: Its rows, by the columns' names.
        warning: A line above the table.
    """
    if as_json:
        print_json(data())
        return
    if warning is not None:
        print_line(f"warning: {warning}")
    if header:
        print_table(header, ([row[name] for name in header] for row in rows))
    for line in lines:
        if line is not None:
            print_line(line)


def answer_rows(
    found: Answer,
    pictures: Representations,
    out: Path | None,
    as_json: bool,
    *lines: str,
    header: Sequence[str] | None = None,
    warning: str | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Saves the rows of what an evaluation found, if asked to, and prints the first of them.

    Args:
        found: What was found.
        pictures: The pictures it is about.
        out: The CSV to write, or None.
        as_json: Whether for a program.
        lines: Sentences below the table, after the summary.
        header: The columns that a person sees; None for all.
        warning: A line above the table.
        beside: What the JSON document holds beside `to_json`.
    """
    if out is not None:
        found.save(out, pictures)
    answer(
        as_json,
        lambda: found.to_json(pictures) | dict(beside or {}),
        *found.summary(),
        *lines,
        header=found.header(pictures) if header is None else header,
        rows=() if as_json else found.listed(pictures)[:SHOWN],
        warning=warning,
    )


def tell_skipped(skipped: Sequence[Skipped], out: Path | None) -> None:
    """Lists pictures that could not be used beside the CSV asked for, or else names the first."""
    from vicinal.images import keep_skipped

    if out is not None:
        keep_skipped(skipped, out.with_suffix(".skipped.csv"))
        return
    for one in skipped[:_NAMED]:
        say(on_one_line(f"skipped: {one.path}: {one.reason}"))
    if more := len(skipped[_NAMED:]):
        listed = option("out", "PAIRS.csv")
        say(readable(f"skipped: {number_of(more, 'picture')} more; {listed} lists all beside it"))


def save_rows(out: Path | None, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes the rows into a CSV, if one is asked for; a column that a row lacks stays empty."""
    if out is not None:
        write_csv(out, header, ([row.get(name) for name in header] for row in rows))


def print_json(data: Any) -> None:
    """Prints plain data as one JSON document, to which standard output is kept."""
    print(json_text(data))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows under a header; numbers with four digits."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in header:
        right = title in _RIGHT or title.endswith(_UNITS)
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a file may be called [red].jpg.
        table.add_row(*(Text(f"{c:.4g}" if isinstance(c, float) else str(c)) for c in row))
    Console(highlight=False, emoji=False).print(table)


def print_line(line: str) -> None:
    """Prints a line."""
    Console(highlight=False, emoji=False).print(readable(line), markup=False, soft_wrap=True)
