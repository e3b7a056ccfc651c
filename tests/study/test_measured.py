"""Systems measured side by side: the same figures, whatever happens to the processes."""

import gc
import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import context
from threadpoolctl import threadpool_limits

import forked
from vicinal import cores
from vicinal.errors import InputError, StorageError
from vicinal.estimators.patches import PatchFeatures
from vicinal.files import read_json, write_json
from vicinal.images import load, load_anomalies
from vicinal.recipes import read_recipe
from vicinal.runs.run_folder import RunFolder
from vicinal.runs.stages import finished_stages
from vicinal.study import side_by_side
from vicinal.study.compare_objectives import objectives_over_seeds, parse_objectives
from vicinal.study.data import Data
from vicinal.study.side_by_side import LONGEST_FIRST, in_order, measure_all
from vicinal.study.systems import SYSTEMS, Measure

LIMIT = 200


@pytest.fixture
def run(study: Path) -> Path:
    """A finished study of the digits, measured in turn by one thread; don't write to it."""
    return study


@pytest.fixture
def learned(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """What measures a copy of the run that has been through its learners alone, side by side."""
    monkeypatch.setattr(side_by_side, "PAYS", 0)
    monkeypatch.setattr(cores, "most", lambda: 2)
    folder = RunFolder(Path(shutil.copytree(run, tmp_path / "run")))
    for name in SYSTEMS:
        (folder / f"{name}.json").unlink()
    shutil.rmtree(folder / "maps")
    learned = {
        name: time
        for name, time in finished_stages(folder.path).items()
        if name.startswith("learn ")
    }
    write_json(folder / "stages.json", learned)
    recipe = read_recipe(str(folder / "recipe.toml"))
    digits = load("digits", size=recipe.views.size, seed=recipe.seed, limit=LIMIT)
    patches = load_anomalies("patches", size=recipe.views.size, channels=1, seed=recipe.seed)
    return Measure(folder, Data(digits.train, digits.test, patches), recipe)


def one_thread() -> Any:
    torch.set_num_threads(1)
    return threadpool_limits(1)


@pytest.fixture(autouse=True, scope="module")
def _forked() -> Iterator[None]:
    """Measuring processes are forked from one that has imported torch."""
    forked.server()
    context.set_start_method("forkserver", force=True)
    yield
    context.set_start_method(None, force=True)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def figures(folder: Path) -> dict[str, Any]:
    return {name: read_json(folder / f"{name}.json") for name in SYSTEMS}


def test_every_system_has_its_place_in_the_order() -> None:
    assert sorted(LONGEST_FIRST) == sorted(SYSTEMS)


def test_objectives_stand_beside_each_other(run: Path) -> None:
    results = read_json(run / "results.json")
    found = results["objectives"]
    assert [one["title"] for one in found.values()] == ["VICReg", "NT-Xent"]
    # The recipe's own objective is S1, trained once, with S4 beside it.
    own, system = found["vicreg"], results["systems"]
    assert own["probe_accuracy"] == system["S3"]["probe_accuracy"]
    assert own["rankme"] == system["S1"]["rankme"]
    assert own["auroc"] == system["S8"]["generated"]["auroc"]
    assert own["silhouette"] == system["S9"]["generated"]["silhouette"]
    assert own["retrieval"] == system["S7"]["generated"]["precision_at_k"]
    assert own["without_rankme"] == read_json(run / "S4.json")["rankme"]
    assert not (run / "objective-vicreg").exists()
    other = found["ntxent"]
    assert other["probe_accuracy"] != own["probe_accuracy"]
    assert set(other) == set(own)
    assert (run / "maps" / "objective-ntxent-tsne.parquet").is_file()
    best = max(found, key=lambda name: float(found[name]["own_view"]))
    assert results["recommended"] == best
    for figures in found.values():
        assert 0 <= figures["own_view"] <= 1
        assert figures["lidar"] >= 1
        assert figures["seconds"] > 0
    page = (run / "report.html").read_text("utf-8")
    assert "Which objective suits these images?" in page
    assert f"<b>{found[best]['title']}</b> is recommended" in page


def test_the_spread_over_seeds_has_every_number() -> None:
    runs = [{"tcr": {"title": "TCR", "knn": knn, "auroc": None}} for knn in (0.5, 0.7)]
    (joined,) = objectives_over_seeds(runs).values()
    assert joined["over_seeds"].keys() == {"knn"}
    assert joined["over_seeds"]["knn"]["mean"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("text", "said"), [("vicreg,byol", "'byol' is unknown"), ("tcr,tcr", "'tcr' is named twice")]
)
def test_objectives_that_cannot_be_compared_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"{said}; give all, or some of vicreg, barlow"):
        parse_objectives(text)
    assert parse_objectives("all")[:2] == ("vicreg", "barlow")
    assert parse_objectives(None) == ()


def test_times_are_told_in_the_systems_order() -> None:
    ended = {"learn a": 1.0, "measure S3": 3.0, "measure S1": 2.0, "pictures": 4.0}
    assert list(in_order(ended).items()) == [
        ("learn a", 1.0),
        ("measure S1", 2.0),
        ("measure S3", 3.0),
        ("pictures", 4.0),
    ]


