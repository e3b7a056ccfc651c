"""Where the benchmarks' pictures are: the parquet files that the slow tests read too."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def folder() -> Path:
    """The folder with the parquet files, or the end of the script with a line that says so."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    found = Path(os.environ.get("VICINAL_DATA", beside))
    if not (found / "cifar10-train.parquet").is_file():
        sys.exit("needs the CIFAR-10 and MNIST parquet files: name their folder in VICINAL_DATA")
    return found


def source(name: str) -> str:
    """``cifar10`` (JPEG copy) or ``mnist`` as `vicinal.load` takes it."""
    return f"parquet:{folder()}/{name}-{{split}}.parquet"
