"""InputError, the one exception that a user can mend; parameters and counts in messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MARKED = re.compile("\x01([^\x01-\x03]*)\x02([^\x01-\x03]*)\x03")


def option(name: str, value: object = None, command: str | None = None) -> str:
    """A parameter in a message, for an `InputError` or for `readable`.

    ``option("false_alarms", 2)`` reads ``false_alarms=2`` in Python and ``--false-alarms 2`` on the
    command line; a setting, ``option("settings", "training.epochs=4")``, reads
    ``settings=['training.epochs=4']`` and ``--set training.epochs=4``.
    """
    if command is not None:
        return _marked(name if value is None else f"{name}={value!r}", command)
    flag = "--set" if name == "settings" else f"--{name.replace('_', '-')}"
    if value is None:
        return _marked(name, flag)
    if value is True:
        return _marked(f"{name}=True", flag)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    quoted = text if isinstance(value, int | float) else repr(text)
    quoted = f"[{quoted}]" if name == "settings" else quoted
    return _marked(f"{name}={quoted}", f"{flag} {text}")


def _marked(*forms: str) -> str:
    python, command = (re.sub("[\x01-\x03]", "", form) for form in forms)
    return f"\x01{python}\x02{command}\x03"


_names_options = False


@contextmanager
def naming_options() -> Iterator[None]:
    """Within it, `readable` names options: the command line's main function runs in it."""
    global _names_options
    before, _names_options = _names_options, True
    try:
        yield
    finally:
        _names_options = before


def readable(text: str) -> str:
    """A line for a person: `option` reads as an option on the command line, else as a parameter."""
    group = 2 if _names_options else 1
    return _MARKED.sub(lambda found: found[group], text)


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what is wrong, where, and how to mend it; parameters are
    in it by `option`. The command line prints it without a traceback and exits with status 2; any
    other exception is a bug of ours and keeps its traceback.
    """

    def __str__(self) -> str:
        """The message for a program, with parameters as functions have them."""
        return _MARKED.sub(lambda found: found[1], super().__str__())

    def on_command_line(self) -> str:
        """The message for the command line, with parameters as options."""
        return _MARKED.sub(lambda found: found[2], super().__str__())


def said_by(error: BaseException) -> str:
    """What an exception says, on one line of at most 200 characters, or else its type's name."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def begun_by(error: BaseException) -> str:
    """As `said_by`, of its first line only: torch's errors go on with traces of their own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class StorageError(InputError):
    """A file could not be written: the disk is full, or the folder read-only or gone.

    Attributes:
        path: The file that was to be written; what lay there before is still whole.
        reason: What the system said.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"{path.parent}: {path.name} could not be written ({reason}); "
            "mend that or name another place, then try again"
        )

    def __reduce__(self) -> tuple[type[StorageError], tuple[Path, str]]:
        """From its arguments, not its message: a process that measures sends it to another."""
        return StorageError, (self.path, self.reason)


def number_of(count: int, one: str, many: str | None = None) -> str:
    """A count with what is counted: ``1 pair``, ``1,204 pairs``; ``many`` where it takes no s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
