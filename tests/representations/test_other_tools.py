"""The files of `vicinal embed` and `vicinal map`, read by those that people read parquet with."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vicinal.evaluations.maps import map_of
from vicinal.representations.representations import Representations

N, F = 24, 5
NEIGHBOURS = 15


@pytest.fixture(scope="module")
def embeddings() -> Representations:
    array = np.random.default_rng(0).normal(size=(N, F)).astype(np.float32)
    names = np.array([f"beach/{i:03}.jpg" for i in range(N)])
    labels = np.array(["beach" if i % 2 else "" for i in range(N)])
    return Representations(array, names, paths=names, labels=labels)


@pytest.fixture(scope="module")
def files(
    embeddings: Representations, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """What `vicinal embed` and `vicinal map --method pca` write."""
    folder = tmp_path_factory.mktemp("files")
    embeddings.save(folder / "photos.parquet")
    map_of(embeddings, "pca").save(folder / "map.parquet", embeddings)
    return folder / "photos.parquet", folder / "map.parquet"


def distances(array: np.ndarray) -> np.ndarray:
    return np.linalg.norm(array[:, None] - array[None], axis=-1)


def test_pandas(files: tuple[Path, Path], embeddings: Representations) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    photos, maps = map(pandas.read_parquet, files)
    np.testing.assert_array_equal(np.stack(photos["representation"]), embeddings.array)
    assert photos["id"].tolist() == embeddings.ids.tolist()
    assert photos["label"].isna().tolist() == [i % 2 == 0 for i in range(N)]
    assert maps["x"].dtype == np.float32
    first = maps["neighbors"][0]
    expected = np.sort(distances(embeddings.array)[0])[1 : NEIGHBOURS + 1]
    np.testing.assert_allclose(first["distances"], expected, rtol=1e-4)


def test_polars(files: tuple[Path, Path], embeddings: Representations) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    photos, maps = map(polars.read_parquet, files)
    assert photos.schema["representation"] == polars.Array(polars.Float32, F)
    np.testing.assert_array_equal(photos["representation"].to_numpy(), embeddings.array)
    assert photos["label"].null_count() == N // 2
    ids = maps.select(polars.col("neighbors").struct.field("ids")).to_series().to_list()
    expected = distances(embeddings.array).argsort(axis=1)[:, 1 : NEIGHBOURS + 1]
    np.testing.assert_array_equal(ids, expected)


def test_hugging_face_datasets(
    files: tuple[Path, Path], embeddings: Representations, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    photos, maps = (
        datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path)) for file in files
    )
    read = photos.with_format("numpy")["representation"][:]
    np.testing.assert_array_equal(read, embeddings.array)
    assert photos["path"][:] == embeddings.paths.tolist()
    assert len(maps[3]["neighbors"]["ids"]) == NEIGHBOURS


def test_embedding_atlas(
    files: tuple[Path, Path], embeddings: Representations, tmp_path: Path
) -> None:
    reason = "needs embedding-atlas, too heavy for the dev extra"
    atlas = pytest.importorskip("embedding_atlas.cli", reason=reason)
    from click.testing import CliRunner

    out = tmp_path / "atlas.zip"
    columns = ["--x", "x", "--y", "y", "--neighbors", "neighbors"]
    # Its degrees come from our neighbours: it read them, and did not compute its own.
    options = ["--degree", "--export-application", str(out)]
    done = CliRunner().invoke(atlas.main, [str(files[1]), *columns, *options])
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as archive:
        props = json.loads(archive.read("data/metadata.json"))["props"]
        table = pq.read_table(io.BytesIO(archive.read("data/dataset.parquet")))
    assert props["data"]["neighbors"] == "neighbors"
    assert props["data"]["projection"] == {"x": "x", "y": "y"}
    nearest = distances(embeddings.array).argsort(axis=1)[:, 1 : NEIGHBOURS + 1]
    counted = np.bincount(nearest.ravel(), minlength=N)
    np.testing.assert_array_equal(table["in_degree"].to_numpy(), counted)
