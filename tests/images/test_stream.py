"""Streams: every image once, shuffled, the same again from any batch on; shards and tar files."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import Skipped, load, load_parts, source_parts
from vicinal.images.decoding import Decoding
from vicinal.images.image_stream import Sequence, Shuffle, ahead, shuffled_batches
from vicinal.images.shards import open_shards, write_shards
from vicinal.images.stream_sources import Written, open_stream, write_source
from vicinal.images.tar import _braces, open_tar
from vicinal.views import channel_statistics


def numbered(count: int) -> NDArray[np.uint8]:
    """Images (count, 2, 2, 1) whose pixels say which one it is."""
    images = np.zeros((count, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) % 251, np.arange(count) // 251
    return images


def numbers(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    low, high = images[:, 0, 0, 0].astype(np.int64), images[:, 0, 1, 0].astype(np.int64)
    return low + 251 * high


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "store"
    images = numbered(1000)
    blocks = (images[start : start + 33] for start in range(0, 1000, 33))
    write_shards({"train": blocks, "test": iter([numbered(7)])}, folder, shard_bytes=4 * 64)
    return folder


def drawn(
    store: Path, *, part: tuple[int, int] = (0, 1000), capacity: int = 50, start: int = 0
) -> list[NDArray[np.int64]]:
    shards = open_shards(str(store), test_images=0).shards
    order = tuple(np.random.default_rng(5).permutation(len(shards.counts)).tolist())
    batches = shuffled_batches(
        Sequence(shards, order),
        part,
        batch=20,
        capacity=capacity,
        rng=np.random.default_rng(6),
        start=start,
    )
    return [numbers(batch) for batch in batches]


def test_a_store_holds_what_was_written(store: Path) -> None:
    stream = open_shards(str(store), test_images=5)
    assert stream.shards.counts == (64,) * 15 + (40,)
    blocks = Sequence(stream.shards, tuple(range(16))).read(0, 1000)
    assert numbers(np.concatenate(list(blocks))).tolist() == list(range(1000))
    mean, std = channel_statistics(numbered(1000))
    assert stream.mean == pytest.approx(mean)
    assert stream.std == pytest.approx(std)
    assert numbers(stream.test).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("capacity", [1, 50, 5000])
def test_every_image_comes_once(store: Path, capacity: int) -> None:
    batches = drawn(store, capacity=capacity)
    assert [len(batch) for batch in batches] == [20] * 50
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))


def test_the_order_is_shuffled_beyond_a_batch(store: Path) -> None:
    shards = 1000 / 64
    batches = drawn(store, capacity=300)
    # An epoch read in order would draw each batch of 20 from one or two shards.
    mixed = np.mean([len(set((batch // 64).tolist())) for batch in batches])
    assert mixed > 4
    assert mixed <= shards


@pytest.mark.parametrize("start", [1, 17, 47, 49])
def test_an_epoch_goes_on_where_it_stopped(store: Path, start: int) -> None:
    whole, rest = drawn(store, capacity=100), drawn(store, capacity=100, start=start)
    assert len(rest) == 50 - start
    for ours, theirs in zip(rest, whole[start:], strict=True):
        assert ours.tolist() == theirs.tolist()


def test_parts_of_ranks_divide_the_images(store: Path) -> None:
    parts = [(0, 240), (240, 500), (500, 760), (760, 1000)]
    found = [np.concatenate(drawn(store, part=part)) for part in parts]
    assert sorted(np.concatenate(found).tolist()) == list(range(1000))


def test_the_buffer_never_holds_more_than_it_may() -> None:
    plan = Shuffle(10_000, 128, 16, np.random.default_rng(0))
    for _ in range(10_000 // 16):
        plan.draw()
        assert len(plan.live) <= len(plan.slots) == 128
    assert len(plan.live) == 0
    assert plan.head == 10_000


def test_reading_ahead_keeps_the_order_and_passes_errors_on() -> None:
    assert list(ahead(iter(range(9)), 2)) == list(range(9))

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("here")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_a_damaged_store_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no index.json there"):
        open_shards(str(tmp_path), test_images=0)
    (tmp_path / "index.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(InputError, match="not an index of shards"):
        open_shards(str(tmp_path), test_images=0)
    index = (store / "index.json").read_text()
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(InputError, match=r"train-00000.npy: missing"):
        open_shards(str(tmp_path), test_images=0)
    for file in store.glob("*.npy"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shards = open_shards(str(tmp_path), test_images=0).shards
    (tmp_path / "train-00000.npy").write_bytes(b"")
    with pytest.raises(InputError, match="not an array of pixels"):
        list(shards.read(0, np.arange(3)))
    whole = (store / "train-00001.npy").read_bytes()
    (tmp_path / "train-00001.npy").write_bytes(whole[:-10])
    with pytest.raises(InputError, match="cut short"):
        list(shards.read(1, np.arange(64)))


def picture(number: int, *, grey: bool = False) -> bytes:
    drawn = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(drawn[:, :, 0] if grey else drawn).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three WebDataset shards of 10 samples, an image and a class each; one more is colourless."""
    folder = tmp_path_factory.mktemp("tar")
    for shard in range(3):
        members: dict[str, bytes] = {}
        for i in range(10):
            members[f"{shard}{i}.png"] = picture(10 * shard + i, grey=shard == 2)
            members[f"{shard}{i}.cls"] = b"3"
        write_tar(folder / f"part-{shard:03d}.tar", members)
    return folder


