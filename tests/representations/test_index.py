"""`vicinal index` and the commands that search by it, against the exact search."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

import forked
from vicinal.cli import main
from vicinal.errors import InputError, StorageError
from vicinal.representations import index
from vicinal.representations.build_index import add_to_index, build_index
from vicinal.representations.index import Index, exact
from vicinal.representations.neighbours import nearest, nearest_and_farthest
from vicinal.representations.pairing import load_with
from vicinal.representations.representations import Representations

pytest.importorskip("faiss", reason="an index needs faiss-cpu")
KINDS = ("flat", "hnsw", "ivfpq")
COUNT, WIDTH = 3000, 16


def save(path: Path, array: NDArray[np.floating], prefix: str = "n", **more: Any) -> Path:
    ids = np.array([f"{prefix}{i}" for i in range(len(array))])
    origin = more.pop("origin", {"encoder_sha256": "abc"})
    Representations(array.astype(np.float32), ids, origin=origin, **more).save(path)
    return path


@pytest.fixture(scope="module")
def array() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, WIDTH)) * 3
    rows = centres[rng.integers(40, size=COUNT)] + rng.normal(size=(COUNT, WIDTH))
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, array: NDArray[np.float32]) -> Path:
    """The embeddings ``all.parquet`` and an index of each kind."""
    place = tmp_path_factory.mktemp("index")
    source = save(place / "all.parquet", array)
    for kind in KINDS:
        build_index(source, place / kind, kind)
    return place


def vicinal(
    *arguments: str | Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """What a command printed as JSON, or the one line with which it refused."""
    monkeypatch.setattr(sys, "argv", ["vicinal", *map(str, arguments)])
    capsys.readouterr()
    try:
        main()
    except SystemExit as end:
        said = capsys.readouterr()
        if end.code:
            return said.err if said.err.count("vicinal: ") == 1 and end.code == 2 else [said.err]
        return json.loads(said.out)
    return json.loads(capsys.readouterr().out)


def test_the_kind_follows_the_size_by_the_documented_rule() -> None:
    sizes = (1, 50_000, 50_001, 1_000_000, 1_000_001)
    assert [index.kind_for(size) for size in sizes] == ["flat", "flat", "hnsw", "hnsw", "ivfpq"]
    said = (Path(__file__).parents[2] / "docs" / "large-sets.md").read_text("utf-8")
    assert f"{index.FLAT_UP_TO:,}" in said
    assert f"{index.HNSW_UP_TO:,}" in said


@pytest.mark.parametrize("kind", KINDS)
def test_the_recall_that_is_said_is_the_recall_there_is(
    kind: str, folder: Path, array: NDArray[np.float32]
) -> None:
    index = Index.open(folder / kind)
    rows = np.arange(COUNT)
    found = index.nearest_of(rows, 5)
    truth = nearest(array, array, 5, exclude_self=True)
    assert not (found.indices == rows[:, None]).any()
    hits = [np.isin(a, b).mean() for a, b in zip(truth.indices, found.indices, strict=True)]
    said = index.description["recall_at_5"]
    assert np.mean(hits) == pytest.approx(said, abs=0.03)  # 200 checked queries of 3,000
    assert np.mean(hits) >= {"flat": 1.0, "hnsw": 0.97, "ivfpq": 0.9}[kind]
    true = np.linalg.norm(array[found.indices] - array[:, None].astype(float), axis=2)
    np.testing.assert_allclose(found.distances, true, rtol=1e-6)


def test_a_flat_index_and_the_streamed_pass_are_the_exact_search(
    folder: Path, array: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinal.representations.index._ROWS", 700)
    index = Index.open(folder / "flat")
    queries = array[:50] + np.float32(0.1)
    near, far = nearest_and_farthest(queries, array, 7)
    for truth, found in (
        (near, index.nearest(queries, 7)),
        (near, exact(index.vectors, queries, 7)),
        (far, index.farthest(queries, 7)),
    ):
        np.testing.assert_array_equal(found.indices, truth.indices)
        np.testing.assert_array_equal(found.distances, truth.distances)
    own = index.farthest(array[:5], COUNT - 1, own=np.arange(5))
    assert all(row not in found for row, found in enumerate(own.indices.tolist()))


@pytest.mark.parametrize("kind", KINDS)
def test_only_rows_that_are_asked_for_are_found(
    kind: str, folder: Path, array: NDArray[np.float32]
) -> None:
    index = Index.open(folder / kind)
    among = np.zeros(COUNT, dtype=np.bool_)
    among[::100] = True  # so few that lists and links lead to hardly any
    found = index.nearest(array[:200], 6, among=among)
    truth = nearest(array[:200], array[::100], 6)
    assert among[found.indices].all()
    assert np.mean(found.indices == 100 * truth.indices) > 0.95
    with pytest.raises(InputError, match="30 images to find"):
        index.nearest(array[:2], 31, among=among)


@pytest.mark.parametrize("kind", KINDS)
def test_an_opened_index_is_mapped_not_read(kind: str, folder: Path) -> None:
    faiss = pytest.importorskip("faiss")
    if kind != "ivfpq" and not hasattr(faiss, "IO_FLAG_MMAP_IFC"):
        pytest.skip("this faiss maps the lists of IVF-PQ alone")
    index = Index.open(folder / kind)
    index.nearest(np.zeros((1, WIDTH), np.float32), 3)
    mapped = Path("/proc/self/maps").read_text()
    assert str(folder / kind / index.description["faiss"]) in mapped
    assert str(folder / kind / "vectors.f32") in mapped


@pytest.mark.parametrize("kind", KINDS)
def test_adding_neither_trains_nor_links_anew(
    kind: str, folder: Path, array: NDArray[np.float32], tmp_path: Path
) -> None:
    faiss = pytest.importorskip("faiss")
    mine = tmp_path / "grown"
    shutil.copytree(folder / kind, mine)
    before = Index.open(mine)
    new = np.random.default_rng(1).normal(size=(300, WIDTH)).astype(np.float32)
    said = add_to_index(save(tmp_path / "new.parquet", new, "m"), mine)
    assert (said.images, said.added, said.kind) == (COUNT + 300, 300, kind)
    after = Index.open(mine)
    assert after.ids.tolist() == [*before.ids.tolist(), *(f"m{i}" for i in range(300))]
    if kind == "ivfpq":
        tables = [faiss.vector_to_array(each.engine.pq.centroids) for each in (before, after)]
        np.testing.assert_array_equal(*tables)
        lists = [
            each.engine.quantizer.reconstruct_n(0, each.engine.nlist) for each in (before, after)
        ]
        np.testing.assert_array_equal(*lists)
    if kind == "hnsw":
        levels = [faiss.vector_to_array(each.engine.hnsw.levels) for each in (before, after)]
        np.testing.assert_array_equal(levels[0], levels[1][:COUNT])
    whole = np.concatenate([array, new])
    for rows in (np.arange(0, COUNT, 10), np.arange(COUNT, COUNT + 300)):
        found = after.nearest(whole[rows], 1)
        assert (found.indices[:, 0] == rows).mean() > 0.99  # old and new, each at distance 0
    assert len(list(mine.glob("*.faiss"))) == 1
    save(tmp_path / "all.parquet", array)
    (tmp_path / "set").mkdir()
    for name in ("all", "new"):
        (tmp_path / f"{name}.parquet").rename(tmp_path / "set" / f"{name}.parquet")
    both, opened = load_with(tmp_path / "set", mine)
    assert opened is not None
    assert both.ids.tolist() == after.ids.tolist()
    np.testing.assert_array_equal(both.array, whole)


def test_an_interrupted_addition_leaves_the_index_as_it_was(
    folder: Path, array: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "grown"
    shutil.copytree(folder / "flat", mine)
    new = save(tmp_path / "new.parquet", array[:50] + 1, "m")

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("vicinal.representations.build_index.write_json", full)
        with pytest.raises(OSError, match="disk full"):
            add_to_index(new, mine)
    kept = Index.open(mine)
    assert len(kept) == COUNT
    np.testing.assert_array_equal(kept.nearest(array[:9], 1).indices[:, 0], np.arange(9))
    assert add_to_index(new, mine).images == COUNT + 50
    np.testing.assert_array_equal(Index.open(mine).vectors[COUNT:], array[:50] + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_commands_by_index_say_what_the_exact_ones_say(
    kind: str,
    folder: Path,
    array: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = {"monkeypatch": monkeypatch, "capsys": capsys}
    source, index = folder / "all.parquet", folder / kind
    for more in ([], ["--farthest"]):
        asked = ("similar", source, "n7", "--k", "5", *more, "--json")
        one, other = (vicinal(*asked, *by, **held) for by in ([], ["--index", index]))
        assert one == other
    apart = cdist(array[7:8], array)[0]
    assert other["found"][0]["distance"] == pytest.approx(apart.max(), rel=1e-6)
    exactly = vicinal("anomalies", source, "--json", **held)
    nearly = vicinal("anomalies", source, "--index", index, "--json", **held)
    scores = [{one["id"]: one["score"] for one in said["pictures"]} for said in (exactly, nearly)]
    assert scores[0].keys() == scores[1].keys()
    same = [scores[1][name] == pytest.approx(scores[0][name]) for name in scores[0]]
    assert np.mean(same) > {"flat": 0.999, "hnsw": 0.97, "ivfpq": 0.85}[kind]
    assert all(scores[1][name] >= scores[0][name] * (1 - 1e-6) for name in scores[0])


@pytest.mark.parametrize("kind", KINDS)
def test_duplicates_by_index_are_pairs_and_identical_ones_are_all_found(
    kind: str, tmp_path: Path, array: NDArray[np.float32]
) -> None:
    from vicinal.evaluations.duplicates import find_duplicates

    doubled = array[:1000].copy()
    doubled[10] = doubled[200] = doubled[250]
    doubled[20:60] = doubled[400:440] + np.float32(1e-3)
    source = save(tmp_path / "all.parquet", doubled)
    build_index(source, tmp_path / "index", kind)
    whole, index = load_with(source, tmp_path / "index")
    for threshold in (None, 1.5):
        truth = find_duplicates(Representations.load(source), threshold)
        found = find_duplicates(whole, threshold, index)
        assert found.threshold == pytest.approx(truth.threshold, rel=0.05)
        pairs = {tuple(pair) for pair in found.pairs.tolist()}
        true = {tuple(pair) for pair in truth.pairs.tolist()}
        assert len(pairs & true) / len(true) > {"flat": 0.999, "hnsw": 0.97, "ivfpq": 0.9}[kind]
        assert {(10, 200), (10, 250)} <= pairs
        apart = np.linalg.norm(doubled[found.pairs[:, 0]] - doubled[found.pairs[:, 1]], axis=1)
        np.testing.assert_allclose(found.distances, apart, rtol=1e-4, atol=1e-6)
        assert (found.distances <= found.threshold).all()


def test_a_reference_is_searched_by_its_index(
    folder: Path, array: NDArray[np.float32], tmp_path: Path
) -> None:
    from vicinal.evaluations.anomalies import rank_anomalies

    new = Representations.load(save(tmp_path / "new.parquet", array[:200] + 0.5, "m"))
    truth = rank_anomalies(new, Representations.load(folder / "all.parquet"), false_alarms=0.05)
    reference, index = load_with(folder / "all.parquet", folder / "flat")
    found = rank_anomalies(new, reference, false_alarms=0.05, index=index)
    np.testing.assert_allclose(found.scores, truth.scores, rtol=1e-6)
    np.testing.assert_array_equal(found.p_values, truth.p_values)
    assert found.measured == truth.measured


def test_wrong_pairings_are_one_line(
    folder: Path,
    array: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = {"monkeypatch": monkeypatch, "capsys": capsys}
    by = ("--index", folder / "flat")

    def refused(*arguments: str | Path) -> str:
        said = vicinal(*arguments, **held)
        assert isinstance(said, str), said
        return said

    other = save(tmp_path / "other.parquet", array, origin={"encoder_sha256": "other"})
    named = f"--index {folder / 'flat'}: "
    said = f"{named}made with another encoder than {other}; build one of that file"
    assert said in refused("similar", other, "n1", *by)
    fewer = save(tmp_path / "fewer.parquet", array[:-1])
    said = (
        f"{named}holds 3,000 images and {fewer} 2,999, not the same ones; build one of that file, "
        "or add what is missing with --add"
    )
    assert said in refused("duplicates", fewer, *by)
    renamed = save(tmp_path / "renamed.parquet", array, "m")
    assert "not the same ones" in refused("anomalies", renamed, *by)
    changed = save(tmp_path / "changed.parquet", array + 1)
    said = f"{named}other representations than those in {changed}, under the same ids; build one"
    assert said in refused("anomalies", changed, *by)
    narrow = save(tmp_path / "narrow.parquet", array[:, :8])
    said = f"{named}rows of 16 numbers, and 8 in {narrow}; build one of that file"
    assert said in refused("anomalies", narrow, *by)
    assert "no index there" in refused("anomalies", changed, "--index", tmp_path)
    assert "ids are in the index already" in refused("index", fewer, "--add", folder / "flat")
    assert "another encoder" in refused("index", other, "--add", folder / "flat")
    thin = save(tmp_path / "thin.parquet", array[:, :8], "m")
    assert "numbers of 8" in refused("index", thin, "--add", folder / "flat").replace(
        "representations of 8 numbers", "numbers of 8"
    )
    assert "is there already" in refused("index", other, "--out", folder / "flat")
    assert "flat, hnsw or ivfpq" in refused("index", other, "--out", tmp_path / "x", "--kind", "y")
    assert "--out INDEX" in refused("index", other)
    few = save(tmp_path / "few.parquet", array[:100])
    assert "use flat" in refused("index", few, "--out", tmp_path / "x", "--kind", "ivfpq")
    assert not list(tmp_path.glob("x*"))
    assert len(Index.open(folder / "flat")) == COUNT


def test_the_description_says_what_the_index_is(folder: Path) -> None:
    said = json.loads((folder / "hnsw" / "index.json").read_text("utf-8"))
    assert (said["kind"], said["images"], said["dimension"]) == ("hnsw", COUNT, WIDTH)
    assert said["encoder_sha256"] == "abc"
    assert 0.9 < said["recall_at_5"] <= 1
    names = pq.read_table(folder / "hnsw" / said["ids"][0])["id"].to_pylist()
    assert names == [f"n{i}" for i in range(COUNT)]


def test_one_picture_or_a_damaged_folder(tmp_path: Path) -> None:
    one = save(tmp_path / "one.parquet", np.ones((1, 4)))
    made = build_index(one, tmp_path / "one")
    assert (made.recall, made.checked) == (None, 0)
    assert "1 image (1 new), recall@5 not checked, for one image has no others" in made.summary()
    with pytest.raises(InputError, match="no other image to find"):
        Index.open(tmp_path / "one").nearest_of(np.array([0]), 1)
    (tmp_path / "one" / "flat-1.faiss").write_bytes(b"nothing")
    with pytest.raises(InputError, match="build it again") as caught:
        Index.open(tmp_path / "one")
    assert "\n" not in str(caught.value)


def test_few_pictures_say_what_was_checked(tmp_path: Path) -> None:
    six = build_index(save(tmp_path / "6.parquet", np.eye(6)), tmp_path / "six")
    assert "6 images (6 new), recall@5 1.000 on 3 of them" in six.summary()
    three = build_index(save(tmp_path / "3.parquet", np.eye(3)), tmp_path / "three")
    assert "recall@2 1.000 on 1 of them" in three.summary()


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(28, "No space left on device"),
        StorageError(Path("inner"), "No space left on device"),
    ],
)
def test_an_error_names_the_folder_that_was_asked_for(
    trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise trouble

    monkeypatch.setattr("vicinal.representations.build_index.write_json", full)
    few = save(tmp_path / "few.parquet", np.eye(6))
    with pytest.raises(InputError, match="No space left") as caught:
        build_index(few, tmp_path / "mine")
    assert "mine could not be written" in str(caught.value)
    assert ".partial" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["few.parquet"]


def test_no_pictures_are_refused(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([], pa.string()),
        "representation": pa.array([], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match=r"empty.parquet: holds no image"):
        build_index(tmp_path / "empty.parquet", tmp_path / "mine")


def test_without_faiss_one_line_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install 'vicinal\[faiss\]'"):
        Index.open(folder / "flat")


def test_an_index_is_searched_where_faiss_was_patched(tmp_path: Path) -> None:
    # TorchDR's import does this: faiss's own wrapper for tensors, whose search takes no parameters.
    program = (
        "import sys, faiss.contrib.torch_utils\n"
        "from pathlib import Path\n"
        "from vicinal.representations.build_index import build_index\n"
        "source, place = map(Path, sys.argv[1:])\n"
        "for kind in ('flat', 'hnsw', 'ivfpq'):\n"
        "    print(build_index(source, place / kind, kind).recall > 0.5)\n"
    )
    rows = np.random.default_rng(0).normal(size=(500, 8))
    source = save(tmp_path / "all.parquet", rows)
    done = forked.run(source, tmp_path, program=program, cwd=tmp_path)
    assert done.stdout.split() == ["True"] * 3, done.stderr
