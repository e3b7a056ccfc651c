"""The report: a run folder to one self-contained HTML file; the page to explore pictures in."""

from vicinal.report.explorer import (
    MOST_PICTURES,
    STUDY_PART,
    explored_part,
    serve_explorer,
    show,
    write_explorer,
)
from vicinal.report.page import write_report

__all__ = [
    "MOST_PICTURES",
    "STUDY_PART",
    "explored_part",
    "serve_explorer",
    "show",
    "write_explorer",
    "write_report",
]