def test_tar_shards_are_read_in_order(tars: Path, tmp_path: Path) -> None:
    stream = open_tar(f"{tars}/part-{{000..002}}.tar", Decoding(8), cache=tmp_path)
    assert stream.shards.counts == (10, 10, 10)
    assert stream.channels == 3
    images = np.concatenate(list(Sequence(stream.shards, (0, 2, 1)).read(5, 25)))
    expected = [np.asarray(Image.open(io.BytesIO(picture(n))).convert("RGB")) for n in range(10)]
    assert np.array_equal(images[:5], np.stack(expected[5:]))
    grey = np.asarray(Image.open(io.BytesIO(picture(20, grey=True))).convert("RGB"))
    assert np.array_equal(images[5], grey)
    picked = np.concatenate(list(stream.shards.read(0, np.array([1, 7]))))
    assert np.array_equal(picked, np.stack([expected[1], expected[7]]))
    whole = np.concatenate(list(Sequence(stream.shards, (0, 1, 2)).read(0, 30)))
    mean, std = channel_statistics(whole)
    assert stream.mean == pytest.approx(mean)
    assert stream.std == pytest.approx(std)
    assert len(list((tmp_path / "tar").iterdir())) == 1  # counted once


def test_grey_tars_stay_grey(tars: Path, tmp_path: Path) -> None:
    stream = open_tar(f"{tars}/part-002.tar", Decoding(8), cache=tmp_path)
    assert stream.channels == 1
    assert next(stream.shards.read(0, np.arange(10))).shape == (10, 8, 8, 1)


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tar file there"):
        open_tar(f"{tmp_path}/*.tar", Decoding(8), cache=tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_tar(f"{tmp_path}/{{0..1}}.tar", Decoding(8), cache=tmp_path)
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(InputError, match=r"a.tar: cannot be read as a tar file"):
        open_tar(f"{tmp_path}/a.tar", Decoding(8), cache=tmp_path)
    write_tar(tmp_path / "b.tar", {"readme.txt": b"hello"})
    with pytest.raises(InputError, match=r"b.tar: no image in it"):
        open_tar(f"{tmp_path}/b.tar", Decoding(8), cache=tmp_path)


def test_braces_count_with_their_zeros() -> None:
    assert _braces("a{08..10}.tar") == ["a08.tar", "a09.tar", "a10.tar"]
    assert _braces("{0..1}-{2..3}") == ["0-2", "0-3", "1-2", "1-3"]


def test_a_source_becomes_a_store(tars: Path, tmp_path: Path) -> None:
    written = write_source("digits", tmp_path / "digits", size=8)
    assert written == Written({"train": 1297, "test": 500}, ())
    splits = load("digits", size=8)
    stream = open_stream(f"shards:{tmp_path}/digits", size=8, test_images=10_000)
    assert np.array_equal(stream.test, splits.test.pixels)
    blocks = Sequence(stream.shards, (0,)).read(0, 1297)
    assert np.array_equal(np.concatenate(list(blocks)), splits.train.pixels)
    written = write_source(f"tar:{tars}/part-*.tar", tmp_path / "tar", size=8, data_dir=tmp_path)
    assert written.images == {"train": 30}
    with pytest.raises(InputError, match="is there already"):
        write_source("digits", tmp_path / "digits", size=8)
    with pytest.raises(InputError, match="8 pixels wide, the recipe's 16"):
        open_stream(f"shards:{tmp_path}/digits", size=16, test_images=0)


def test_a_folder_becomes_a_store(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "9.png").write_bytes(b"no picture")
    written = write_source(f"folder:{tmp_path}", tmp_path / "out", size=4)
    assert written.images == {"train": 5}
    assert [Path(one.path).name for one in written.skipped] == ["9.png"]
    assert "9.png" in (tmp_path / "out" / "skipped.csv").read_text()
    fitted = load(f"folder:{tmp_path}", size=4, data_dir=tmp_path).train
    stream = open_stream(f"shards:{tmp_path}/out", size=4, test_images=0)
    stored = next(stream.shards.read(0, np.arange(5)))
    assert stored.shape[1:] == fitted.pixels.shape[1:]
    assert {image.tobytes() for image in fitted.pixels} <= {image.tobytes() for image in stored}
    (tmp_path / "8.png").write_bytes(b"nor this")
    with pytest.raises(InputError, match="at most 20% may be bad"):
        write_source(f"folder:{tmp_path}", tmp_path / "second", size=4)
    assert not (tmp_path / "second" / "index.json").exists()


def test_bad_pictures_are_counted_over_all_parts_and_leave_nothing_behind(tmp_path: Path) -> None:
    for part, count in (("train", 20), ("test", 3)):
        (tmp_path / "set" / part).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "set" / part / f"{number}.png").write_bytes(picture(number))
    for number in range(5):  # 5 of 25 in all, 2 of 5 in the test part
        place = tmp_path / "set" / ("test" if number < 2 else "train")
        (place / f"bad{number}.png").write_bytes(b"no picture")
    written = write_source(f"folder:{tmp_path}/set", tmp_path / "out", size=4)
    assert written.images == {"train": 20, "test": 3}
    assert len(written.skipped) == 5
    (tmp_path / "set" / "test" / "bad9.png").write_bytes(b"nor this")
    (tmp_path / "set" / "test" / "bad8.png").write_bytes(b"nor this")
    for _ in range(2):
        with pytest.raises(InputError, match="at most 20% may be bad"):
            write_source(f"folder:{tmp_path}/set", tmp_path / "second", size=4)
        assert list((tmp_path / "second").iterdir()) == []


