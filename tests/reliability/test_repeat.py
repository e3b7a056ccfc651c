"""The same command twice on one machine gives the same figures, byte by byte."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import forked

CLOCKED = {"started", "images_per_second", "seconds"}


def timeless(data: Any) -> Any:
    """Plain data without what a clock said."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in CLOCKED}
    return [timeless(item) for item in data] if isinstance(data, list) else data


def results(run: Path) -> str:
    text = (run / "results.json").read_text("utf-8")
    data = json.loads(text)
    assert sum(data["seconds"].values()) > 0
    return json.dumps(timeless(data))


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
def test_the_same_command_twice(study: Path, tmp_path: Path) -> None:
    done = forked.run(*forked.STUDY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = study, tmp_path / "run"
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
