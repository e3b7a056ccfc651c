"""The page is whole, safe and self-contained, and honest where something is missing."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vicinal.errors import InputError
from vicinal.report import write_report

RunMaker = Callable[..., Path]
HOSTILE = '</script><img src=x onerror="alert(1)">'


def own(page: str) -> str:
    """The page without Plotly's own code, which names hosts it never asks."""
    start = page.index("<script")
    longest = max(re.findall(r"<script[^>]*>.*?</script>", page[start:], re.DOTALL), key=len)
    return page.replace(longest, "")


def test_every_section_is_there_with_its_figures(make_run: RunMaker) -> None:
    page = own(write_report(make_run()).read_text("utf-8"))
    for number in range(1, 10):
        assert f'id="s{number}"' in page.lower(), number
    for title in ("The figures", "The claims", "Linear probe", "Retrieval", "Clusters"):
        assert title in page
    assert page.count("holds") >= 1
    assert "data:image/webp;base64," in page


def test_nothing_is_fetched(make_run: RunMaker) -> None:
    page = own(write_report(make_run()).read_text("utf-8"))
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//", page)
    assert "Content-Security-Policy" in page


def test_hostile_names_stay_text(make_run: RunMaker) -> None:
    def rename(results: dict[str, Any]) -> None:
        results["data"]["classes"][0] = HOSTILE
        results["data"]["name"] = HOSTILE
        results["recipe"]["name"] = HOSTILE
        results["claims"][0]["why"] = HOSTILE

    page = own(write_report(make_run(rename)).read_text("utf-8"))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page or "\\u003cimg src=x" in page.lower()


def test_without_labels_the_label_free_parts_still_stand(make_run: RunMaker) -> None:
    def unlabelled(results: dict[str, Any]) -> None:
        results["data"]["classes"] = []
        for name in ("S3", "S4", "S5", "S6"):
            results["systems"][name]["probe_accuracy"] = None
            results["systems"][name]["probe_accuracy_short"] = None
            for key in ("per_class", "confusion", "interval", "train_accuracy", "chance"):
                results["systems"][name].pop(key, None)
        results["systems"]["S3"]["knn"] = results["systems"]["S3"]["few_labels"] = None
        results["systems"]["S2"]["tsne"]["class_agreement"] = None
        results["systems"]["S2"]["pca"]["class_agreement"] = None

    page = own(write_report(make_run(unlabelled)).read_text("utf-8"))
    assert "needs labels" in page
    assert "Effective rank" in page


def test_a_skipped_system_says_why(make_run: RunMaker) -> None:
    def skip(results: dict[str, Any]) -> None:
        results["systems"]["S8"] = {"skipped": "no anomaly set was given"}

    assert "no anomaly set was given" in own(write_report(make_run(skip)).read_text("utf-8"))


def test_copies_of_training_images_in_the_test_set_are_told(make_run: RunMaker) -> None:
    told = "2 of 100 test pictures are copies of training pictures"

    def leak(results: dict[str, Any]) -> None:
        results["data"]["leaks"] = {"tested": 100, "leaked": ["a", "b"], "told": told}

    def clean(results: dict[str, Any]) -> None:
        results["data"]["leaks"] = {"tested": 100, "leaked": [], "told": told}

    assert told in write_report(make_run(leak)).read_text("utf-8")
    assert told not in own(write_report(make_run(clean)).read_text("utf-8"))


def test_missing_maps_and_pictures_leave_a_page(make_run: RunMaker) -> None:
    run = make_run()
    shutil.rmtree(run / "maps")
    shutil.rmtree(run / "pictures")
    assert "The claims" in own(write_report(run).read_text("utf-8"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(InputError, match=r"results\.json"):
        write_report(tmp_path)


def test_drawing_a_report_never_loads_torch(make_run: RunMaker) -> None:
    run = make_run()
    code = (
        "import sys, pathlib; from vicinal.report import write_report; "
        f"write_report(pathlib.Path({json.dumps(str(run))})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
