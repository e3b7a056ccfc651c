"""`vicinal compare`: are two sets alike?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, Threads, new_csv
from vicinal.cli.output import SHOWN, answer, save_rows


def compare(
    one: Annotated[
        Path, typer.Argument(metavar="A", help="What `vicinal embed` wrote, a file or a folder.")
    ],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another, by the same encoder.")],
    false_alarms: Annotated[
        float, typer.Option(help="Share of pictures flagged where nothing is new.")
    ] = 0.01,
    out: Annotated[Path | None, new_csv("Write all pictures into this CSV.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Make this folder, with a page of both sets on one map.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Say whether two sets are alike, and what each has that the other has not.

    \b
    vicinal compare old.parquet new.parquet --out new.csv
    vicinal compare old.parquet new.parquet --run runs/both
    """
    from vicinal.evaluations.two_sets import compare_sets
    from vicinal.representations.representations import Representations

    sets = (Representations.load(one), Representations.load(other))
    found = compare_sets(*sets, names=(str(one), str(other)), false_alarms=false_alarms)
    of_b, of_a = found.listed(1), found.listed(0)
    save_rows(out, found.header(), [*of_b, *of_a])
    page = None
    if run is not None:
        from vicinal.explore import show_two_sets

        page = show_two_sets(found, run)
    flagged = [[p for p in listed if p["flagged"]][: SHOWN // 2] for listed in (of_b, of_a)]
    answer(
        as_json,
        lambda: found.to_json() | {"page": None if page is None else str(page)},
        *found.summary(),
        None if page is None else f"the page: {page}",
        header=("set", "rank", "id", "times_usual", "p_value", "nearest"),
        rows=[*flagged[0], *flagged[1]],
    )
