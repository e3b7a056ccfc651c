"""The page of a folder of pictures: a run folder to one HTML file, or served."""

from vicinal.report.explorer.columns import STUDY_PART, explored_part
from vicinal.report.explorer.explorer_page import MOST_PICTURES, show, write_explorer
from vicinal.report.explorer.server import serve_explorer

__all__ = [
    "MOST_PICTURES",
    "STUDY_PART",
    "explored_part",
    "serve_explorer",
    "show",
    "write_explorer",
]
