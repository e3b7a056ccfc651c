import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vicinal.explore.concatenated_pixels import ConcatenatedPixels


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    start=st.integers(0, 30),
    stop=st.integers(0, 30),
)
def test_it_reads_as_the_concatenation_does(lengths: list[int], start: int, stop: int) -> None:
    generator = np.random.default_rng(0)
    arrays = [generator.integers(256, size=(n, 2, 2, 3), dtype=np.uint8) for n in lengths]
    whole, joined = np.concatenate(arrays), ConcatenatedPixels(arrays)
    assert joined.shape == whole.shape
    assert len(joined) == len(whole)
    np.testing.assert_array_equal(joined[start:stop], whole[start:stop])
    for row in range(len(whole)):
        np.testing.assert_array_equal(joined[row], whole[row])
