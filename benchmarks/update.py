"""CPU seconds of a run of `explore`, and of its update when some new files have come.

python benchmarks/update.py FOLDER [--new 200] [--minutes 1]

FOLDER is copied without its last files by name; they come for the update.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import say
from vicinal.explore import Request, explore
from vicinal.images.file_formats import suffixes


def spent(request: Request) -> float:
    """CPU seconds of a run, children's left out."""
    began = time.process_time()
    explore(request)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--new", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1)
    asked = parser.parse_args()
    files = sorted(f for f in asked.folder.iterdir() if f.suffix.lower() in suffixes())
    with TemporaryDirectory() as name:
        place = Path(name)
        (place / "PICTURES").mkdir()
        for file in files[: -asked.new]:
            shutil.copy2(file, place / "PICTURES")
        data, store, run = str(place / "PICTURES"), place / "data", place / "run"
        anew = Request(data, recipe="laptop", minutes=asked.minutes, run=run, data_dir=store)
        first = spent(anew)
        for file in files[-asked.new :]:
            shutil.copy2(file, place / "PICTURES")
        later = spent(Request(data, update=run, data_dir=store))
    say(
        f"{len(files) - asked.new:,} files: {first:.1f} s of CPU time, {asked.minutes} min training"
    )
    say(f"{asked.new:,} new ones: {later:.1f} s, 1 / {first / later:.0f}")


if __name__ == "__main__":
    main()
