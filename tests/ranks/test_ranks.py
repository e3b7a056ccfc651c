"""Ranks: real processes find the loss and the gradients that one process finds."""

import csv
import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import forked
from vicinal import distributed
from vicinal.objectives import OBJECTIVES, directions, of_recipe, vicreg
from vicinal.recipes.recipe import Objective
from vicinal.training.device import meeting

WORKER = Path(__file__).with_name("worker.py")
WORLDS = (2, 3, 4)
TINY = (
    *("--limit", "300", "--device", "cpu"),
    *("--set", "training.epochs=2", "--set", "training.precision=float32"),
    *("--set", "training.warmup_epochs=0", "--set", "training.batch_size=50"),
    *("--set", "encoder.widths=[8]", "--set", "encoder.dimension=8"),
    *("--set", "projector.widths=[16,16]"),
)


def quiet(folder: Path) -> dict[str, str]:
    """The environment of a process that leaves the other cores alone."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TORCHELASTIC", "SLURM"))}
    return kept | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rank_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What groups of 2, 3 and 4 real processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [
        forked.start(
            number, folder, program=WORKER.read_text("utf-8"), cwd=folder, env=quiet(folder)
        )
        for number in range(max(WORLDS))
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * max(WORLDS), said
    return {world: torch.load(folder / f"{world}.pt", weights_only=False) for world in WORLDS}


def alone(z_a: Tensor, z_b: Tensor) -> dict[str, Tensor]:
    """Autograd's own loss and gradients of the whole batch, in float64, by the definition."""
    a, b = (z.double().requires_grad_() for z in (z_a, z_b))
    spread, redundancy = torch.zeros(()).double(), torch.zeros(()).double()
    for z in (a, b):
        covariance = torch.cov(z.T)
        diagonal = covariance.diagonal()
        spread = spread + torch.relu(1 - torch.sqrt(diagonal + 1e-4)).mean()
        redundancy = redundancy + (covariance - diagonal.diag()).square().sum() / z.shape[1]
    closeness = (a - b).square().mean()
    total = 25 * closeness + 25 * spread + redundancy
    total.backward()  # type: ignore[no-untyped-call]
    assert a.grad is not None
    assert b.grad is not None
    return {
        "total": total.detach(),
        "invariance": closeness.detach(),
        "variance": spread.detach(),
        "covariance": redundancy.detach(),
        "gradient of a": a.grad,
        "gradient of b": b.grad,
    }


def close(ours: Tensor, true: Tensor, tolerance: float) -> bool:
    """Whether the largest difference is within the tolerance of the largest value."""
    return bool((ours.double() - true.double()).abs().max() <= tolerance * true.abs().max())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("way", ["chosen", "gather", "reduce"])
