"""The page: reads a run folder, draws the charts' specifications and fills the template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from vicinal.files import replacing
from vicinal.report import formats
from vicinal.report.explorer import MOST_PICTURES, STUDY_PART, write_explorer
from vicinal.report.inlined import (
    HERE,
    Pictures,
    content_policy,
    own_script,
    plotly_script,
    read_pictures,
)
from vicinal.report.run_data import (
    StudyFiles,
    class_names,
    dig,
    labels_by_id,
    overview,
    page_data,
    read_object,
    read_run,
    study_charts,
    why_skipped,
)

SCRIPTS = (  # in the order in which they read each other
    "page_data.js",
    "map_charts.js",
    "show_charts.js",
    "legends.js",
    "point_card.js",
    "start_report.js",
)


def write_report(run: str | Path) -> Path:
    """Writes ``report.html`` into a run folder, from the files in it alone.

    The page is one file that needs no network: its content policy forbids any request
    and any script but its own two. Where the run has explored its test images,
    ``explore.html`` is written beside it, and S2 leads there.

    Args:
        run: The run folder; needs ``results.json``, shows a note for what else is absent.

    Returns:
        The path of the page.

    Raises:
        InputError: If there is no readable ``results.json`` in the folder, or what was explored
            is damaged.
    """
    run = Path(run)
    folder = read_run(run)
    pictures = read_pictures(run / "pictures")
    page = _render(folder, pictures, _explored(run))
    path = run / "report.html"
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
    return path


def _explored(run: Path) -> dict[str, Any] | None:
    """Draws the page that S2 leads to, and gives its ``file`` and the ``count`` of its images.

    There is no file where these are too many for one, and None in all where nothing was explored:
    studies had no such stage once.
    """
    figures = run / STUDY_PART / "explore.json"
    if not figures.is_file():
        return None
    count = dig(read_object(figures), "data.count") or 0
    return {"count": count, "file": write_explorer(run).name if count <= MOST_PICTURES else None}


def _render(folder: StudyFiles, pictures: Pictures, explored: dict[str, Any] | None) -> str:
    results = folder.results
    drawn = study_charts(folder)
    own = own_script([HERE / "palette.js", *(HERE / "scripts" / name for name in SCRIPTS)])
    scripts = [plotly_script(), own]
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        **formats.FORMATS,
        "figure": formats.figure,
        "interval": formats.interval,
        "claimed": formats.claimed,
        "duration": formats.duration,
        "day": formats.day,
    }
    return environment.get_template("page.html").render(
        results=results,
        data=results["data"],
        systems=results["systems"],
        classes=class_names(folder),
        environment=folder.environment,
        recipe=folder.recipe,
        rows=overview(results),
        why_skipped=why_skipped,
        dig=dig,
        charts=drawn,
        tile=pictures.tile,
        explored=explored,
        label_of=labels_by_id(folder),
        page_data=page_data(folder, pictures, drawn),
        sheets=pictures.sheet_addresses() if folder.maps else [],
        css=(HERE / "look.css").read_text("utf-8") + (HERE / "page.css").read_text("utf-8"),
        scripts=scripts,
        policy=content_policy(scripts),
    )
