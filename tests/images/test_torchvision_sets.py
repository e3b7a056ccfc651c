import contextlib
import gzip
import hashlib
import io
import pickle
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv

from vicinal.errors import InputError
from vicinal.images import named_sets


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def make_cifar(folder: Path, monkeypatch, kind: type) -> np.ndarray:
    """A tiny archive of the same layout; returns its training pixels (6, 32, 32, 3)."""
    planes = np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), dtype=np.uint8)
    key = "labels" if kind is tv.CIFAR10 else "fine_labels"
    names = {kind.meta["key"]: [f"class {i}" for i in range(10)]}
    files = {
        "one": {"data": planes[:3].reshape(3, -1), key: [0, 1, 2]},
        "two": {"data": planes[3:6].reshape(3, -1), key: [3, 4, 5]},
        "last": {"data": planes[6:].reshape(3, -1), key: [6, 7, 9]},
        "names": names,
    }
    data = {name: pickle.dumps(content) for name, content in files.items()}
    archive = folder / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in data.items():
            member = tarfile.TarInfo(f"{kind.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(kind, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(kind, "train_list", [[n, md5(data[n])] for n in ("one", "two")])
    monkeypatch.setattr(kind, "test_list", [["last", md5(data["last"])]])
    meta = {"filename": "names", "key": kind.meta["key"], "md5": md5(data["names"])}
    monkeypatch.setattr(kind, "meta", meta)
    return planes[:6].transpose(0, 2, 3, 1)


def make_mnist(folder: Path, monkeypatch, kind: type) -> np.ndarray:
    """Four tiny files of the same layout; returns the training pixels (6, 28, 28)."""
    pixels = np.random.default_rng(1).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    labels = np.arange(9, dtype=np.uint8)
    resources = []
    for part, rows in (("train", slice(0, 6)), ("t10k", slice(6, 9))):
        images, digits = pixels[rows], labels[rows]
        for name, content in (
            (
                f"{part}-images-idx3-ubyte.gz",
                struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes(),
            ),
            (
                f"{part}-labels-idx1-ubyte.gz",
                struct.pack(">2i", 2049, len(digits)) + digits.tobytes(),
            ),
        ):
            (folder / name).write_bytes(gzip.compress(content))
            resources.append((name, md5((folder / name).read_bytes())))
    monkeypatch.setattr(kind, "resources", resources)
    return pixels[:6]


CIFAR = [("cifar10", tv.CIFAR10), ("cifar100", tv.CIFAR100)]
MNIST = [("mnist", tv.MNIST), ("fashion-mnist", tv.FashionMNIST)]


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


def point(monkeypatch, kind: type, url: str) -> None:
    if issubclass(kind, tv.CIFAR10):
        monkeypatch.setattr(kind, "url", url + kind.filename)
    else:
        monkeypatch.setattr(kind, "mirrors", [url])


@pytest.mark.parametrize(("name", "kind"), CIFAR + MNIST)
def test_fetched_once_then_read_from_the_folder(tmp_path, server, monkeypatch, capsys, name, kind):
    make = make_cifar if issubclass(kind, tv.CIFAR10) else make_mnist
    expected = make(server, monkeypatch, kind)
    data = tmp_path / "data"
    with serving(server) as url:
        point(monkeypatch, kind, url)
        splits = named_sets.load_torchvision(name, data)
    np.testing.assert_array_equal(splits.train.pixels, expected.reshape(splits.train.pixels.shape))
    assert splits.train.name == name
    assert splits.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert splits.test.ids.tolist() == ["000000", "000001", "000002"]
    assert len(splits.test.class_names) == 10
    if name == "mnist":
        assert splits.test.class_names == tuple("0123456789")
    assert not list(data.glob("*.partial"))
    point(monkeypatch, kind, closed_port())
    again = named_sets.load_torchvision(name, data)
    assert again.train.fingerprint == splits.train.fingerprint
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "kind"), CIFAR + MNIST)
def test_offline_is_one_clear_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, name, kind):
    point(monkeypatch, kind, closed_port())
    data = tmp_path / "data"
    with pytest.raises(InputError) as caught:
        named_sets.load_torchvision(name, data)
    message = str(caught.value)
    assert message.startswith(f"{name} is not in {data} and could not be fetched (")
    assert "gz" in message
    assert "a copy of yours: parquet:PATTERN" in message
    assert "or folder:PATH" in message
    assert "\n" not in message
    assert list(data.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(("name", "kind"), [CIFAR[0], MNIST[0]])
def test_a_torn_download_is_refused_and_does_not_break_the_next(
    tmp_path, server, monkeypatch, name, kind
):
    make = make_cifar if name == "cifar10" else make_mnist
    make(server, monkeypatch, kind)
    whole = {path: path.read_bytes() for path in server.iterdir()}
    with serving(server) as url:
        point(monkeypatch, kind, url)
        for path, content in whole.items():
            path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="could not be fetched"):
            named_sets.load_torchvision(name, tmp_path / "data")
        for path, content in whole.items():
            path.write_bytes(content)
        assert len(named_sets.load_torchvision(name, tmp_path / "data").train) == 6


@pytest.mark.parametrize(("name", "kind"), [CIFAR[0], MNIST[0]])
def test_archives_put_there_by_hand_are_used(tmp_path, monkeypatch, name, kind):
    archives = tmp_path if name == "cifar10" else tmp_path / "MNIST" / "raw"
    archives.mkdir(parents=True, exist_ok=True)
    make = make_cifar if name == "cifar10" else make_mnist
    make(archives, monkeypatch, kind)
    point(monkeypatch, kind, closed_port())
    assert len(named_sets.load_torchvision(name, tmp_path).test) == 3


@pytest.mark.parametrize(("name", "kind"), [CIFAR[0], MNIST[0]])
def test_files_torn_later_are_noticed_and_replaced(tmp_path, server, monkeypatch, name, kind):
    make = make_cifar if name == "cifar10" else make_mnist
    make(server, monkeypatch, kind)
    data = tmp_path / "data"
    with serving(server) as url:
        point(monkeypatch, kind, url)
        before = named_sets.load_torchvision(name, data).train.fingerprint
        torn = "*/two" if name == "cifar10" else "MNIST/raw/train-images-idx3-ubyte"
        (file,) = data.glob(torn)
        file.write_bytes(file.read_bytes()[:500])
        assert named_sets.load_torchvision(name, data).train.fingerprint == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    point(monkeypatch, tv.CIFAR10, closed_port())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cifar10 is not in .*file"):
        named_sets.load_torchvision("cifar10", tmp_path / "file" / "data")
