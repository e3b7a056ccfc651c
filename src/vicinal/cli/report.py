"""`vicinal report`: a run's page again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, wants_page
from vicinal.cli.output import answer
from vicinal.errors import InputError
from vicinal.files import read_json


def report(
    run: Annotated[Path, typer.Argument(help="A run folder of study or explore.")],
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to explore on this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a run's report or page again, from its files."""
    from vicinal.report import (
        MOST_PICTURES,
        explored_part,
        serve_explorer,
        write_explorer,
        write_report,
    )

    part = explored_part(run)
    if serve and part is None:
        raise InputError(
            f"--serve: {run} has nothing to explore; if it is a study, go on with it by --resume"
        )
    if serve:
        serve_explorer(run, show=wants_page(None))
        return
    if part != run:
        page = write_report(run)
    elif read_json(run / "explore.json")["data"]["count"] > MOST_PICTURES:
        raise InputError(f"{run}: too many pictures for one file; add --serve")
    else:
        page = write_explorer(run)
    answer(as_json, lambda: {"report": str(page)}, str(page))
