"""`vicinal embed --engine ray`: on a cluster of worker processes, on this machine, on none."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import forked
from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError
from vicinal.recipes.recipe import Encoder
from vicinal.representations import embed_in_pieces
from vicinal.representations.embed import embed_source
from vicinal.representations.embed_in_pieces import embed_pieces
from vicinal.representations.representations import Representations

SECONDS = 600  # a busy machine takes minutes to start a Ray


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    torch.manual_seed(0)
    recipe = Encoder(backbone="small", widths=(8,), dimension=8)
    network = build_encoder(recipe, channels=3, size=8)
    preparation = Preparation(8, 3, (0.5,) * 3, (0.2,) * 3)
    save_encoder(network, file, recipe=recipe, preparation=preparation)
    return file


def photos(folder: Path, count: int, side: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / ("cat" if i % 3 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i:03d}.png")
    return folder


def holds_all(out: Path, source: str, encoder: Path, data_dir: Path) -> None:
    """Exactly one row an image, with what the command without Ray makes of it."""
    found, whole = Representations.load(out), embed_source(source, encoder, data_dir=data_dir)
    assert found.ids.tolist() == whole.ids.tolist()
    assert len(set(found.ids.tolist())) == len(found)
    assert found.labels is not None
    assert whole.labels is not None
    assert found.labels.tolist() == whole.labels.tolist()
    np.testing.assert_allclose(found.array, whole.array, atol=1e-6)


def command(
    source: str, encoder: Path, out: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The real command line."""
    arguments = ("embed", source, "--encoder", encoder, "--out", out, "--engine", "ray")
    return forked.run(*arguments, cwd=out.parent, env=environment, timeout=SECONDS)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for Ray, whose sockets' paths must be short; and no other test's cluster."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A Ray cluster of two workers on this machine: its process, and its address."""
    pytest.importorskip("ray", reason="embedding on a cluster needs ray[data]")
    port = free_port()
    options = [
        *("--head", "--block", "--port", str(port), "--num-cpus", "2"),
        *("--object-store-memory", "100000000", "--include-dashboard", "false"),
        *("--disable-usage-stats", "--dashboard-agent-grpc-port", str(free_port())),
        *("--runtime-env-agent-port", str(free_port())),
        *("--dashboard-agent-listen-port", str(free_port())),
        # With ports named, Ray does not give up where its agent takes long to name them.
        *("--metrics-export-port", str(free_port())),
    ]
    started = Path(sys.executable).parent / "ray"
    said = tmp_path_factory.mktemp("ray") / "log"
    folder = tempfile.mkdtemp(prefix="ray")  # not the one where Ray looks for a cluster
    settings = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_TMPDIR": folder,
    }
    with said.open("wb") as log:
        process = subprocess.Popen(
            [started, "start", *options], stdout=log, stderr=log, env=os.environ | settings
        )
    try:
        until = time.monotonic() + SECONDS
        while b"Ray runtime started" not in said.read_bytes():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.5)
        yield process.pid, f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def on_cluster(source: str, encoder: Path, out: Path, address: str) -> forked.Forked:
    """`embed_pieces` in a process of its own, as Ray's threads stay in the one they are in."""
    program = (
        "import sys; from pathlib import Path; from vicinal.errors import InputError\n"
        "from vicinal.representations.embed_in_pieces import embed_pieces\n"
        "source, encoder, out = sys.argv[1:]\n"
        "try: said = embed_pieces(source, Path(encoder), out, engine='ray', piece_images=4)\n"
        "except InputError as error: sys.exit(f'refused: {error}')\n"
        "print('done', said.images, said.parts, len(said.skipped))"
    )
    environment = {"RAY_ADDRESS": address}
    return forked.start(source, encoder, out, program=program, cwd=out.parent, env=environment)


def workers(cluster: int) -> list[int]:
    """Process ids of the cluster's embedding workers."""
    parents, named = {}, []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                stat = (place / "stat").read_text()
                line = (place / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(place.name)] = int(stat.rpartition(")")[2].split()[1])
            if b"PieceEmbedder" in line:
                named.append(int(place.name))

    def ours(pid: int) -> bool:
        while pid > 1 and pid != cluster:
            pid = parents.get(pid, 0)
        return pid == cluster

    return [pid for pid in named if ours(pid)]


