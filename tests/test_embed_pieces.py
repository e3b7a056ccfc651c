"""`vicinal embed` into a folder of parts: here and elsewhere; on Ray, see test_embed_ray.py."""

import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vicinal.cli import main
from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError
from vicinal.images.skipped import Skipped
from vicinal.recipes.recipe import Encoder
from vicinal.representations.embed import embed_source
from vicinal.representations.embed_in_pieces import (
    EmbeddedFolder,
    PieceEmbedder,
    embed_pieces,
    pieces,
)
from vicinal.representations.representations import Representations

SIZE = 8


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    torch.manual_seed(0)
    recipe = Encoder(backbone="small", widths=(8,), dimension=8)
    preparation = Preparation(SIZE, 3, (0.5,) * 3, (0.2,) * 3)
    network = build_encoder(recipe, channels=3, size=SIZE)
    save_encoder(network, file, recipe=recipe, preparation=preparation)
    return file


def picture(seed: int, side: int = 12) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side + 2, 3), dtype=np.uint8))


def photos(folder: Path, count: int, *, classes: bool = True, side: int = 12) -> Path:
    for i in range(count):
        place = folder / ("cat" if i % 3 else "dog") if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        picture(i, side).save(place / f"{i:03d}.png")
    return folder


def parquet(path: Path, count: int, first: int = 0, names: tuple[str, ...] = ()) -> Path:
    """A file of several row groups, as the `datasets` library lays them out."""
    import io

    encoded = []
    for i in range(first, first + count):
        held = io.BytesIO()
        picture(i).save(held, "PNG")
        encoded.append({"bytes": held.getvalue(), "path": None})
    columns: dict[str, Any] = {"image": encoded}
    if names:
        columns["label"] = [i % len(names) for i in range(first, first + count)]
    table = pa.table(columns)
    if names:
        said = {"info": {"features": {"label": {"names": list(names)}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(said)})
    pq.write_table(table, path, row_group_size=7)
    return path


def same(one: Representations, other: Representations, *, paths: bool = True) -> None:
    names = set(one.table_columns()) ^ set(other.table_columns())
    assert names <= (set() if paths else {"path"})
    for name in ("ids", "labels", "splits", "sizes", *(["paths"] if paths else [])):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        assert a is None or a.tolist() == b.tolist(), name
    np.testing.assert_allclose(one.array, other.array, atol=1e-6)
    assert one.origin["encoder_sha256"] == other.origin["encoder_sha256"]


def other_source(kind: str, folder: Path) -> str:
    """A source that is neither a folder of pictures nor parquet files."""
    if kind == "digits":
        return "digits"
    if kind == "numpy":
        images = np.stack([np.asarray(picture(i)) for i in range(23)])
        np.savez(folder / "a.npz", images=images, labels=np.arange(23) % 2)
        return f"{folder}/a.npz"
    photos(folder / "photos", 23)
    if kind == "tar":
        with tarfile.open(folder / "a.tar", "w") as tar:
            tar.add(folder / "photos", ".")
        return f"{folder}/a.tar"
    names = sorted(path.relative_to(folder) for path in (folder / "photos").rglob("*.png"))
    lines = [f"{name},{name.parent.name}" for name in names]
    (folder / "list.csv").write_text("\n".join(["path,label", *lines]))
    return f"{folder}/list.csv"


@pytest.mark.parametrize("kind", ["csv", "numpy", "tar", "digits"])
def test_every_source_is_embedded_in_parts(kind: str, encoder: Path, tmp_path: Path) -> None:
    source = other_source(kind, tmp_path)
    embed_pieces(
        source, encoder, str(tmp_path / "out"), piece_images=200 if kind == "digits" else 9
    )
    whole = embed_source(source, encoder, data_dir=tmp_path / "data")
    same(Representations.load(tmp_path / "out"), whole)
    assert whole.labels is not None


@pytest.mark.parametrize("kind", ["folder", "classes", "parts", "parquet", "splits"])
def test_parts_hold_what_the_one_file_holds(kind: str, encoder: Path, tmp_path: Path) -> None:
    if kind in ("folder", "classes"):
        photos(tmp_path / "photos", 23, classes=kind == "classes")
        (tmp_path / "photos" / ".hidden.png").write_bytes(b"no picture")
        (tmp_path / "photos" / "notes.txt").write_text("no picture")
        source = f"folder:{tmp_path / 'photos'}"
    elif kind == "parts":
        for split in ("train", "test"):
            photos(tmp_path / "photos" / split, 11)
        source = f"folder:{tmp_path / 'photos'}"
    else:
        for split, count in (("train", 17), ("test", 9)):
            parquet(tmp_path / f"a-{split}.parquet", count, names=("dog", "cat"))
        parquet(tmp_path / "b-train.parquet", 5, 17, names=("dog", "cat"))
        pattern = "?-{split}.parquet" if kind == "splits" else "?-train.parquet"
        source = f"parquet:{tmp_path / pattern}"
    said = embed_pieces(source, encoder, str(tmp_path / "out"), piece_images=4)
    whole = embed_source(source, encoder, data_dir=tmp_path / "data")
    found = Representations.load(tmp_path / "out")
    assert said.images == len(whole) == len(found)
    assert said.parts == len(list((tmp_path / "out").glob("*.parquet"))) > 2
    same(found, whole)


def test_a_folder_elsewhere_is_read_and_written(encoder: Path, tmp_path: Path) -> None:
    photos(tmp_path / "photos", 13)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "photos"), "/far/photos", recursive=True)
    memory.pipe("/far/photos/.hidden/x.png", b"no picture")
    embed_pieces("folder:memory://far/photos", encoder, "memory://far/out", piece_images=5)
    memory.get("/far/out", str(tmp_path / "out"), recursive=True)
    found = Representations.load(tmp_path / "out")
    assert found.paths is not None
    assert found.paths[0] == "memory:///far/photos/cat/001.png"
    whole = embed_source(f"folder:{tmp_path / 'photos'}", encoder, data_dir=tmp_path / "data")
    same(found, whole, paths=False)
    data = tmp_path / "data"  # into one file, of which the store knows the pixels afterwards
    for _ in range(2):
        far = embed_source("folder:memory://far/photos", encoder, data_dir=data)
        same(far, found)
    assert len(list((data / "store").iterdir())) == 2
    for name in ("train", "test"):
        parquet(tmp_path / f"{name}.parquet", 9, names=("dog", "cat"))
    memory.put(str(tmp_path / "train.parquet"), "/far/set/train.parquet")
    memory.put(str(tmp_path / "test.parquet"), "/far/set/test.parquet")
    source = "parquet:memory://far/set/{split}.parquet"
    embed_pieces(source, encoder, str(tmp_path / "again"), piece_images=4)
    whole = embed_source(
        f"parquet:{tmp_path}/{{split}}.parquet", encoder, data_dir=tmp_path / "data"
    )
    same(Representations.load(tmp_path / "again"), whole)
    assert len(pieces("parquet:memory://far/set", SIZE)[0]) == 2
    with pytest.raises(InputError, match="no images in it"):
        pieces("folder:memory://nowhere", SIZE)
    memory.rm("/far", recursive=True)


