"""The cost model and the simulation behind docs/scale.md, against sums worked out by hand."""

import importlib
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for held in ("measuring", name):
        monkeypatch.delitem(sys.modules, held, raising=False)
    return importlib.import_module(name)


def test_a_stage_costs_what_its_images_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("scale_page", monkeypatch)
    costs = model.Costs(
        **{field.name: 0.0 for field in fields(model.Costs)}
        | {
            "decode": 3.6e-3,
            "train": model.PEAK * model.USED * 3600e-6,
            "forward": 2.0,
            "pixels": 10.0,
            "vector": 4.0,
            "ivfpq": 7.2e-3,
            "ivfpq_bytes": 6.0,
            "passed": 3.6e-9,
        }
    )
    stages = {one.name: one for one in model.stages(costs, 2_000_000, 5)}
    decode = stages["decode and store"]
    assert decode.bytes == 2e7
    assert decode.core_hours == pytest.approx(2.0)
    assert decode.dollars == pytest.approx(2 * model.CORE_PRICE)
    assert decode.wall_hours == pytest.approx(2 / model.CORES)
    train = stages["train, 5 epochs"]
    assert train.gpu_hours == pytest.approx(10.0)
    assert train.dollars == pytest.approx(10 * model.GPU_PRICE)
    assert stages["embed, decoding again"].operations == 4e6
    index = stages["index (ivfpq)"]
    assert (index.bytes, index.core_hours) == (2e7, pytest.approx(4.0))
    pairs = stages["anomalies or duplicates, exact"]
    assert pairs.core_hours == pytest.approx(4e12 * 3.6e-9 / 3600)


def test_the_simulation_counts_bytes_and_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = loaded("scale_sim", monkeypatch)
    assert sim.traffic("gather", 1, 64, 8) == sim.traffic("reduce", 1, 64, 8) == 0
    assert sim.traffic("gather", 4, 64, 8) == 48 * 8 * 4  # the rows of three others
    assert sim.traffic("reduce", 4, 64, 8) == 2 * 3 / 4 * 8 * 8 * 4
    assert sim.operations("gather", 1, 64, 8) == sim.operations("reduce", 1, 64, 8)
    assert sim.operations("gather", 4, 8, 64) == 2 * 8 * 8 * 64 + 2 * 2 * 8 * 64
    both = {"gather": 0.0, "reduce": 0.0}
    free = sim.Machine("", 1e30, 0.0, both, {"gather": 1e9, "reduce": 1e9})
    for batch, width in ((1000, 501), (1000, 499)):  # by bytes, gather while B < 2 D
        said = [sim.predicted(way, free, 8, batch, width) for way in ("gather", "reduce")]
        assert (said[0] < said[1]) == (batch < 2 * width)


def test_both_ways_are_the_statistics_they_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import torch.distributed as dist

    sim = loaded("scale_sim", monkeypatch)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        for rows, width in ((5, 9), (9, 5)):
            own = torch.randn(rows, width, requires_grad=True)
            loss = (own.T @ own).square().sum()
            (gradient,) = torch.autograd.grad(loss, own)
            for way in (sim.gathered, sim.reduced):
                value, own_gradient = way(own.detach(), sim.Clock())
                torch.testing.assert_close(value, loss.detach())
                torch.testing.assert_close(own_gradient, gradient)
    finally:
        dist.destroy_process_group()


def test_the_page_is_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("scale_page", monkeypatch)
    text = PAGE.read_text("utf-8")
    assert all(f"- {line}" in text for line in model.stated())
    for count in model.SIZES:
        assert f"## {count:,} images" in text
    assert len(re.findall(r"^\| (?:gather|reduce|\d|8 ×|16 CPU|64 ×|512 ×)", text, re.M)) >= 40