def test_a_killed_worker_costs_no_row_and_doubles_none(
    cluster: tuple[int, str], encoder: Path, tmp_path: Path
) -> None:
    source = f"folder:{photos(tmp_path / 'photos', 160, side=500)}"
    out = tmp_path / "out"
    running = on_cluster(source, encoder, out, cluster[1])
    killed, there = 0, 0
    while not killed and running.poll() is None:
        there = len(list(out.glob("*.parquet")))
        if there >= 2 and len(found := workers(cluster[0])) >= 2:
            os.kill(found[0], signal.SIGKILL)
            killed = found[0]
        time.sleep(0.02)
    said, errors = running.communicate()
    assert killed, f"the work was done before a worker of several could be killed: {errors}"
    assert there < 40
    assert said.splitlines()[-1] == "done 160 40 0", errors
    holds_all(out, source, encoder, tmp_path / "data")


def test_what_goes_wrong_on_a_worker_is_one_line_here(
    cluster: tuple[int, str], encoder: Path, tmp_path: Path
) -> None:
    encoded = []
    for name in sorted(photos(tmp_path / "photos", 9).rglob("*.png")):
        encoded.append({"bytes": name.read_bytes(), "path": None})
    table = pa.table({"image": encoded, "label": pa.array([0, 1, 0.5, *[0] * 6])})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    source = f"parquet:{tmp_path / 'a.parquet'}"
    running = on_cluster(source, encoder, tmp_path / "out", cluster[1])
    _, errors = running.communicate()
    assert running.returncode == 1
    line = errors.splitlines()[-1]
    assert line.startswith("refused: ")
    assert "labels must be integers or strings, found double" in line


def test_the_command_without_an_address_runs_here(
    encoder: Path, tmp_path: Path, scratch: Path
) -> None:
    pytest.importorskip("ray", reason="embedding on a cluster needs ray[data]")
    # Where Ray notes the last cluster: one that was stopped, and would be waited for.
    (scratch / "ray").mkdir()
    for place in (scratch, scratch / "ray"):
        (place / "ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
    source, out = f"folder:{photos(tmp_path / 'photos', 9)}", tmp_path / "out"
    done = command(source, encoder, out, RAY_TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"9 images, 8 numbers each, 1 files: {out}"]
    holds_all(out, source, encoder, tmp_path / "data")


def test_no_cluster_is_one_line_and_nothing_is_written(encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="embedding on a cluster needs ray[data]")
    source, out = f"folder:{photos(tmp_path / 'photos', 3)}", tmp_path / "out"
    done = command(source, encoder, out, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2
    (line,) = [said for said in done.stderr.splitlines() if said.startswith("vicinal: ")]
    assert "Traceback" not in done.stderr
    where = "no cluster at RAY_ADDRESS=127.0.0.1:1 (Connection refused)"
    assert line.startswith(f"vicinal: --engine ray: {where}; start one by ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("no-such-host.invalid:6379", "RAY_ADDRESS=no-such-host.invalid:6379"),
        ("http://127.0.0.1:8265", "HTTP address"),
        ("nonsense", "Invalid address format"),
    ],
)
def test_an_address_of_no_cluster_is_refused(
    address: str, reason: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="embedding on a cluster needs ray[data]")
    monkeypatch.setenv("RAY_ADDRESS", address)
    source, out = f"folder:{photos(tmp_path / 'photos', 3)}", tmp_path / "out"
    with pytest.raises(InputError, match=reason):
        embed_pieces(source, encoder, str(out), engine="ray")
    assert not out.exists()


def test_a_port_where_something_else_listens_is_given_up(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="embedding on a cluster needs ray[data]")
    monkeypatch.setattr(embed_in_pieces, "_ANSWER", 5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(InputError, match="no Ray answers there"):
            embed_pieces(
                f"folder:{photos(tmp_path / 'photos', 3)}",
                encoder,
                str(tmp_path / "out"),
                engine="ray",
            )
    assert not (tmp_path / "out").exists()


def test_without_ray_one_line_says_how_to_get_it(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'vicinal\[ray\]'"):
        embed_pieces("folder:x", encoder, str(tmp_path / "out"), engine="ray")
