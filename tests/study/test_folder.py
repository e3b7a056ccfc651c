"""A run folder holds one run, and nothing finished is done again."""

from pathlib import Path
from typing import Any

import pytest

from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.report import write_report
from vicinal.runs.kinds import instead_of
from vicinal.runs.run_folder import (
    RunFolder,
    describe_environment,
    held_recipe,
    open_run,
    recipe_for,
)
from vicinal.runs.stages import finished_stages, stage

IDENTITY: dict[str, Any] = {"data": "digits", "limit": None}


def test_a_new_folder_keeps_the_full_recipe(tmp_path: Path) -> None:
    recipe = override(Recipe(), ["training.epochs=7"])
    run = open_run(tmp_path / "a" / "b", IDENTITY, recipe, resume=False)
    assert read_recipe(str(run / "recipe.toml")) == recipe


def test_a_folder_with_a_run_is_never_overwritten(tmp_path: Path) -> None:
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(InputError, match="already holds a run; add resume=True"):
        open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_going_on_where_no_run_is_says_that_one_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for expected in (f"{tmp_path / 'run'}: no run there to go on with; a new one begins\n", ""):
        open_run(tmp_path / "run", IDENTITY, Recipe(), resume=True)
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_command_is_named(resume: bool, tmp_path: Path) -> None:
    open_run(tmp_path / "run", IDENTITY | {"verb": "train"}, Recipe(), resume=False)
    for identity, ours in ((IDENTITY, "study"), (IDENTITY | {"verb": "explore"}, "explore")):
        message = f"holds a run of `vicinal train`, not of `vicinal {ours}`"
        with pytest.raises(InputError, match=message):
            open_run(tmp_path / "run", identity, Recipe(), resume=resume)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (None, "no run here; give the folder of a finished study or explore"),
        ("train", "holds a run of `vicinal train`, an encoder; see what it makes of pictures"),
        ("choose", "holds a run of `vicinal choose`, an encoder"),
        ("study", "not ended; go on with it by `vicinal study --data digits --run .* --resume`"),
        ("explore", "not ended; go on with it by `vicinal explore digits --run .* --resume`"),
    ],
)
def test_what_has_no_report_is_said_to_be_what_it_is(
    held: str | None, message: str, tmp_path: Path
) -> None:
    if held is not None:
        identity = IDENTITY if held == "study" else IDENTITY | {"verb": held}
        open_run(tmp_path, identity, Recipe(), resume=False)
    with pytest.raises(InputError, match=message):
        write_report(tmp_path)


def test_a_finished_run_that_has_lost_files_is_not_said_to_go_on(tmp_path: Path) -> None:
    open_run(tmp_path, IDENTITY | {"verb": "explore"}, Recipe(), resume=False)
    write_json(tmp_path / "explore.json", {})
    said = "holds a finished run of `vicinal explore`, some of whose files are gone"
    assert instead_of(tmp_path, "explore").startswith(said)


@pytest.mark.parametrize(
    ("identity", "settings", "message"),
    [
        ({"data": "mnist", "limit": None}, [], "data = 'digits', not 'mnist'"),
        (IDENTITY, ["training.epochs=5"], "recipe.training.epochs = 30, not 5"),
    ],
)
def test_resuming_another_run_names_the_difference(
    identity: dict[str, Any], settings: list[str], message: str, tmp_path: Path
) -> None:
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "run", identity, override(Recipe(), settings), resume=True)


def test_a_run_from_before_a_field_was_added_goes_on(tmp_path: Path) -> None:
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    kept = tmp_path / "run" / "run.json"
    held = read_json(kept)
    del held["recipe"]["training"]["keep_epochs"]
    write_json(kept, held)
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=True)
    with pytest.raises(InputError, match=r"recipe.training.keep_epochs = \[\], not \[3\]"):
        open_run(
            tmp_path / "run",
            IDENTITY,
            override(Recipe(), ["training.keep_epochs=[3]"]),
            resume=True,
        )


def test_a_folder_of_something_else_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a run's"):
        open_run(tmp_path, IDENTITY, Recipe(), resume=True)
    with pytest.raises(InputError, match="is a file"):
        open_run(tmp_path / "thesis.txt", IDENTITY, Recipe(), resume=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_stage_runs_once_and_an_interrupted_one_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    done = []

    def work(name: str, *, fails: bool = False) -> None:
        with stage(run.path, name) as due:
            if not due:
                return
            done.append(name)
            if fails:
                raise KeyboardInterrupt

    work("one")
    with pytest.raises(KeyboardInterrupt):
        work("two", fails=True)
    work("one")
    work("two")
    assert done == ["one", "two", "two"]
    assert list(finished_stages(run.path)) == ["one", "two"]
    assert read_json(run / "stages.json") == finished_stages(run.path)


def test_the_environment_names_versions_machine_and_seed() -> None:
    described = describe_environment(3, "cpu", "bf16")
    assert described["seed"] == 3
    assert described["device"] == "cpu"
    assert described["precision"] == "bf16"
    for name in ("vicinal", "python", "torch", "numpy", "processor", "threads", "started"):
        assert described[name], name


@pytest.mark.parametrize(
    ("data", "recipe"),
    [
        ("digits", "digits"),
        ("cifar10", "laptop"),
        ("parquet:x-{split}.parquet", "laptop"),
        ("numpy:x.npz", "laptop"),
        ("folder:photos", "photos"),
        ("csv:photos.csv", "photos"),
        ("hub:beans", "photos"),
    ],
)
def test_each_source_has_a_recipe(data: str, recipe: str) -> None:
    assert recipe_for(data) == recipe


def test_a_recipe_that_is_not_known_here_is_one_line(tmp_path: Path) -> None:
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    kept = tmp_path / "run" / "run.json"
    held = read_json(kept)
    held["recipe"]["encoder"]["of_tomorrow"] = 1
    write_json(kept, held)
    with pytest.raises(InputError, match=r"run\.json: .*encoder\.of_tomorrow"):
        held_recipe(tmp_path / "run")


def test_another_recipe_says_how_to_go_on_by_the_runs_own(tmp_path: Path) -> None:
    open_run(tmp_path / "run", IDENTITY, Recipe(), resume=False)
    other = override(Recipe(), ["training.epochs=7"])
    with pytest.raises(InputError, match="or leave recipe and settings out"):
        open_run(tmp_path / "run", IDENTITY, other, resume=True)
