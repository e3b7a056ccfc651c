"""How each kind of index is made: its lists, codes and training by the documented rule."""

import numpy as np
import pytest

from vicinal.representations import index

faiss = pytest.importorskip("faiss", reason="an index needs faiss-cpu")


@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 9, 16, 100, 130, 300, 512, 514, 521, 2048])
def test_a_code_has_the_most_parts_of_four_numbers_that_divide_the_width(width: int) -> None:
    fitting = [n for n in range(1, 65) if width % n == 0 and (n == 1 or width / n >= 4)]
    assert index._parts(width) == max(fitting)


@pytest.mark.parametrize(("count", "lists", "drawn"), [(256, 4, 256), (2600, 64, 2600)])
def test_lists_are_a_power_of_two_that_the_rows_can_train(
    count: int, lists: int, drawn: int
) -> None:
    # min(4 √N, N / 39) is 6.6 and 66.7; all rows train where there are fewer than 39 × 256.
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    engine, trained = index.ENGINES["ivfpq"](rows)
    assert (engine.nlist, engine.pq.M, engine.pq.nbits) == (lists, 2, 8)
    assert trained == drawn
    assert isinstance(faiss.downcast_index(engine.quantizer), faiss.IndexFlatL2)  # few lists
    again, _ = index.ENGINES["ivfpq"](rows)
    np.testing.assert_array_equal(
        engine.quantizer.reconstruct_n(0, lists), again.quantizer.reconstruct_n(0, lists)
    )


def test_others_are_not_trained_and_rows_are_added_in_order() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    for kind in ("flat", "hnsw"):
        engine, trained = index.ENGINES[kind](rows)
        assert (engine.d, engine.ntotal, trained) == (8, 0, 0)
        if kind == "hnsw":
            assert engine.hnsw.efConstruction == 100
        index.add(engine, rows)
        np.testing.assert_array_equal(engine.reconstruct_n(0, 30), rows)
