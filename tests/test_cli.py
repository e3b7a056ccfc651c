"""Whole commands on small real data: what comes out, and one clear line for what cannot be."""

import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import forked
from vicinal import cli
from vicinal.cli.options import reading
from vicinal.errors import InputError
from vicinal.recipes.recipe import Objective, Recipe, Section

QUICK = (
    "training.epochs=2",
    "training.warmup_epochs=0",
    "mined.epochs=1",
    "encoder.backbone=small",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "evaluation.bootstrap=50",
    "evaluation.short_epochs=2",
    "evaluation.map_images=100",
    "evaluation.probe_holdout=0.5",
)


def vicinal(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "200"}
    return forked.run(*arguments, cwd=cwd, env=environment)


def quick(*settings: str) -> list[str]:
    return [part for setting in (*QUICK, *settings) for part in ("--set", setting)]


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("vicinal: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


KEEP = ("--set", "training.keep_epochs=[1, 2]", "--set", "no_variance.epochs=1")


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    done = vicinal("study", "--limit", "300", "--seeds", "2", *quick(), *KEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "report: runs/digits-digits-1/report.html" in done.stdout
    assert "to explore: runs/digits-digits-1/explore.html" in done.stdout
    assert "linear probe, converged" in done.stdout
    return folder / "runs" / "digits-digits-1"


def test_a_study_measures_the_encoders_that_its_trainings_kept(digits_run: Path) -> None:
    systems = json.loads((digits_run / "results.json").read_text("utf-8"))["systems"]
    # S4 was asked for one epoch alone.
    for system, learner, epochs in (("S1", "generated", [1, 2]), ("S4", "no-variance", [1])):
        losses = (digits_run / learner / "losses.csv").read_text("utf-8").splitlines()[1:]
        assert sorted({int(line.split(",")[0]) for line in losses}) == epochs
        assert [kept["epochs"] for kept in systems[system]["by_epochs"]] == epochs
        for kept in systems[system]["by_epochs"]:
            file = f"encoder-epoch-{kept['epochs']}.safetensors"
            assert (digits_run / learner / file).is_file()
            low, high = kept["interval"]
            assert low <= kept["probe_accuracy"] <= high
            assert kept["rankme"] >= 1
            assert 0 <= kept["auroc"]["value"] <= 1
            assert all(one["interval"] is not None for one in kept["knn"].values())
    assert kept["probe_accuracy"] == systems["S4"]["probe_accuracy"]  # of the same encoder
    page = (digits_run / "report.html").read_text("utf-8")
    assert page.count("The encoder as it was after so many epochs") == 2
    assert '"S1-epochs"' in page


def test_results_have_the_public_shape(digits_run: Path) -> None:
    results: dict[str, Any] = json.loads((digits_run / "results.json").read_text("utf-8"))
    assert {"data", "recipe", "environment", "seconds", "systems", "claims"} <= set(results)
    systems = results["systems"]
    assert list(systems) == [f"S{i}" for i in range(1, 10)]
    for name in ("S3", "S4", "S5", "S6"):
        for figure in ("probe_accuracy", "probe_accuracy_short"):
            assert 0 <= systems[name][figure] <= 1
    for name in ("S1", "S4", "S5"):
        assert systems[name]["rankme"] >= 1
    for learner in ("generated", "mined"):
        assert 0 <= systems["S8"][learner]["auroc"] <= 1
        assert -1 <= systems["S9"][learner]["silhouette"] <= 1
    assert [claim["id"] for claim in results["claims"]] == list(range(1, 10))
    assert {claim["holds"] for claim in results["claims"]} <= {True, False, None}
    assert results["data"]["limit"] == 300
    assert results["data"]["train"] == 300
    assert len(results["seeds"]["S3.probe_accuracy"]["values"]) == 2
    assert "study_figure" not in json.dumps(systems)  # these are not CIFAR-10


def test_every_promised_file_is_there(digits_run: Path) -> None:
    for name in ("recipe.toml", "environment.json", "results.json", "report.html"):
        assert (digits_run / name).stat().st_size > 100
    for learner in ("generated", "no-variance", "mined"):
        for name in ("losses.csv", "checkpoint.pt", "encoder.safetensors"):
            assert (digits_run / learner / name).is_file()
    assert (digits_run / "spectral" / "representations-test.parquet").is_file()


def test_a_finished_run_resumes_without_work_and_the_report_draws_again(
    digits_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits_run, tmp_path / "runs" / digits_run.name)
    copy = tmp_path / "runs" / digits_run.name
    weights = (copy / "generated" / "encoder.safetensors").stat().st_mtime_ns
    again = ("study", "--limit", "300", "--seeds", "2", "--resume", "--json", *quick(), *KEEP)
    done = vicinal(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "learn" not in done.stderr
    told = json.loads(done.stdout)
    results = json.loads((tmp_path / told["results"]).read_text("utf-8"))
    probe = next(figure for figure in told["figures"] if figure["name"] == "probe_accuracy")
    assert probe["value"] == results["systems"]["S3"]["probe_accuracy"]
    assert [claim["id"] for claim in told["claims"]] == list(range(1, 10))
    assert (copy / "generated" / "encoder.safetensors").stat().st_mtime_ns == weights
    assert told["explore"] == str(Path("runs") / copy.name / "explore.html")
    (copy / "report.html").unlink()
    (copy / "explore.html").unlink()
    plain = vicinal("study", "--limit", "300", "--seeds", "2", "--resume", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr  # it goes on by the run's own recipe
    assert "learn" not in plain.stderr
    other = ("study", "--limit", "300", "--seeds", "2", "--resume", "--set", "training.epochs=7")
    assert "training.epochs = " in refused(vicinal(*other, cwd=tmp_path))
    (copy / "report.html").unlink()
    (copy / "explore.html").unlink()
    page = str(copy / "report.html")
    assert json.loads(vicinal("report", str(copy), "--json", cwd=tmp_path).stdout)["report"] == page
    assert Path(page).is_file()
    assert (copy / "explore.html").is_file()


def test_a_run_folder_is_not_overwritten(digits_run: Path) -> None:
    before = (digits_run / "results.json").read_bytes()
    line = refused(vicinal("study", "--run", str(digits_run), cwd=digits_run.parent))
    assert "add --resume" in line
    assert (digits_run / "results.json").read_bytes() == before


def pictures(folder: Path, count: int, classes: tuple[str, ...] = ()) -> Path:
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / classes[i % len(classes)] if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("classes", "needs"),
    [
        ((), "labels"),
        (("cat",), "two classes among the training images"),
        (("cat", "dog"), None),
    ],
)
def test_a_folder_of_pictures_with_and_without_labels(
    classes: tuple[str, ...], needs: str | None, tmp_path: Path
) -> None:
    photos = pictures(tmp_path / "photos", 60, classes)
    (photos / "".join(classes[:1]) / "torn.png").write_bytes(b"")
    done = vicinal(
        "study",
        "--data",
        f"folder:{photos}",
        "--run",
        "run",
        "--log",
        "tensorboard",
        *quick("views.size=16", "spectral.neighbours=5", "evaluation.clusters=3"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    systems = json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))["systems"]
    assert systems["S3"].get("needs") == needs
    assert (systems["S3"]["probe_accuracy"] is None) == (needs is not None)
    assert systems["S1"]["rankme"] >= 1
    assert systems["S8"]["skipped"]
    assert "1 picture skipped, see run/skipped.csv" in done.stderr
    assert "torn.png,not an image of a known format" in (tmp_path / "run/skipped.csv").read_text()
    for learner in ("generated", "no-variance", "mined"):
        assert len(list((tmp_path / "run" / learner).glob("events.out.tfevents.*"))) == 1
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    said = set(re.findall(r"needs (?:labels|two classes)[\w ]*", page))
    assert said == {
        None: set(),
        "labels": {"needs labels"},
    }.get(needs, {f"needs {needs}", "needs two classes among the test images"})
    assert (f"Probe: needs {needs}." in page) == (needs is not None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "folder:nowhere"], "nowhere"),
        (["--data", "parquet:nowhere-{split}.parquet"], "nowhere"),
        (["--data", "digitz"], "digits"),
        (["--set", "objective.varience=0"], "did you mean objective.variance"),
        (["--set", "objective.variance=-1"], "greater than or equal to 0"),
        (["--recipe", "fast"], "digits, gpu, laptop, photos, pretrained, record, seed"),
        (["--device", "tpu"], "auto, cpu or cuda"),
        (["--log", "mlflow"], "tensorboard, wandb"),
        (["--limit", "1"], "2 images"),
        (["--limit", "12"], "spectral.neighbours"),
        (["--set", "evaluation.clusters=5000"], "evaluation.clusters"),
        (["--resume"], "no run"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], expected: str, tmp_path: Path) -> None:
    assert expected in refused(vicinal("study", *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("data", ["digits", "MY PHOTOS/", "cifar10"])
def test_a_study_says_how_to_name_its_images(data: str, tmp_path: Path) -> None:
    quoted = f"'{data}'" if " " in data else data
    assert refused(vicinal("study", data, "--seeds", "2", cwd=tmp_path)).endswith(
        f"{data}: study takes no argument; write --data {quoted}"
    )
    assert "misplaced" not in vicinal("study", "--help", cwd=tmp_path).stdout


def test_a_folder_without_pictures_and_a_broken_picture_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(vicinal("study", "--data", "folder:empty", cwd=tmp_path))
    pictures(tmp_path / "photos", 3)
    (tmp_path / "photos" / "notes.jpg").write_text("not a picture")
    assert "notes.jpg" in refused(vicinal("study", "--data", "folder:photos", cwd=tmp_path))


def test_help_fits_a_screen_and_names_the_commands(tmp_path: Path) -> None:
    done = vicinal("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 24
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "study" in done.stdout
    assert "report" in done.stdout
    assert "--anomalies" in vicinal("study", "--help", cwd=tmp_path).stdout


def completed(words: str, cwd: Path) -> list[str]:
    """What bash is told to offer for the last of the words."""
    asked = {"_VICINAL_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    return forked.run(cwd=cwd, env=asked).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("vicinal st", ["study"]),
        ("vicinal study --recipe la", ["laptop"]),
        ("vicinal study --data cifar", ["cifar10", "cifar100"]),
        ("vicinal embed fo", ["folder:"]),
        ("vicinal embed digits --encoder pre", ["pretrained"]),
        ("vicinal explore PHOTOS --start ti", ["timm:"]),
        ("vicinal export run --to torch", ["torchscript", "torch.export"]),
    ],
)
def test_the_shell_completes(words: str, offered: list[str], tmp_path: Path) -> None:
    assert completed(words, tmp_path) == offered


def test_every_command_that_a_program_would_call_speaks_json() -> None:
    from vicinal.cli import PANELS

    assert [
        command.__name__
        for commands in PANELS.values()
        for command in commands
        if "as_json" not in inspect.signature(command).parameters
    ] == []


def test_every_command_has_a_file_of_its_name() -> None:
    from vicinal.cli import PANELS

    for command in (command for commands in PANELS.values() for command in commands):
        name = command.__name__.rstrip("_")
        assert command.__module__ == f"vicinal.cli.{name}"


def fields(section: type[Section]) -> Iterator[tuple[type[Section], str]]:
    """Every field of a section and of those within it, with the section that has it."""
    for name, field in section.model_fields.items():
        yield section, name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from fields(field.annotation)


def test_every_recipe_field_is_read_by_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that nothing reads would be a promise that nothing keeps."""
    from vicinal.study.run import StudyOptions, run_study

    read: set[str] = set()
    plain = Section.__getattribute__

    def recording(self: Section, name: str) -> Any:
        if name in type(self).__dict__.get("__pydantic_fields__", {}):
            read.add(f"{type(self).__name__}.{name}")
        return plain(self, name)

    monkeypatch.setattr(Section, "__getattribute__", recording)
    photos = pictures(tmp_path / "photos", 60, ("cat", "dog"))  # in colour: all views come in
    run_study(
        StudyOptions(
            data=f"folder:{photos}",
            anomalies=f"folder:{photos}",
            recipe="digits",
            settings=(*QUICK, "spectral.neighbours=5", "evaluation.clusters=3"),
            run=tmp_path / "run",
            data_dir=tmp_path / "data",
        )
    )
    expected = {f"{section.__name__}.{field}" for section, field in fields(Recipe)}
    # Other objectives have a section each: tests/objectives.
    own = {f"{section.__name__}.{field}" for section, field in fields(Objective)}
    others = own - {f"Objective.{name}" for name in OF_VICREG}
    assert expected - read - others == OTHERWISE_READ


OF_VICREG = ("name", "convention", "invariance", "variance", "covariance", "target_std", "epsilon")
# Fields that only another choice than this run's reads, with where that is tested.
OTHERWISE_READ = {
    "Training.momentum",  # of LARS: tests/training/test_lars.py
    "Training.trust",
    "Training.trust_clip",
    "Training.buffer",  # of a stream: tests/training/test_stream.py
    "Encoder.mirrored",  # of the join with patch features: tests/training/test_joined.py
    "Encoder.coarse_patches",
    "Views.solarise_threshold",  # where views are solarised: tests/views/test_colour.py
}


README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
COMMANDS = (Path(__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")


def test_the_readmes_python_runs_as_it_stands(digits_run: Path) -> None:
    block = README.split("```python\n")[1].split("```")[0]
    done = forked.run(program=block, cwd=digits_run.parents[1])
    assert done.returncode == 0, done.stderr
    assert "probe_accuracy" in done.stdout


def test_bench_says_what_a_recipe_costs_here(tmp_path: Path) -> None:
    small = tmp_path / "mine.toml"
    small.write_text(
        'name = "mine"\n[views]\nsize = 8\n[encoder]\nbackbone = "small"\nwidths = [8]\n'
        "dimension = 8\n[projector]\nwidths = [16]\n[training]\nepochs = 4\n"
    )
    arguments = ("bench", "--recipe", "mine.toml", "--images", "6000", "--json")
    done = vicinal(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["images"] == 6000
    (row,) = said["recipes"]
    assert row["recipe"] == "mine"
    assert row["embedding"] > row["training"] > 0
    expected = (4 * 6000 / row["training"] + 6000 / row["embedding"]) / 60
    assert row["minutes"] == pytest.approx(expected)
    assert not (tmp_path / "runs").exists()


def test_bench_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert "no recipe 'fast'" in refused(vicinal("bench", "--recipe", "fast", cwd=tmp_path))


def test_the_documented_commands_take_the_options_they_are_shown_with(
    tmp_path: Path,
) -> None:
    lines = [*README.splitlines(), *COMMANDS.splitlines()]
    shown = [line.split("#")[0].split() for line in lines if "    vicinal " in line]
    assert len(shown) >= 30
    helps = {
        name: vicinal(name, "--help", cwd=tmp_path).stdout for name in {words[1] for words in shown}
    }
    for words in shown:
        for option in (word for word in words if word.startswith("--")):
            assert option in helps[words[1]], words


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_that_lacks_a_character_ends_in_no_traceback(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "图 × ü.png"
    streams = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
    for stream, held in streams.items():
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(held, encoding, write_through=True))
    monkeypatch.chdir(tmp_path)
    for arguments in (["--help"], ["embed", name, "--encoder", name, "--out", "a.parquet"]):
        monkeypatch.setattr(sys, "argv", ["vicinal", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code in (0, 2)
    assert b"Usage" in streams["stdout"].getvalue()
    assert b"\\u56fe" in streams["stderr"].getvalue()


def test_the_shell_completes_commands() -> None:
    asked = {
        "_VICINAL_COMPLETE": "complete_bash",
        "_TYPER_COMPLETE_ARGS": "vicinal dup",
        "COMP_WORDS": "vicinal dup",
        "COMP_CWORD": "1",
    }
    done = forked.run(cwd=Path.cwd(), env=asked)
    assert done.stdout.split() == ["duplicates"], done.stderr


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, "finished work is kept, --resume goes on with it"),
        ({"update": "RUN"}, "give the same command again"),
        (None, "give the same command again"),
    ],
)
def test_an_interrupted_command_says_how_it_goes_on(
    options: dict[str, str] | None, how: str
) -> None:
    def resumed(*, resume: bool = False, update: str | None = None) -> None:
        raise KeyboardInterrupt

    def plain() -> None:
        raise KeyboardInterrupt

    with pytest.raises(cli.Interrupted, match=f"^{re.escape(how)}$"):
        cli._interruptible(plain if options is None else resumed)(**options or {})


@pytest.mark.parametrize("most", [0.0, -1.0, float("inf"), float("nan")])
def test_megapixels_that_are_none_are_refused(most: float) -> None:
    with pytest.raises(InputError, match=r"give a number from 0\.000001 on"):
        reading(None, most)
