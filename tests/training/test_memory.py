"""Freed memory: kept inside, handed back outside. Counted in pages, never in seconds."""

import ctypes
import sys

import pytest
import torch

from vicinal.training.memory import kept_memory

resource = pytest.importorskip("resource", reason="counts page faults, which needs a Unix")
MIB = 2**20


def faults() -> int:
    """Pages the kernel maps while one block of 64 MiB is allocated, written and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * MIB // 4)
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc only"
)
def test_large_blocks_are_mapped_once_inside_and_anew_outside() -> None:
    with kept_memory():
        inside = [faults() for _ in range(6)]
    outside = [faults() for _ in range(3)]
    # Pages may be of 4 KiB or, as huge pages, of 2 MiB: only their ratio is known.
    assert min(inside) * 8 < min(outside), (inside, outside)


def test_what_is_raised_inside_comes_out() -> None:
    with pytest.raises(ValueError, match="as it was"), kept_memory():
        raise ValueError("as it was")
