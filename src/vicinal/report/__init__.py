"""The report: a run folder to one self-contained HTML file."""

from vicinal.report.page import write_report

__all__ = ["write_report"]
MOST_PICTURES = 20_000


def write_explorer(run):
    return run


def serve_explorer(run, **k):
    pass