def test_a_bucket_is_read(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server", reason="a bucket needs moto[server]")
    pytest.importorskip("s3fs", reason="s3:// needs s3fs")
    photos(tmp_path / "photos", 7)
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("REGION", "a")):
        monkeypatch.setenv(f"AWS_{name}", value)
    held = server.ThreadedMotoServer(port=0, verbose=False)
    held.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*held.get_host_and_port()))
        bucket = fsspec.filesystem("s3", skip_instance_cache=True)
        bucket.mkdir("far")
        bucket.put(str(tmp_path / "photos"), "far/photos", recursive=True)
        embed_pieces("folder:s3://far/photos", encoder, "s3://far/out", piece_images=3)
        bucket.get("far/out", str(tmp_path / "out"), recursive=True)
    finally:
        held.stop()
    whole = embed_source(f"folder:{tmp_path / 'photos'}", encoder, data_dir=tmp_path / "data")
    same(Representations.load(tmp_path / "out"), whole, paths=False)


def test_a_bad_picture_is_left_out_and_named(encoder: Path, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 11, classes=False)
    for name in ("003.png", "004.png"):
        (folder / name).write_text("no picture")
    said = embed_pieces(f"folder:{folder}", encoder, str(tmp_path / "out"), piece_images=2)
    assert (said.images, len(said.skipped)) == (9, 2)
    lines = (tmp_path / "out" / "skipped.csv").read_text("utf-8").splitlines()
    assert lines[1:] == [f"{folder}/00{i}.png,not an image of a known format" for i in (3, 4)]
    found = Representations.load(tmp_path / "out")
    assert not {"003.png", "004.png"} & set(found.ids.tolist())
    assert len(found) == 9
    for i in range(7):
        (folder / f"00{i}.png").write_text("no picture")
    with pytest.raises(InputError, match="7 or more of 11 pictures cannot be used"):
        embed_pieces(f"folder:{folder}", encoder, str(tmp_path / "worse"), piece_images=2)


