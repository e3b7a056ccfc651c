"""What an index does with the candidates that faiss proposes: exact order, limits, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.representations import index as module
from vicinal.representations.index import Index, exact

faiss = pytest.importorskip("faiss", reason="an index needs faiss-cpu")
COUNT = 40
POINTS = np.random.default_rng(0).integers(0, 4, size=(COUNT, 3)).astype(np.float32)  # with ties
AMONG = np.arange(COUNT) % 3 == 0


class Engine:
    """Stands in for faiss: proposes the first ``given`` rows, in falling order, and then none."""

    def __init__(self, given: int) -> None:
        self.given, self.counts = given, list[int]()

    def search(self, query: NDArray[np.float32], count: int, params: Any) -> tuple[None, Any]:
        assert query.flags.c_contiguous
        assert query.dtype == np.float32
        self.counts.append(count)
        rows = np.arange(count)[::-1]
        return None, np.tile(np.where(rows < self.given, rows, -1), (len(query), 1))


def made(given: int = 0, kind: Any = "flat", effort: int = 1) -> Index:
    ids = np.arange(COUNT).astype(np.str_)
    return Index(Path("here"), kind, ids, POINTS, effort, {}, Engine(given))


def truth(
    rows: NDArray[np.int64], k: int, own: bool, among: NDArray[np.bool_] | None, sign: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    keys = sign * ((POINTS[rows, None].astype(float) - POINTS[None]) ** 2).sum(axis=2)
    if own:
        keys[np.arange(len(rows)), rows] = np.inf
    if among is not None:
        keys[:, ~among] = np.inf
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(sign * np.take_along_axis(keys, order, axis=1))


@pytest.mark.parametrize("block", [7, 10_000])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("given", "among"), [(0, None), (COUNT, None), (0, AMONG)])
def test_rows_are_the_exact_ones_even_where_engines_propose_none(
    given: int,
    among: NDArray[np.bool_] | None,
    own: bool,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_QUERIES", block)  # of 5, all 40 rows are candidates
    monkeypatch.setattr(module, "_ROWS", block)
    rows = np.array([6, 0, 3, 39, 9, 12, 12, 1])
    found = made(given).nearest(POINTS[rows], 5, own=rows if own else None, among=among)
    order, distances = truth(rows, 5, own, among)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)
    assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float32)
    double = made(given).nearest(
        POINTS[rows].astype(float), 5, own=rows if own else None, among=among
    )
    np.testing.assert_array_equal(double.indices, order)
    if own:
        again = made(given).nearest_of(rows, 5, among=among)
        np.testing.assert_array_equal(again.indices, order)
    if among is None:
        far = made().farthest(POINTS[rows], 5, own=rows if own else None)
        order, distances = truth(rows, 5, own, None, sign=-1)
        np.testing.assert_array_equal(far.indices, order)
        np.testing.assert_allclose(far.distances, distances, rtol=1e-6)


def test_no_queries_have_no_neighbours() -> None:
    for found in (
        made().nearest(POINTS[:0], 3),
        made().nearest_of(np.empty(0, np.int64), 3),
        exact(POINTS, POINTS[:0], 3),
    ):
        assert found.indices.shape == found.distances.shape == (0, 3)
        assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize(("kind", "count"), [("flat", 24), ("hnsw", 24), ("ivfpq", 40)])
def test_candidates_are_four_times_as_many_and_some(kind: str, count: int) -> None:
    index = made(COUNT, kind)
    index.nearest(POINTS[:2], 1)
    assert index.engine.counts == [count]  # 4 (k + 1) + 16; + 96 is more than there are


def test_effort_grows_with_the_share_of_rows_that_do_not_count() -> None:
    few = np.arange(COUNT) < 4
    assert made(kind="hnsw", effort=20)._parameters(10, None).efSearch == 20
    assert made(kind="hnsw", effort=20)._parameters(30, None).efSearch == 30
    assert made(kind="hnsw", effort=2)._parameters(10, few).efSearch == 20
    assert made(kind="ivfpq", effort=3)._parameters(10, None).nprobe == 3
    assert made(kind="ivfpq", effort=3)._parameters(10, few).nprobe == 30
    assert made(kind="ivfpq", effort=9)._parameters(10, few).nprobe == COUNT  # at most all
    none = np.zeros(COUNT, np.bool_)
    assert made(kind="ivfpq", effort=9)._parameters(10, none).nprobe == COUNT
    chosen = made()._parameters(10, AMONG)  # held, for it holds the selector's memory
    assert [chosen.sel.is_member(row) for row in range(COUNT)] == AMONG.tolist()


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: made().nearest(POINTS[:, :2], 1),
         "here: holds rows of 3 numbers, asked with (40, 2); "
         "use the encoder that the index was made with"),
        (lambda: made().nearest(POINTS[0], 1),
         "here: holds rows of 3 numbers, asked with (3,); "
         "use the encoder that the index was made with"),
        (lambda: made().nearest(POINTS, 0),
         "k=0 neighbours but 40 images to find; ask for 1 to 40"),
        (lambda: made().farthest(POINTS, 41),
         "k=41 neighbours but 40 images to find; ask for 1 to 40"),
        (lambda: made().nearest_of(np.array([1]), 40),
         "k=40 neighbours but 39 images to find; ask for 1 to 39"),
        (lambda: made().nearest_of(np.array([0]), 14, among=AMONG),
         "k=14 neighbours but 13 images to find; ask for 1 to 13"),
        (lambda: made().nearest_of(np.array([1]), 15, among=AMONG),
         "k=15 neighbours but 14 images to find; ask for 1 to 14"),
    ],
)  # fmt: skip
def test_what_cannot_be_found_is_this_line(ask: Any, line: str) -> None:
    with pytest.raises(InputError) as caught:
        ask()
    assert str(caught.value) == line


def saved(folder: Path, **said: Any) -> Path:
    folder.mkdir()
    engine = faiss.IndexFlatL2(3)
    engine.add(POINTS)
    faiss.write_index(engine, str(folder / "rows.faiss"))
    POINTS.tofile(folder / "vectors.f32")
    halves = np.array_split(np.arange(COUNT).astype(np.str_), 2)
    for name, half in zip("ab", halves, strict=True):
        pq.write_table(pa.table({"id": half.tolist()}), folder / f"{name}.parquet")
    told = {
        "vicinal_index": 1, "kind": "flat", "images": COUNT, "dimension": 3, "effort": 7,
        "ids": ["a.parquet", "b.parquet"], "faiss": "rows.faiss",
    }  # fmt: skip
    (folder / "index.json").write_text(json.dumps(told | said))
    return folder


def test_an_opened_index_is_what_its_files_say(tmp_path: Path) -> None:
    index = Index.open(saved(tmp_path / "i"))
    assert (index.folder, index.kind, index.effort) == (tmp_path / "i", "flat", 7)
    assert len(index) == COUNT
    assert index.ids.tolist() == [str(row) for row in range(COUNT)]
    assert index.description["dimension"] == 3
    np.testing.assert_array_equal(index.vectors, POINTS)
    assert not index.vectors.flags.writeable
    rows = np.arange(COUNT)
    np.testing.assert_array_equal(index.nearest_of(rows, 5).indices, truth(rows, 5, True, None)[0])
    chosen = index.nearest(POINTS[:9], 5, among=AMONG)
    np.testing.assert_array_equal(chosen.indices, truth(np.arange(9), 5, False, AMONG)[0])


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"vicinal_index": 2}, "{}: not an index of this version of Vicinal; build it again"),
        ({"images": COUNT + 1}, "{}: damaged ("),
        ({"ids": ["c.parquet"]}, "{}: damaged ("),
        ({"faiss": "a.parquet"}, "{}/a.parquet: faiss cannot read it ("),
    ],
)
def test_a_damaged_index_is_one_line(said: dict[str, Any], line: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "i", **said)
    with pytest.raises(InputError) as caught:
        Index.open(folder)
    assert str(caught.value).startswith(line.format(folder))
    assert "build" in str(caught.value)
    assert "None" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(folder)) + 300
    with pytest.raises(InputError) as caught:
        Index.open(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no index there; `vicinal index` makes one"
