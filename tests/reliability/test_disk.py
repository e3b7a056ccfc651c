"""Full, read-only and shared disks, files that vanish, clocks that jump: one line, nothing lost."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from vicinal.errors import InputError, StorageError
from vicinal.files import read_json, replacing, write_json
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import open_run
from vicinal.study.train import train
from vicinal.training.checkpoint import Checkpoint

TINY = (
    "training.epochs=4",
    "training.batch_size=16",
    "training.warmup_epochs=0",
    "training.precision=float32",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
)
SETTINGS = [part for setting in TINY for part in ("--set", setting)]


def one_line(said: str) -> str:
    """The one line of a refusal."""
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("vicinal: ")]
    assert len(lines) == 1, said
    return lines[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of so many bytes, in memory."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.name == "nt" or os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root can mount a small file system")
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this machine lets nobody mount a file system (a container's habit)")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    disk: Callable[..., Path], context: ForkServerContext, tmp_path: Path
) -> None:
    import killed

    folder = disk(1 << 20)
    filler = folder / "filler"
    command = ["train", "digits", "--limit", "64", *SETTINGS, "--run", str(folder / "run")]
    filler.write_bytes(b"x" * (940 << 10))  # room for the first checkpoints, not for all
    status, _, said = killed.run(context, command, tmp_path)
    assert status == 2, said
    line = one_line(said)
    assert str(folder / "run") in line
    assert "No space left on device" in line
    assert "kept: 0 finished stages and the checkpoints of 1 trainings" in line
    assert "--resume" in line
    filler.unlink()
    status, _, said = killed.run(context, [*command, "--resume"], tmp_path)
    assert status == 0, said
    (tmp_path / "whole").mkdir()
    command[-1] = str(tmp_path / "whole" / "run")
    status, _, said = killed.run(context, command, tmp_path)
    weights = "run/encoder.safetensors"
    assert (folder / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_a_read_only_folder_is_one_line(
    disk: Callable[..., Path], context: ForkServerContext, tmp_path: Path
) -> None:
    import killed

    folder = disk(4 << 20)
    command = ["train", "digits", "--limit", "64", *SETTINGS, "--run", str(folder / "run")]
    remount(folder, "ro")
    status, _, said = killed.run(context, command, tmp_path)
    assert status == 2, said
    assert "Read-only file system" in one_line(said)
    remount(folder, "rw")
    write_json(folder / "a.json", {"a": 1})
    remount(folder, "ro")
    with pytest.raises(StorageError, match=r"a\.json could not be written \(Read-only"):
        write_json(folder / "a.json", {"a": 2})
    assert read_json(folder / "a.json") == {"a": 1}


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_write_that_fails_names_the_file_and_keeps_the_old_one(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})

    def full(_file: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=rf"run\.json could not be written \({os.strerror(reason)}"
    ):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        write_json(tmp_path / "gone" / "a.json", {})


def test_what_a_caller_reads_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    def read_within() -> None:
        with replacing(tmp_path / "a.json"):
            (tmp_path / "absent.png").read_bytes()

    with pytest.raises(FileNotFoundError):
        read_within()


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with replacing(tmp_path / "a.json") as partial:
        partial.write_text("{}")
        host = partial.name.removeprefix("a.json.").removesuffix(f".{os.getpid()}.partial")
    dead = tmp_path / f"a.json.{host}.{child.pid}.partial"
    living = tmp_path / f"a.json.{host}.{os.getppid()}.partial"
    for path in (dead, living):
        path.write_text("half")
    write_json(tmp_path / "a.json", {})
    assert not dead.exists()
    assert living.exists()


def test_a_second_process_is_refused_and_a_dead_ones_lock_is_not_in_the_way(
    context: ForkServerContext, tmp_path: Path
) -> None:
    import killed

    command = ["train", "digits", "--limit", "64", *SETTINGS, "--run", "run", "--resume"]
    with open_run(tmp_path / "run", {"data": "mnist"}, Recipe(), resume=False):
        status, _, said = killed.run(context, command, tmp_path)
        assert status == 2, said
        assert "another process is at work on this run" in one_line(said)
    shutil.rmtree(tmp_path / "run")
    status, met, said = killed.run(
        context, command, tmp_path, killed.Moment(file=4, phase="before the move")
    )
    assert status == -9, said
    assert (tmp_path / "run" / "run.lock").is_file(), met
    status, _, said = killed.run(context, command, tmp_path)
    assert status == 0, said


def test_a_file_of_a_finished_stage_that_is_gone_is_made_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = {"settings": TINY, "limit": 64, "run": run}
    first = train("digits", **settings)
    weights = first.encoder.read_bytes()
    first.encoder.unlink()
    (run / "losses.csv").unlink()
    again = train("digits", **settings, resume=True)
    assert again.encoder.read_bytes() == weights
    assert again.loss == first.loss


def test_a_file_removed_while_the_run_reads_it_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"losses\.csv: removed while the run was at work; kept: 0"),
        open_run(tmp_path / "run", {"data": "digits"}, Recipe(), resume=False) as run,
    ):
        (run / "losses.csv").open()


@pytest.mark.parametrize("vanishes", ["losses.csv", "."])
def test_a_training_whose_files_vanish_says_which(
    vanishes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoint.save

    def remove(self: Checkpoint, epoch: int, rows: list[list[str]] | tuple[()] = ()) -> None:
        save(self, epoch, rows)
        if epoch == 2:
            gone = tmp_path / "run" / vanishes
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

    monkeypatch.setattr(Checkpoint, "save", remove)
    with pytest.raises(InputError, match=r"run: losses\.csv could not be written \(No such file"):
        train("digits", settings=TINY, limit=64, run=tmp_path / "run")


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train("digits", settings=TINY, limit=64, run=tmp_path / "whole")
    run = tmp_path / "run"
    train("digits", settings=TINY, limit=64, run=run)
    (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:1000])
    for name in ("stages.json", "encoder.safetensors"):
        (run / name).unlink()
    again = train("digits", settings=TINY, limit=64, run=run, resume=True)
    assert "checkpoint.pt: damaged; looking for the one before it" in caplog.text
    assert again.encoder.read_bytes() == whole.encoder.read_bytes()
    assert again.loss == whole.loss


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train("digits", settings=TINY, limit=64, run=tmp_path / "first")
    jumps = iter(range(10**9, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    monkeypatch.setattr(time, "time_ns", lambda: next(jumps) * 10**9)
    second = train("digits", settings=TINY, limit=64, run=tmp_path / "second")
    assert second.encoder.read_bytes() == first.encoder.read_bytes()
    assert 0 <= second.seconds < 3600


def test_durations_come_from_a_clock_that_cannot_jump() -> None:
    source = Path(__file__).parents[2] / "src" / "vicinal"
    for path in source.rglob("*.py"):
        assert "time.time(" not in path.read_text("utf-8"), path
