"""Numbers that are not finite, and representations that collapse."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vicinal.errors import InputError
from vicinal.evaluations.collapse import collapse
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Objective, Recipe
from vicinal.study.train import train
from vicinal.training import loop, step
from vicinal.training.device import Engine, open_engine
from vicinal.training.effective_rank import CollapseWatch, sample_rank
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.training.recovery import DivergedError
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

STEPS = 6


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    settings = (
        "encoder.widths=[8]",
        "encoder.dimension=8",
        "projector.widths=[16, 16]",
        "training.batch_size=32",
        "training.warmup_epochs=0",
        "training.schedule=constant",
    )
    return override(read_recipe("digits"), settings)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("cpu", "float32")


@pytest.fixture(scope="module")
def material(recipe: Recipe) -> ArrayBatches:
    from vicinal.images import load

    pixels = load("digits", size=8).train.pixels[: 32 * STEPS]
    return ArrayBatches(
        pixels, GeneratedNeighbours(Augment(recipe.views, *channel_statistics(pixels)))
    )


class Broken:
    """The objective, with a term that breaks at chosen steps, counted from 1 over all epochs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: int, where: str = "loss") -> None:
        self.whole, self.steps, self.where = step.objective, steps, where
        self.rates: list[float] = []
        self.seen = 0
        self.set_rate = loop.set_rate
        monkeypatch.setattr(step, "objective", self)
        monkeypatch.setattr(loop, "set_rate", self.note)

    def note(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        self.rates.append(rate)
        self.set_rate(optimizer, rate)

    def __call__(self, z_a: Tensor, z_b: Tensor, recipe: object, rows: int | None) -> object:
        terms = self.whole(z_a, z_b, recipe, rows)  # type: ignore[arg-type]
        if not z_a.requires_grad:
            return terms
        self.seen += 1
        if self.seen not in self.steps:
            return terms
        if self.where == "gradient":  # the loss is right, and what it teaches is not
            total = terms.total
            total.register_hook(lambda gradient: gradient * float("nan"))
            return terms
        parts = terms.parts | {"covariance": terms.parts["covariance"] * float("nan")}
        return type(terms)(terms.total * float("nan"), parts)


def weights(module: torch.nn.Module) -> bytes:
    return b"".join(t.numpy().tobytes() for t in module.state_dict().values())


@pytest.mark.parametrize(
    ("step", "where", "what"),
    [
        (3, "loss", "the covariance term is not finite in step 3 of epoch 1"),
        (STEPS + 4, "loss", "the covariance term is not finite in step 4 of epoch 2"),
        (STEPS, "gradient", f"the weights are not finite in step {STEPS} of epoch 1"),
    ],
)
def test_a_bad_number_takes_the_training_back_once_at_half_the_rate(
    step: int,
    where: str,
    what: str,
    recipe: Recipe,
    engine: Engine,
    material: ArrayBatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = Broken(monkeypatch, step, where=where)
    monkeypatch.setenv("COLUMNS", "300")
    encoder = pretrain(material, material, recipe, tmp_path, engine.fabric, epochs=3)
    said = " ".join(capsys.readouterr().err.split())
    assert what in said
    assert "trying again from there with half the learning rate" in said
    recorded = json.loads((tmp_path / "recovery.json").read_text())
    epoch = recorded["epoch"]
    assert recorded["learning_rate_factor"] == 0.5
    full = recipe.training.learning_rate
    assert broken.rates == [full] * (STEPS * epoch) + [full / 2] * (STEPS * (4 - epoch))
    assert all(torch.isfinite(t).all() for t in encoder.state_dict().values())
    rows = (tmp_path / "losses.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    assert "nan" not in "".join(rows)


class Scaled:
    """The objective, its total a chosen number of times larger in some steps, from 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, by: dict[int, float]) -> None:
        self.whole, self.by, self.seen = step.objective, by, 0
        monkeypatch.setattr(step, "objective", self)

    def __call__(self, z_a: Tensor, z_b: Tensor, recipe: object, rows: int | None) -> object:
        terms = self.whole(z_a, z_b, recipe, rows)  # type: ignore[arg-type]
        if not z_a.requires_grad:
            return terms
        self.seen += 1
        return type(terms)(terms.total * self.by.get(self.seen, 1.0), terms.parts)


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_a_finite_loss_that_explodes_is_no_success(
    optimizer: str, recipe: Recipe, engine: Engine, material: ArrayBatches, tmp_path: Path
) -> None:
    changes = ["training.learning_rate=1e3", f"training.optimizer={optimizer}"]
    wild = override(recipe, changes)
    with pytest.raises(
        DivergedError, match=r"the loss explodes \(to \S+e\+\d\d\) in step 2 of epoch 1"
    ):
        pretrain(material, material, wild, tmp_path, engine.fabric, epochs=3)
    sent = pickle.loads(pickle.dumps(DivergedError("a", "b", 1.0, "c")))
    assert (str(sent), sent.rate) == (str(DivergedError("a", "b", 1.0, "c")), 1.0)


@pytest.mark.parametrize(
    ("by", "taken_back"),
    [
        (dict.fromkeys(range(1, 40), 1e9), False),  # a high start, and as high ever after
        ({1: 1e12, 2: 1e12}, False),  # a high start that falls
        ({STEPS: 1e12, STEPS + 3: 1e12}, False),  # single wild steps
        (dict.fromkeys(range(STEPS + 2, 2 * STEPS + 1), 1e8), True),
    ],
)
def test_an_explosion_is_told_from_high_starts_and_wild_steps(
    by: dict[int, float],
    taken_back: bool,
    recipe: Recipe,
    engine: Engine,
    material: ArrayBatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Scaled(monkeypatch, by)
    pretrain(material, material, recipe, tmp_path, engine.fabric, epochs=3)
    assert (tmp_path / "recovery.json").is_file() == taken_back
    rows = (tmp_path / "losses.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    if taken_back:
        noted = json.loads((tmp_path / "recovery.json").read_text())
        assert (noted["epoch"], noted["step"]) == (2, 2)


def test_a_resumed_training_keeps_the_lower_rate(
    recipe: Recipe,
    engine: Engine,
    material: ArrayBatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    with monkeypatch.context() as patch:
        Broken(patch, STEPS + 2)
        whole = pretrain(material, material, recipe, tmp_path / "whole", engine.fabric, epochs=4)
    with monkeypatch.context() as patch:
        Broken(patch, STEPS + 2)
        pretrain(material, material, recipe, tmp_path / "parts", engine.fabric, epochs=3)
    parts = pretrain(material, material, recipe, tmp_path / "parts", engine.fabric, epochs=4)
    assert weights(whole) == weights(parts)


def test_a_second_bad_number_stops_and_names_what_is_good(
    recipe: Recipe,
    engine: Engine,
    material: ArrayBatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Broken(monkeypatch, STEPS + 2, STEPS + 8)  # the retry's own second step
    with pytest.raises(InputError) as refused:
        pretrain(material, material, recipe, tmp_path, engine.fabric, epochs=3)
    line = str(refused.value)
    assert "the covariance term is not finite in step 2 of epoch 2, also at half" in line
    assert f"{tmp_path / 'checkpoint.pt'} holds the state after epoch 1" in line
    assert "lower training.learning_rate (now 0.002)" in line
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 1
    assert all(torch.isfinite(t).all() for t in state["model"].values())


def test_a_long_epoch_does_not_run_to_its_end(
    recipe: Recipe,
    engine: Engine,
    material: ArrayBatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vicinal.training import recovery

    monkeypatch.setattr(recovery, "EVERY", 2)
    broken = Broken(monkeypatch, 3, 6)
    with pytest.raises(InputError, match="also at half"):
        pretrain(material, material, recipe, tmp_path, engine.fabric, epochs=1)
    assert broken.seen == 4 + 2  # steps of the first try and of the second, of six each


def test_the_rank_is_the_evaluations_rank() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 12), (12, 40), (30, 30)):
        array = (rng.normal(size=shape) @ np.diag(0.7 ** np.arange(shape[1]))).astype(np.float32)
        ours = sample_rank(torch.from_numpy(array))
        assert ours == pytest.approx(collapse(array).rankme.value, rel=1e-6)
    assert sample_rank(torch.zeros(5, 3)) == 0
    assert sample_rank(torch.ones(5, 3)) == pytest.approx(1, abs=1e-5)  # ε, twice
    assert sample_rank(torch.eye(8)) == pytest.approx(8)
    assert np.isnan(sample_rank(torch.full((5, 3), torch.nan)))


def test_a_fall_of_the_rank_is_said_once() -> None:
    watch = CollapseWatch(Objective())
    lines = [watch.fell(rank) for rank in (2.0, 7.0, 5.1, float("nan"), 4.9, 2.0, 1.0)]
    assert [line is not None for line in lines] == [False] * 4 + [True, False, False]
    assert "fell from 7.0 to 4.9" in str(lines[4])
    flat = CollapseWatch(Objective())
    assert not any(flat.fell(rank) for rank in (1.4, 1.3, 1.0, 1.2))  # it never had one


@pytest.mark.parametrize(("variance", "said"), [(25, 0), (0, 1)])
def test_a_training_that_collapses_says_so(
    variance: int, said: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # At half as much again as the recipe's rate it falls far enough without AVX512, too.
    fast = ("training.epochs=6", "training.learning_rate=3e-3")
    settings = (f"objective.variance={variance}", *fast)
    train("digits", settings=settings, run=tmp_path / "run")
    words = " ".join(capsys.readouterr().err.split())
    assert words.count("the representations are collapsing: their effective rank") == said
    rows = [row.split(",") for row in (tmp_path / "run" / "losses.csv").read_text().splitlines()]
    assert rows[0][-1] == "rankme"
    assert [bool(row[-1]) for row in rows[1:]] == [False, True] * 6  # of test images alone
