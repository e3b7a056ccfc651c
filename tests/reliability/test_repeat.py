"""The same command twice on one machine gives the same figures, byte by byte."""

import json
import re
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

TINY = (
    "training.epochs=2",
    "training.warmup_epochs=0",
    "mined.epochs=1",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "evaluation.bootstrap=50",
    "evaluation.short_epochs=2",
    "evaluation.map_images=100",
    "evaluation.probe_holdout=0.5",
)
SETTINGS = [part for setting in TINY for part in ("--set", setting)]
CLOCKED = {"started", "images_per_second"}  # besides results.json's own "seconds"


def timeless(data: Any) -> Any:
    """Plain data without what a clock said."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in CLOCKED}
    return [timeless(item) for item in data] if isinstance(data, list) else data


def results(run: Path) -> str:
    text = (run / "results.json").read_text("utf-8")
    data = timeless(json.loads(text))
    assert sum(data.pop("seconds").values()) > 0
    return json.dumps(data)


def figures(run: Path) -> dict[str, Any]:
    """Every chart and map of the report but the one of the time each stage took."""
    page = (run / "report.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    del data["charts"]["seconds"]
    assert len(data["charts"]) > 10
    return data


@pytest.mark.slow
def test_the_same_command_twice(context: ForkServerContext, tmp_path: Path) -> None:
    import killed

    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = ["study", "--limit", "100", *SETTINGS, "--threads", "1", "--run", "run"]
        status, _, said = killed.run(context, command, tmp_path / name)
        assert status == 0, said
        runs.append(tmp_path / name / "run")
    one, two = runs
    assert results(one) == results(two)
    assert figures(one) == figures(two)
    for pattern in (
        "*/encoder.safetensors",
        "*/representations-*.parquet",
        "maps/*",
        "pictures/*",
        "explore/**/*.*",
        "explore.html",
    ):
        names = sorted(path.relative_to(one) for path in one.glob(pattern))
        assert names
        assert names == sorted(path.relative_to(two) for path in two.glob(pattern))
        for name in names:
            assert (one / name).read_bytes() == (two / name).read_bytes(), name
