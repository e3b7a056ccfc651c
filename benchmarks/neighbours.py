"""Busy neighbours: processes that keep a core busy each, beside what a benchmark measures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# It ends with the benchmark, however that ends.
WORK = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keeps so many cores busy inside the block, as processes of another session would."""
    here = os.getpid()
    processes = [
        subprocess.Popen([sys.executable, "-c", WORK], start_new_session=True) for _ in range(count)
    ]
    try:
        yield
    finally:
        if os.getpid() == here:  # a process that was forked inside the block leaves it too
            for process in processes:
                process.kill()
                process.wait()