def test_side_by_side_gives_the_figures_of_one_after_the_other(
    run: Path, learned: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 107.0])  # before and after all of them
    monkeypatch.setattr(side_by_side, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    before = sum(finished_stages(learned.run.path).values())
    measure_all(learned)
    assert sum(finished_stages(learned.run.path).values()) - before == pytest.approx(7, abs=0.01)
    assert figures(learned.run.path) == figures(run)
    # The run compares two objectives as well, which is a stage of its own.
    every = sorted(path.name for path in (run / "maps").iterdir())
    maps = [name for name in every if not name.startswith("objective-")]
    assert sorted(path.name for path in (learned.run / "maps").iterdir()) == maps
    for name in maps:
        assert (learned.run / "maps" / name).read_bytes() == (run / "maps" / name).read_bytes()
    assert {f"measure {name}" for name in SYSTEMS} <= finished_stages(learned.run.path).keys()


def test_what_is_finished_is_not_measured_again(run: Path, learned: Measure) -> None:
    shutil.copytree(run, learned.run.path, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in learned.run.path.glob("S*.json")}
    (learned.run / "S1.json").unlink()
    (learned.run / "S4.json").unlink()
    measure_all(learned)
    after = {path: path.stat().st_mtime_ns for path in learned.run.path.glob("S*.json")}
    assert {path.name for path in before if before[path] != after[path]} == {"S1.json", "S4.json"}


def test_a_killed_process_leaves_the_rest_to_one_at_a_time(
    run: Path,
    learned: Measure,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    killed = []

    def kill_then_write(path: Path, figures: Any) -> None:
        if not killed:
            killed.extend(get_reusable_executor(reuse=True)._processes)
            for process in killed:
                os.kill(process, signal.SIGKILL)
        write_json(path, figures)

    monkeypatch.setattr(side_by_side, "write_json", kill_then_write)
    with one_thread():
        measure_all(learned)
    assert len(killed) == 2
    assert figures(learned.run.path) == figures(run)
    assert capfd.readouterr().err.count("a measuring process was killed") == 1


def test_a_damaged_file_is_one_line_from_another_process_too(learned: Measure) -> None:
    damaged = learned.run / "mined" / "representations-train.parquet"
    damaged.write_bytes(b"not parquet")
    with pytest.raises(
        InputError, match=r"representations-train\.parquet: cannot be read"
    ) as caught:
        measure_all(learned)
    assert "\n" not in str(caught.value)


def test_a_full_disk_ends_the_processes_without_another_word(
    learned: Measure, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def full(path: Path, _: Any) -> None:
        raise StorageError(path, "No space left on device")

    monkeypatch.setattr(side_by_side, "write_json", full)
    with pytest.raises(StorageError, match="No space left"):
        measure_all(learned)
    gc.collect()
    assert not recwarn.list
    assert not get_reusable_executor(reuse=True)._processes


def test_a_full_disk_is_told_across_processes() -> None:
    error = StorageError(Path("run") / "S1.json", "No space left on device")
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.reason, str(again)) == (error.path, error.reason, str(error))


def test_small_sets_a_gpu_one_core_and_little_memory_stay_in_this_process(
    run: Path, learned: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("another process")

    monkeypatch.setattr(side_by_side, "_side_by_side", refuse)
    with pytest.raises(AssertionError, match="another process"):
        measure_all(learned)
    whole = RunFolder(Path(shutil.copytree(run, tmp_path / "whole")))
    finished = Measure(whole, learned.data, learned.recipe)
    measure_all(Measure(finished.run, finished.data, finished.recipe, device="cuda"))
    with monkeypatch.context() as one_core:
        one_core.setattr(cores, "most", lambda: 1)
        measure_all(finished)
    with monkeypatch.context() as small_set:
        small_set.setattr(side_by_side, "PAYS", LIMIT + 1)
        measure_all(finished)
    widest = 8 * PatchFeatures().n_filters * 4  # bytes of the widest row, that of the patches
    pages = {"SC_PHYS_PAGES": side_by_side.SETS * LIMIT, "SC_PAGE_SIZE": widest - 1}
    with monkeypatch.context() as little_memory:
        little_memory.setattr(os, "sysconf", pages.__getitem__)
        measure_all(finished)
    with monkeypatch.context() as enough:
        enough.setattr(os, "sysconf", (pages | {"SC_PAGE_SIZE": widest}).__getitem__)
        with pytest.raises(AssertionError, match="another process"):
            measure_all(learned)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_an_interruption_is_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    script = (
        "from vicinal import cores; from vicinal.study import side_by_side;"
        "from vicinal.cli import main;"
        "side_by_side.PAYS = 0; cores.most = lambda: 2; main()"
    )
    settings = [word for setting in forked.STUDY_SETTINGS for word in ("--set", setting)]
    command = ("study", "--run", "run", *settings)
    study = forked.start(*command, program=script, cwd=tmp_path, new_session=True)
    stages = tmp_path / "run" / "stages.json"
    while not (stages.is_file() and "learn spectral" in stages.read_text("utf-8")):
        assert study.poll() is None
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(study.pid, signal.SIGINT)
    _, told = study.communicate()
    assert study.returncode == 130
    assert "Traceback" not in told
    assert "Warning" not in told
    assert "interrupted; finished work is kept" in told
    for _ in range(6000):  # joblib's watcher ends a moment later, and the machine may be busy
        if not alive(study.pid):
            return
        time.sleep(0.1)
    pytest.fail("a process is left")


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
