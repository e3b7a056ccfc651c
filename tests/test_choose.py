"""A choice without labels: rounds, halving, going on, and one encoder kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError
from vicinal.files import read_json
from vicinal.recipes import read_recipe
from vicinal.recipes.ignored_differences import ignored
from vicinal.study import choose as verb
from vicinal.study.choose import choose

TINY = (
    *("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]"),
    *("training.batch_size=32", "training.warmup_epochs=0", "evaluation.knn=[5]"),
)


def test_the_worse_half_goes_and_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {
        "minutes": 0.01,
        "objectives": ("vicreg", "barlow", "tcr"),
        "settings": TINY,
        "limit": 200,
        "run": tmp_path / "run",
        "device": "cpu",
        "log": "tensorboard",
    }
    train, calls = verb.train, []

    def cut(*given: Any, **options: Any) -> Any:
        calls.append(options["run"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*given, **options)

    monkeypatch.setattr(verb, "train", cut)
    monkeypatch.setattr(verb, "LEAST", 0.005)
    with pytest.raises(KeyboardInterrupt):
        choose("digits", **asked)
    found = choose("digits", **asked, resume=True)
    assert "6 of 6 trainings had time for only one or two steps" in capsys.readouterr().err
    # Three, two and one of them: the first two of the first round were not trained again.
    assert len(calls) == 7
    by_round: dict[int, dict[str, float]] = {}
    for row in found.table:
        by_round.setdefault(row["round"], {})[row["objective"]] = row["own_view"]
    assert [len(by_round[number]) for number in (1, 2, 3)] == [3, 2, 1]
    dropped = set(by_round[1]) - set(by_round[2])
    assert all(by_round[1][name] <= min(by_round[1][n] for n in by_round[2]) for name in dropped)
    assert list(by_round[3]) == [found.objective] == [max(by_round[2], key=by_round[2].__getitem__)]
    load_encoder(found.run / "encoder.safetensors")
    kept = found.run / "round-3" / found.objective
    assert (kept / "encoder.safetensors").read_bytes() == (
        found.run / "encoder.safetensors"
    ).read_bytes()
    assert read_json(found.run / "choose.json")["objective"] == found.objective
    logged = found.run.glob("round-*/*/events.out.tfevents.*")
    assert len({events.parent for events in logged}) == 6


def test_small_pictures_are_measured_as_they_are_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(60):
        pixels = rng.integers(0, 100, (24, 24, 3), np.uint8)
        pixels[:, :12] += 100  # a mirrored one is told from these
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    found = choose(
        str(tmp_path / "photos"),
        minutes=0.02,
        objectives=("vicreg", "tcr"),
        settings=["training.batch_size=16", "projector.widths=[16, 16]"],
        run=tmp_path / "run",
        device="cpu",
    )
    for file in (tmp_path / "run").glob("**/recipe.toml"):
        recipe = read_recipe(str(file))
        assert recipe.views.size == 32
        assert "flip" not in ignored(recipe.views)
    assert load_encoder(found.run / "encoder.safetensors")[1].size == 32


def test_rounds_have_equal_time() -> None:
    left, used = 1.0, []
    for count in (6, 3, 2, 1):
        mine = 0.0
        for place in range(count):
            share = left * verb._share(count, place)
            left, mine = left - share, mine + share
        used.append(mine)
    assert used == pytest.approx([0.25] * 4)


def test_a_setting_does_not_name_the_objective() -> None:
    with pytest.raises(InputError, match="each of objectives is trained"):
        choose("digits", minutes=1, settings=["objective.name=tcr"])


def test_one_objective_is_no_choice() -> None:
    with pytest.raises(InputError, match="give two or more"):
        choose("digits", minutes=1, objectives=("tcr",))
