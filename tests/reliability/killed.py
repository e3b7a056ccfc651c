"""Real processes of the command line, killed at a moment that was drawn beforehand.

They are forked from one process that has torch loaded already: an import takes longer than
most of what is killed here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

PHASES = ("half written", "before it is on disk", "before the move", "after the move")


@dataclass(frozen=True)
class Moment:
    """When a process dies: after so many seconds, or in a phase of its n-th file written."""

    seconds: float | None = None
    file: int = 0
    phase: str = ""


def run(
    context: ForkServerContext, arguments: Sequence[str], folder: Path, moment: Moment | None = None
) -> tuple[int, str, str]:
    """Runs a command in ``folder``, to its end or to its moment.

    Returns:
        Exit status (−9 if it was killed), what the moment met, and what was said.
    """
    process = context.Process(target=_command, args=(list(arguments), str(folder), moment))
    process.start()
    process.join(None if moment is None else moment.seconds)
    if process.is_alive() and moment is not None and moment.seconds is not None:
        process.kill()
    process.join()
    words = []
    for name in ("met.txt", "said.txt"):
        path = folder / name
        words.append(path.read_text("utf-8") if path.is_file() else "")
        path.unlink(missing_ok=True)
    return process.exitcode or 0, words[0], words[1]


def _command(arguments: list[str], folder: str, moment: Moment | None) -> None:
    """What the forked process does: `vicinal ARGUMENTS`, its words in said.txt."""
    os.chdir(folder)
    os.environ |= {"XDG_CACHE_HOME": folder + "/cache", "COLUMNS": "300"}
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["vicinal", *arguments]
    from vicinal.cli import main

    with _deadly(moment) if moment is not None and moment.phase else contextlib.nullcontext():
        main()


@contextlib.contextmanager
def _deadly(moment: Moment) -> Iterator[None]:
    """Has every file counted, and this process killed in a phase of one of them."""
    from vicinal import files

    count = 0
    sync, sync_folder = files._sync, files._sync_folder

    name = ""

    def die() -> None:
        Path("met.txt").write_text(f"writing {name}, {moment.phase}", "utf-8")
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(partial: Path) -> None:
        nonlocal count, name
        count += 1
        stem = re.sub(r"\.[\w-]+\.\d+\.partial$", "", partial.name)
        name = "decoded pixels" if stem.endswith(".npy") else stem
        if count == moment.file:
            if moment.phase == "half written":
                os.truncate(partial, partial.stat().st_size // 2)
                die()
            if moment.phase == "before it is on disk":
                die()
        sync(partial)
        if count == moment.file and moment.phase == "before the move":
            die()

    def moved(folder: Path) -> None:
        if count == moment.file and moment.phase == "after the move":
            die()
        sync_folder(folder)

    files._sync, files._sync_folder = counted, moved
    yield
