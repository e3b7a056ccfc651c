"""Freed memory: kept inside, handed back outside. As glibc counts it."""

import ctypes
import sys
from pathlib import Path

import pytest

import forked
from vicinal.training.device import kept_memory

# A process of its own, for what other tests left in the heap would serve the block too.
COUNTED = """
import ctypes
from vicinal.training.device import kept_memory

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.mallinfo2.restype = Mallinfo2

def mapped_and_left():
    before = libc.mallinfo2()
    block = libc.malloc(ctypes.c_size_t(2**28))
    mapped = libc.mallinfo2().hblkhd - before.hblkhd
    libc.free(ctypes.c_void_p(block))
    return mapped, libc.mallinfo2().fordblks

print(*mapped_and_left())
with kept_memory():
    print(*mapped_and_left())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="glibc ≥ 2.33 only",
)
def test_large_blocks_are_mapped_outside_and_kept_inside(tmp_path: Path) -> None:
    done = forked.run(program=COUNTED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outside, inside = ([int(word) for word in line.split()] for line in done.stdout.splitlines())
    assert outside[0] >= 2**28  # a mapping of its own, gone with the block
    assert outside[1] < 2**28
    assert inside[0] == 0
    assert inside[1] >= 2**28  # freed, and still there for the next


def test_what_is_raised_inside_comes_out() -> None:
    with pytest.raises(ValueError, match="as it was"), kept_memory():
        raise ValueError("as it was")
