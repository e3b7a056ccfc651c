"""What is the user's to mend."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what is wrong, where, and how to mend it.
    The command line prints it without a traceback and exits with status 2; any
    other exception is a bug of ours and keeps its traceback.
    """


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
