"""Which command a run folder is of, and what a person does with it; without loading torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from vicinal.files import read_json


def kind_of(path: Path) -> str | None:
    """The command whose run a folder holds, ``study`` for one; None where it holds no run."""
    try:
        held = read_json(path / "run.json")
    except (OSError, ValueError):
        return None
    return str(held.get("verb", "study")) if isinstance(held, dict) else None


_ENDS_WITH = {"explore": "explore.json", "study": "results.json"}  # the last file of a run


def _going_on(path: Path, kind: str) -> str:
    """The command that goes on with a run; what was asked for beside its data is to be added."""
    data = str(read_json(path / "run.json").get("data", "DATA"))
    named = [data] if kind == "explore" else ["--data", data]
    return shlex.join(["vicinal", kind, *named, "--run", str(path), "--resume"])


def instead_of(path: Path, command: str) -> str:
    """What a folder holds where a finished run of a command was looked for, and what to do."""
    kind = kind_of(path)
    if kind is None:
        return f"no run here; give the folder of a finished {command}"
    if kind in ("train", "choose"):
        return (
            f"holds a run of `vicinal {kind}`, an encoder; see what it makes of pictures by "
            f"`vicinal explore PICTURES --encoder {path}`"
        )
    if kind in command and (path / _ENDS_WITH[kind]).is_file():
        return (
            f"holds a finished run of `vicinal {kind}`, some of whose files are gone; run it anew "
            "in another folder"
        )
    if kind in command:
        return (
            f"holds a run of `vicinal {kind}` that has not ended; go on with it by "
            f"`{_going_on(path, kind)}`"
        )
    return f"holds a run of `vicinal {kind}`; give the folder of a finished {command}"