def test_other_commands_take_tar_files_and_shards_too(tars: Path, tmp_path: Path) -> None:
    ((split, listed),) = source_parts(f"{tars}/part-{{000..002}}.tar")
    assert (split, len(listed), listed.ids[11]) == (None, 30, "11.png")
    assert listed.notes[1] == "part-000: not used: 30 .cls"
    assert listed.take(slice(9, 12)).ids.tolist() == ["09.png", "10.png", "11.png"]
    splits = load(f"tar:{tars}/part-*.tar", size=8, data_dir=tmp_path)
    assert (len(splits.train), len(splits.test)) == (24, 6)
    for name, pixels in zip(splits.train.ids, splits.train.pixels, strict=True):
        number = int(name.removeprefix("train/").removesuffix(".png"))
        expected = Image.open(io.BytesIO(picture(number, grey=number >= 20))).convert("RGB")
        assert np.array_equal(pixels, np.asarray(expected))
    write_source(f"tar:{tars}/part-*.tar", tmp_path / "made", size=8, data_dir=tmp_path)
    (part,) = load_parts(f"shards:{tmp_path}/made", Decoding(8), data_dir=tmp_path)
    assert part.images.pixels.shape == (30, 8, 8, 3)
    with pytest.raises(InputError, match=r"a.tar: no such file"):
        source_parts("tar:a.tar")


def test_bad_pictures_are_left_out_of_a_stream_and_named(tmp_path: Path) -> None:
    members = {f"{i:02d}.png": picture(i) for i in range(30)}
    write_tar(tmp_path / "a.tar", members | {"03.png": b"", "29.png": b"no picture"})
    stream = open_tar(f"{tmp_path}/a.tar", Decoding(8), cache=tmp_path)
    whole = np.concatenate(list(stream.shards.read(0, np.arange(30))))
    good = [np.asarray(Image.open(io.BytesIO(picture(i)))) for i in range(30) if i not in (3, 29)]
    assert np.array_equal(np.delete(whole, [3, 29], axis=0), np.stack(good))
    for bad in (3, 29):  # the same good one of the shard in its place, whatever is read with it
        assert any(np.array_equal(whole[bad], one) for one in good[:16])
        assert np.array_equal(next(stream.shards.read(0, np.array([bad])))[0], whole[bad])
    reason = "not an image of a known format"
    assert stream.skipped == tuple(
        Skipped(f"{tmp_path}/a.tar, {name}.png", reason) for name in ("03", "29")
    )
    write_tar(tmp_path / "b.tar", members | {f"{i:02d}.png": b"" for i in range(20, 30)})
    with pytest.raises(InputError, match="10 or more of 30 pictures cannot be used"):
        open_tar(f"{tmp_path}/b.tar", Decoding(8), cache=tmp_path)
