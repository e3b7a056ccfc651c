"""Where the benchmarks' pictures are: the parquet files that the slow tests read too."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def source(name: str) -> str:
    """``cifar10`` (JPEG copy) or ``mnist`` as `vicinal.load` takes it; ends the script without."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VICINAL_DATA", beside))
    if not (folder / f"{name}-test.parquet").is_file():
        sys.exit(f"needs {name}-train.parquet and -test: name their folder in VICINAL_DATA")
    return f"parquet:{folder}/{name}-{{split}}.parquet"
