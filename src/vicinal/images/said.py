"""Lines for the user, on standard error, whatever its encoding."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from vicinal.images.names import on_one_line


def tell(notes: Iterable[str]) -> None:
    """Prints each line once; of several ranks the first does."""
    if "torch.distributed" in sys.modules:  # or this is no rank, and torch takes seconds to import
        from vicinal import ranks

        if not ranks.is_first():
            return
    for note in dict.fromkeys(notes):
        print(on_one_line(note), file=sys.stderr)  # whose encoding escapes what it lacks
