"""The page itself: everything in one file, or the same page whose data a server gives."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vicinal.errors import InputError
from vicinal.files import replacing
from vicinal.report.explorer.columns import (
    ExploreRun,
    Layout,
    pack_columns,
    read_explored,
    sketch_scale,
)
from vicinal.report.inlined import (
    HERE,
    content_policy,
    data_address,
    finite,
    own_script,
)

MOST_PICTURES = 20_000
"""A page of more pictures is too large for one file; `serve_explorer` shows it."""

EXPLORER = Path(__file__).parent
SCRIPTS = (  # in the order in which they read each other
    "columns.js",
    "numbers.js",
    "state.js",
    "element.js",
    "thumbnails.js",
    "colours.js",
    "map_rings.js",
    "map_view.js",
    "map_pointer.js",
    "map_points.js",
    "map_controls.js",
    "map_legend.js",
    "hover_card.js",
    "csv.js",
    "kept_selections.js",
    "side_by_side.js",
    "lists.js",
    "odd_tab.js",
    "places_tab.js",
    "labels_tab.js",
    "duplicates_tab.js",
    "selection_tab.js",
    "group_levels.js",
    "groups_tab.js",
    "overview_tab.js",
    "picture_tab.js",
    "search.js",
    "keyboard.js",
    "tabs.js",
    "start_explorer.js",
)
SERVED = "connect-src 'self'; img-src 'self' data: blob:; "


@dataclass(frozen=True)
class Page:
    """A page ready to be written or served.

    Attributes:
        html: The page's text.
        policy: Its content policy, which the text states too.
        columns: Its columns, for a server; empty where they are in the text.
    """

    html: str
    policy: str
    columns: bytes


def write_explorer(run: str | Path) -> Path:
    """Writes ``explore.html`` into a run folder of ``explore`` or ``study``, from its files alone.

    The page is one file that needs no network: its content policy forbids any request and any
    script but its own.

    Args:
        run: The run folder.

    Returns:
        The path of the page.

    Raises:
        InputError: If it is no such run folder, or has more than `MOST_PICTURES` pictures.
    """
    run = Path(run)
    explored = read_explored(run)
    if len(explored) > MOST_PICTURES:
        raise InputError(
            f"{run}: {len(explored):,} pictures are too many for one file (at most "
            f"{MOST_PICTURES:,}); serve the page instead"
        )
    path = run / "explore.html"
    with replacing(path) as partial:
        page = build_page(explored, served=False)
        partial.write_text(page.html, encoding="utf-8", newline="\n")
    return path


@dataclass(frozen=True)
class Shown:
    """A page within a notebook's output, which draws it by `_repr_html_`.

    Attributes:
        html: The page's text.
        height: Pixels that it has.
    """

    html: str
    height: int

    def _repr_html_(self) -> str:
        """A frame of its own that can reach neither the notebook nor the network."""
        return (
            '<iframe sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self.height}px; border: 0" '
            f'srcdoc="{html.escape(self.html)}"></iframe>'
        )


def show(run: str | Path, *, height: int = 720) -> Shown:
    """A run's page for a notebook: the last line of a cell, `vicinal.show(run)`, shows it there.

    The page is in the notebook's file then, and works without the run.

    Args:
        run: The run folder of ``explore`` or of ``study``.
        height: Pixels that the page has; its width is the notebook's.

    Raises:
        InputError: As `write_explorer`.
    """
    return Shown(write_explorer(run).read_text("utf-8"), height)


def build_page(run: ExploreRun, *, served: bool) -> Page:
    """The page of a run.

    Args:
        run: The run's files.
        served: Whether a server gives columns, sheets and the pictures themselves.
    """
    script = own_script([HERE / "palette.js", *(EXPLORER / name for name in SCRIPTS)])
    policy = content_policy([script], also=SERVED if served else "", compiles=False)
    columns, layout = pack_columns(run)
    sheets = [run.pictures.folder / name for name in run.pictures.sheets]
    environment = Environment(
        loader=FileSystemLoader(EXPLORER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("explorer.html").render(
        name=str(run.figures["data"].get("name") or "pictures"),
        version=str((run.figures.get("environment") or {}).get("vicinal") or ""),
        page_data=finite(_page_data(run, layout, served)),
        columns="" if served else base64.b64encode(columns).decode(),
        sheets=[] if served else [data_address("webp", path.read_bytes()) for path in sheets],
        css=(HERE / "look.css").read_text("utf-8") + (EXPLORER / "explorer.css").read_text("utf-8"),
        script=script,
        policy=policy,
    )
    return Page(text, policy, columns if served else b"")


def _page_data(run: ExploreRun, layout: Layout, served: bool) -> dict[str, Any]:
    """The little that is the same for all pictures."""
    figures = run.figures
    told = ("data", "encoder", "maps", "clusters", "anomalies", "duplicates", "labels", "places")
    return {
        **{name: figures.get(name) for name in told},
        "health": run.health,
        "count": len(run),
        "layout": layout,
        "served": served,
        "notes": run.notes,
        "sketch_scale": sketch_scale(run),
        "near": layout["neighbors"][2] // len(run),
        "far": layout["farthest"][2] // len(run),
    }
