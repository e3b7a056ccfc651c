"""A rank killed under torchrun's agent: all start again from the last checkpoint, and end."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import forked

KILLED = Path(__file__).with_name("killed.py")
TRAIN = (
    *("train", "digits", "--limit", "200", "--device", "cpu", "--run", "run"),
    *("--set", "training.epochs=3", "--set", "training.batch_size=40"),
    *("--set", "training.checkpoint_steps=2", "--set", "training.precision=float32"),
    *("--set", "training.warmup_epochs=0", "--set", "encoder.widths=[8]"),
    *("--set", "encoder.dimension=8", "--set", "projector.widths=[16,16]"),
)
SECONDS = 1800


def environment(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TORCHELASTIC", "SLURM"))}
    return kept | {
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NOTES": str(folder),
    }


def train_losses(folder: Path) -> list[tuple[str, float]]:
    with (folder / "run" / "losses.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    return [(row["epoch"], float(row["total"])) for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, float]]:
    """The losses of an uninterrupted training on one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = forked.run(*TRAIN, cwd=folder, env=environment(folder))
    assert done.returncode == 0, done.stderr
    return train_losses(folder)


def check(folder: Path, alone: list[tuple[str, float]]) -> None:
    assert (folder / "killed").is_file()
    # Begun at the beginning, then after the first epoch and two steps of the second.
    assert (folder / "starts").read_text().splitlines() == ["0 0", "1 2"]
    found = train_losses(folder)
    assert [epoch for epoch, _ in found] == ["1", "2", "3"]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in alone], rel=1e-5)
    assert (folder / "run" / "encoder.safetensors").is_file()
    assert not list((folder / "run").glob("*.partial"))


@pytest.mark.slow
def test_a_killed_rank_is_started_again(tmp_path: Path, alone: list[tuple[str, float]]) -> None:
    agent = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "3", "--", KILLED]
    done = forked.run(
        *agent, *TRAIN, program=forked.TORCHRUN, cwd=tmp_path, env=environment(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path, alone)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


@contextmanager
def two_hosts() -> Iterator[tuple[list[str], list[str]]]:
    """Two network namespaces joined by a cable; what runs a command in each."""
    names = [f"vicinal{os.getpid()}{end}" for end in "ab"]
    cables = [f"v{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            inside = ["-n", name]
            ip("link", "set", cable, "netns", name)
            ip(*inside, "address", "add", f"10.77.0.{number}/24", "dev", cable)
            ip(*inside, "link", "set", cable, "up")
            ip(*inside, "link", "set", "lo", "up")
        first, second = (
            ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={cable}"]
            for name, cable in zip(names, cables, strict=True)
        )
        yield first, second
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.ci
def test_a_rank_killed_on_another_host_is_started_again(
    tmp_path: Path, alone: list[tuple[str, float]]
) -> None:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the ip command")
    probe = ["ip", "netns", "add", f"probe{os.getpid()}"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not permitted here")
    ip("netns", "del", f"probe{os.getpid()}")
    with two_hosts() as hosts:
        namespaces = [
            subprocess.run(
                [*host, "readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for host in hosts
        ]
        agents = [
            subprocess.Popen(
                [
                    *host,
                    *(sys.executable, "-m", "torch.distributed.run"),
                    *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"),
                    *("--rdzv-id", "two-hosts", "--rdzv-backend", "c10d"),
                    *("--rdzv-endpoint", "10.77.0.1:29400", "--local-addr", f"10.77.0.{number}"),
                    *("--rdzv-conf", f"is_host={int(number == 1)}", "--", KILLED, *TRAIN),
                ],
                cwd=tmp_path,
                env=environment(tmp_path),
                stderr=subprocess.PIPE,
                text=True,
            )
            for number, host in enumerate(hosts, 1)
        ]
        try:
            said = [agent.communicate(timeout=SECONDS)[1] for agent in agents]
        finally:
            for agent in agents:
                agent.kill()
    assert [agent.returncode for agent in agents] == [0, 0], said
    here, other = namespaces
    assert (tmp_path / "killed").read_text() == other != here
    check(tmp_path, alone)
