"""The report: a run folder to one self-contained HTML file."""
