"""Files are replaced whole or not at all."""

import math
from pathlib import Path

import pytest

from vicinal.errors import InputError
from vicinal.files import read_json, replacing, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def interrupted() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        interrupted()
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_number_that_json_lacks_becomes_null_at_any_depth(tmp_path: Path) -> None:
    data = {"a": math.nan, "b": [1.5, (math.inf, {"c": -math.inf})], "d": True}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [1.5, [None, {"c": None}]], "d": True}


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: missing"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json: damaged"):
        read_json(tmp_path / "a.json")