@pytest.mark.parametrize("case", ["few", "many", "uneven"])
def test_the_objective_is_the_whole_batchs(
    world: int, way: str, case: str, found: dict[int, dict[str, Any]], worker: ModuleType
) -> None:
    ours = found[world]["objective"][case, way]
    for name, true in alone(*worker.embeddings(case)).items():
        # With n > d the gathered product is the one that loses digits, and is never chosen.
        tolerance = (
            1e-4 if name.startswith("gradient") or (way, case) == ("gather", "many") else 1e-5
        )
        assert close(ours[name], true, tolerance), name


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_the_whole_batchs(
    world: int, name: str, found: dict[int, dict[str, Any]], worker: ModuleType
) -> None:
    ours = found[world]["others"][name]
    settings = Objective.model_validate({"name": name})
    whole = [z.double().requires_grad_() for z in worker.embeddings("uneven")]
    drawn = directions(settings, whole[0].shape[1], 0)
    terms = of_recipe(whole[0], whole[1], settings, None, *drawn)
    assert float(ours["total"]) == pytest.approx(terms.total.item(), rel=1e-5)
    for part, value in terms.parts.items():
        assert float(ours[part]) == pytest.approx(value.item(), rel=1e-4, abs=1e-6), part
    for view, true in zip("ab", torch.autograd.grad(terms.total, whole), strict=True):
        assert close(ours[f"gradient of {view}"], true, 1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_a_network_with_batchnorm_learns_as_on_one_process(
    world: int, found: dict[int, dict[str, Any]], worker: ModuleType
) -> None:
    model = worker.network()
    a, b = worker.images()
    total = vicreg(model(a), model(b)).total
    total.backward()  # type: ignore[no-untyped-call]
    ours = found[world]["network"]
    assert float(ours["total"]) == pytest.approx(total.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert close(ours[f"gradient of {name}"], parameter.grad, 1e-4), name
    for name, buffer in model.named_buffers():
        if "running" in name:
            assert close(ours[name], buffer, 1e-5), name
    assert close(ours["evaluated"], model.eval()(a), 1e-5)


@pytest.mark.parametrize("world", WORLDS)
def test_batchnorm_of_half_precision_has_float32_statistics(
    world: int, found: dict[int, dict[str, Any]]
) -> None:
    batch = torch.randn(25, 3, 4, 4, generator=torch.Generator().manual_seed(3)) + 2
    whole = nn.BatchNorm2d(3)(batch.bfloat16().float())
    assert found[world]["half"].shape == whole.shape
    assert (found[world]["half"].float() - whole).abs().max() < 0.02  # bfloat16 at 3 is 1/64


@pytest.mark.parametrize("world", WORLDS)
def test_statistics_of_each_rank_are_another_objective(
    world: int, found: dict[int, dict[str, Any]], worker: ModuleType
) -> None:
    whole = worker.embeddings("many")
    edges = [50 * number // world for number in range(world + 1)]
    parts = [vicreg(*(z[low:high] for z in whole)).total for low, high in pairwise(edges)]
    mean = float(torch.stack(parts).mean())
    assert float(found[world]["per-rank"]) == pytest.approx(mean, rel=1e-5)
    assert mean != pytest.approx(float(vicreg(*whole).total), rel=1e-3)


@pytest.mark.parametrize("world", WORLDS)
def test_a_failure_of_the_first_rank_ends_the_others(
    world: int, found: dict[int, dict[str, Any]]
) -> None:
    assert found[world]["refusals"] == ["only here"] + ["exit 2"] * (world - 1)
    assert found[world]["in turn"] == 7


@pytest.mark.parametrize("world", WORLDS)
def test_the_first_ranks_clock_decides_how_far_all_are(
    world: int, found: dict[int, dict[str, Any]]
) -> None:
    places = found[world]["places"]
    assert places == [places[0]] * world
    assert 5 < len(places[0]) < 500
    assert places[0] == sorted(places[0])
    assert places[0][-1] > 0.9 * 500


def test_shares_are_every_row_once() -> None:
    for rows in (1, 5, 24, 25):
        for world in (1, 2, 3, 4):
            shares = [distributed._share(rows, number, world) for number in range(world)]
            assert [i for s in shares for i in range(s.start, s.stop)] == list(range(rows))
            sizes = [s.stop - s.start for s in shares]
            assert max(sizes) - min(sizes) <= 1


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_ranks_train_as_one(tmp_path: Path) -> None:
    """The command itself: alone, with --devices 2, and with two ranks of torchrun."""
    train, places = ["train", "digits", *TINY], {"cwd": tmp_path, "env": quiet(tmp_path)}
    ended = [
        forked.run(*train, "--run", "one", **places),
        forked.run(*train, "--run", "two", "--devices", "2", program=forked.MODULE, **places),
        forked.run(
            *("--standalone", "--nproc-per-node", "2", "-m", "--"),
            *("vicinal", *train, "--run", "torchrun"),
            program=forked.TORCHRUN,
            **places,
        ),
    ]
    for done in ended:
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("encoder:") == 1  # rank 0 alone speaks
        assert done.stderr.count("train epoch 2/2") == 1
    one = rows(tmp_path / "one")
    for many in ("two", "torchrun"):
        alone = {p.name for p in (tmp_path / "one").iterdir()}
        assert {p.name for p in (tmp_path / many).iterdir()} == alone
        # Ranks keep to their threads, so there is one number from the first step on.
        assert (tmp_path / many / "threads.csv").read_text() == "epoch,step,threads\n1,1,1\n"
        for ours, theirs in zip(rows(tmp_path / many), one, strict=True):
            assert (ours["epoch"], ours["split"]) == (theirs["epoch"], theirs["split"])
            # On test views BatchNorm's running means differ a little: the biases before it
            # have no gradient but rounding, which Adam makes steps of.
            tolerance = 1e-5 if ours["split"] == "train" else 1e-3
            assert float(ours["total"]) == pytest.approx(float(theirs["total"]), rel=tolerance)


def test_two_ranks_train_what_a_study_compares(tmp_path: Path) -> None:
    """The first measures and writes; each training has its minutes."""
    command = ["study", *TINY, "--run", "two", "--devices", "2", "--minutes", "0.05"]
    places = {"cwd": tmp_path, "env": quiet(tmp_path)}
    done = forked.run(*command, "--json", program=forked.MODULE, **places)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)  # the first rank alone speaks
    assert done.stderr.count("learn mined") == 1
    run = tmp_path / "two"
    assert json.loads((run / "results.json").read_text())["environment"]["ranks"] == 2
    for learner in ("generated", "no-variance", "mined"):
        assert json.loads((run / learner / "minutes.json").read_text())["minutes"] == 0.05
        assert rows(run / learner)


def test_what_torchrun_started_is_not_contradicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vicinal.errors import InputError
    from vicinal.training.device import open_ranks

    for name, value in {"RUN_ID": "x", "RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert distributed.restarted()
    with pytest.raises(InputError, match="2 ranks on each of 2 nodes"):
        open_ranks("cpu", "float32", devices=4, nodes=None)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="start the same number on every node"):
        open_ranks("cpu", "float32", devices=None, nodes=None)


def test_ranks_started_again_do_not_meet_those_before() -> None:
    """Two rounds of three ranks in one store, the second with all that the first has left."""
    store = dist.HashStore()
    names = []
    for late in (1, 2):  # another rank comes last
        with ThreadPoolExecutor(3) as pool:
            order = sorted(range(3), key=lambda rank: rank == late)
            found = [pool.submit(meeting, store, rank, 3) for rank in order]
            names.append({future.result(timeout=600) for future in found})
    assert [len(name) for name in names] == [1, 1]
    assert names[0] != names[1]


def test_nodes_need_somebody_who_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from vicinal.errors import InputError
    from vicinal.training.device import open_ranks

    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="torchrun or srun on every node"):
        open_ranks("cpu", "float32", devices=1, nodes=2)
