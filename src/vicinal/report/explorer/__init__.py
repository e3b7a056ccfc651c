"""The page of a folder of pictures: a run folder of ``explore`` to one HTML file, or served."""

from vicinal.report.explorer.page import MOST_PICTURES, write_explorer
from vicinal.report.explorer.server import serve_explorer

__all__ = ["MOST_PICTURES", "serve_explorer", "write_explorer"]
