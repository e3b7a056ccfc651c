"""From how busy the cores are to how many threads: plain functions of numbers."""

from __future__ import annotations

import math

# An operator that is split among threads ends when the slowest of them does. With a thread on a
# core that another process has for a share s of the time, it works only for the share 1 - s; two
# threads on two cores were 1.7 to 1.8 times as fast as one on a quiet machine (`laptop`,
# `photos`), so the second one pays up to s = 0.41 to 0.44.
TAKEN = 0.45
"""The share of a core that others may take before a thread leaves it."""
BACK = 0.3
"""The share below which a thread comes back; less, so that no number goes to and fro."""


def fitting(most: int, cores: float, others: float, now: int) -> int:
    """How many threads fit the cores as they are.

    Args:
        most: Threads that may be had, at least 1.
        cores: Cores that they run on.
        others: Cores that other processes keep busy.
        now: Threads that there are now.

    Returns:
        From 1 to ``most``.
    """
    free = cores - others
    fewer, more = math.floor(free + TAKEN + _HAIR), math.floor(free + BACK + _HAIR)
    wanted = now
    if fewer < now:
        wanted = fewer
    elif more > now:
        wanted = more
    return max(1, min(most, wanted))


_HAIR = 1e-9  # 2 - 0.45 + 0.45 is to be 2