def test_an_interrupted_run_goes_on_and_nothing_is_overwritten(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"folder:{photos(tmp_path / 'photos', 12)}", tmp_path / "out"
    plain = PieceEmbedder.write

    def dying(self: PieceEmbedder, piece: Any, decoded: Any) -> Any:
        if piece.number == 2:
            raise KeyboardInterrupt
        return plain(self, piece, decoded)

    with monkeypatch.context() as patch:
        patch.setattr(PieceEmbedder, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            embed_pieces(source, encoder, str(out), piece_images=3)
    with pytest.raises(InputError, match="2 of 4 parts"):
        Representations.load(out)
    before = (out / "part-000000.parquet").stat().st_mtime_ns
    (out / "part-000003.parquet.77.partial").write_text("half")  # of a worker that died
    with pytest.raises(InputError, match="begun from another source"):
        embed_pieces("digits", encoder, str(out))
    assert embed_pieces(source, encoder, str(out), piece_images=3).images == 12
    assert (out / "part-000000.parquet").stat().st_mtime_ns == before
    assert not list(out.glob("*.partial"))
    assert len(Representations.load(out)) == 12
    with pytest.raises(InputError, match="is there already, finished"):
        embed_pieces(source, encoder, str(out), piece_images=3)
    for part, content in (("part-000001.parquet", b""), ("part-000002.parquet", None)):
        mine = out / "mine.parquet"
        mine.write_bytes((out / part).read_bytes())
        (out / part).write_bytes(content) if content is not None else (out / part).unlink()
        (out / "part-000000.parquet").unlink()  # so that the set is not finished
        assert embed_pieces(source, encoder, str(out), piece_images=3).images == 12
        assert mine.read_bytes() == (out / part).read_bytes()
        assert len(Representations.load(out)) == 12
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        embed_pieces(source, encoder, str(tmp_path / "mine"))


def _mended(folder: Path, how: str, options: dict[str, Any]) -> int:
    """Mends pictures 0 to 4 of 12 in a way; how many are good then."""
    bad = [folder / f"{i:03d}.png" for i in range(5)]
    if how == "replaced":
        for seed, file in enumerate(bad):
            picture(100 + seed).save(file)
        return 12
    if how == "one of them":
        for file in bad[1:]:
            picture(7).save(file)
        return 11
    if how == "removed":
        for file in bad:
            file.unlink()
    elif how == "left out":
        options["exclude"] = tuple(file.name for file in bad)
    elif how == "larger allowed":
        options["max_pixels"] = 1000
        return 12
    return 7


@pytest.mark.parametrize(
    "how", ["replaced", "one of them", "removed", "left out", "larger allowed"]
)
def test_a_refused_run_goes_on_once_its_pictures_are_mended(
    how: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = photos(tmp_path / "photos", 12, classes=False), tmp_path / "out"
    source, options = f"folder:{folder}", dict[str, Any]()
    for i in range(5):
        if how == "larger allowed":
            picture(100 + i, 20).save(folder / f"{i:03d}.png")
            options["max_pixels"] = 300
        else:
            (folder / f"{i:03d}.png").write_text("no picture")
    for _ in range(2):
        with pytest.raises(InputError, match="5 or more of 12 pictures cannot be used"):
            embed_pieces(source, encoder, str(out), piece_images=3, **options)
    assert len((out / "skipped.csv").read_text("utf-8").splitlines()) == 6
    capsys.readouterr()
    good = _mended(folder, how, options)
    assert embed_pieces(source, encoder, str(out), piece_images=3, **options).images == good
    assert ("begun with other pictures" in capsys.readouterr().err) == (good == 7)
    whole = embed_source(source, encoder, data_dir=tmp_path / "data", **options)
    same(Representations.load(out), whole)
    assert (out / "skipped.csv").exists() == (good == 11)


def test_only_parts_of_mended_pictures_are_made_anew(encoder: Path, tmp_path: Path) -> None:
    folder, out = photos(tmp_path / "photos", 12, classes=False), tmp_path / "out"
    for name in ("000", "001", "002"):
        (folder / f"{name}.png").write_text("no picture")
    with pytest.raises(InputError, match="cannot be used"):
        embed_pieces(f"folder:{folder}", encoder, str(out), piece_images=3)
    before = [file.stat().st_mtime_ns for file in sorted(out.glob("part-*"))]
    for name in ("000", "001", "002"):
        picture(5).save(folder / f"{name}.png")
    embed_pieces(f"folder:{folder}", encoder, str(out), piece_images=3)
    after = [file.stat().st_mtime_ns for file in sorted(out.glob("part-*"))]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, False, False]


def test_ray_gives_pieces_and_gets_what_was_written(encoder: Path, tmp_path: Path) -> None:
    """As Ray Data calls the embedder; a part that is there and of the same is not made again."""
    folder = photos(tmp_path / "photos", 20)
    listed, _ = pieces(f"folder:{folder}", SIZE, 7, data_dir=tmp_path, exclude=())
    origin = {"source": f"folder:{folder}", "max_pixels": 10**8}
    out = tmp_path / "out"
    out.mkdir()
    made = PieceEmbedder(encoder.read_bytes(), origin, str(out), "cpu", None)
    first = made({"piece": listed})["part"]
    assert [part.images for part in first] == [len(piece.pictures) for piece in listed]
    files = sorted(out.glob("*.parquet"))
    assert len(files) == len(listed) > 1
    before = [file.stat().st_mtime_ns for file in files]
    again = made({"piece": listed})["part"]
    assert [vars(part) for part in again] == [vars(part) for part in first]
    assert [file.stat().st_mtime_ns for file in files] == before
    other = PieceEmbedder(
        encoder.read_bytes(), origin | {"source": "folder:other"}, str(out), "cpu", None
    )
    assert other.written(listed[0]) is None  # made of something else
    changed = replace(listed[0], pictures=listed[1].pictures)
    assert made.written(changed) is None  # of other pictures
    meta = json.loads(pq.read_schema(files[0]).metadata[b"vicinal"])
    assert meta == origin | {"pictures": listed[0].stamp, "skipped": []}
    whole = EmbeddedFolder(str(out), 12, 4, 2, ())
    assert whole.summary() == f"12 images, 4 numbers each, 2 files: {out}"
    left = replace(whole, skipped=(Skipped("a.png", "broken"),))
    assert left.summary().endswith(f"{out}; 1 left out, see skipped.csv")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("digitz", "--out", "out"), "did you mean digits?"),
        (("folder:nowhere", "--out", "out"), "no such folder"),
        (("parquet:nowhere/*", "--out", "out"), "no parquet file there"),
        (("folder:nowhere://x", "--out", "out"), "cannot be listed"),
        (("https://x.org/list.csv", "--out", "out"), "only folders and parquet files are read"),
        (("digits", "--out", "out.parquet", "--engine", "ray"), "writes a folder"),
        (("digits", "--out", "out", "--engine", "dask"), "plain or ray"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: tuple[str, ...],
    expected: str,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vicinal", "embed", *arguments, "--encoder", str(encoder)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("vicinal: ") == 1
    assert expected in said
    assert not list(tmp_path.iterdir())
