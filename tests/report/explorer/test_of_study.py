"""From a study's report to its test images: the page behind the maps in S2."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, expect
from typer.testing import CliRunner

import forked
from vicinal.cli import app
from vicinal.explore import TEST_IMAGES, page_of_test_images
from vicinal.report import page as report_page
from vicinal.report import write_explorer, write_report
from vicinal.report.explorer.server import open_server
from vicinal.representations.neighbours import nearest_and_farthest
from vicinal.representations.representations import Representations
from vicinal.study.run import StudyOptions, run_study

SHOWN = 120  # of the digits' 500 test images


def resumed(run: Path) -> Path:
    """Goes on with a copy of the fixture `study`."""
    settings = forked.STUDY_SETTINGS
    request = StudyOptions(data="digits", limit=200, settings=settings, run=run, resume=True)
    return run_study(replace(request, objectives=("vicreg", "ntxent")), [TEST_IMAGES])


@pytest.fixture
def run(study: Path) -> Path:
    """A finished study of the digits with its report; don't write to it."""
    return study


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def section_of(report: Path) -> str:
    """S2 of a report."""
    found = re.search(r'<section id="S2">.*?</section>', report.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[0]


def drawn_by_s2(run: Path, name: str) -> Any:
    return pq.read_table(run / "maps" / f"generated-{name}.parquet")


def test_it_has_the_images_and_the_places_of_s2(run: Path) -> None:
    points = pq.read_table(run / "explore" / "points.parquet")
    assert points.num_rows == SHOWN
    for name in ("pca", "tsne"):
        theirs = drawn_by_s2(run, name)
        assert points.column("id").to_pylist() == theirs.column("id").to_pylist()
        for axis in "xy":
            ours = points.column(f"{name}_{axis}").to_numpy()
            np.testing.assert_array_equal(ours, theirs.column(axis).to_numpy())
    figures = json.loads((run / "explore" / "explore.json").read_text("utf-8"))
    s2 = json.loads((run / "S2.json").read_text("utf-8"))
    for name in ("pca", "tsne"):
        assert figures["maps"][name]["trustworthiness"] == s2[name]["trustworthiness"]
    assert figures["data"]["classes"] == [str(digit) for digit in range(10)]
    assert figures["clusters"]["k"] == 10


def test_neighbours_labels_and_thumbnails_are_of_these_images(run: Path) -> None:
    points = pq.read_table(run / "explore" / "points.parquet").to_pydict()
    test = Representations.load(run / "generated" / "representations-test.parquet")
    row = {name: number for number, name in enumerate(test.ids.tolist())}
    test = test.take(np.array([row[name] for name in points["id"]]))
    near, far = nearest_and_farthest(test.array, test.array, 10, exclude_self=True)
    np.testing.assert_array_equal(points["neighbors"], near.indices)
    np.testing.assert_array_equal(points["farthest"], far.indices[:, :5])
    assert test.labels is not None
    assert points["label"] == [test.class_names[label] for label in test.labels]
    tiles = pq.read_table(run / "explore" / "pictures" / "index.parquet")
    assert tiles.column("id").to_pylist() == [str(number) for number in range(SHOWN)]


def test_its_health_card_names_no_option_of_explore(run: Path) -> None:
    told = (run / "explore" / "health.json").read_text("utf-8")
    assert "beside no training" in told
    assert "--minutes" not in told


def test_a_finished_stage_is_not_done_again_and_one_that_lacks_a_file_is(copy: Path) -> None:
    points = copy / "explore" / "points.parquet"
    before = points.read_bytes(), points.stat().st_mtime_ns
    assert "explore" in json.loads((copy / "stages.json").read_text("utf-8"))
    assert "explore" in json.loads((copy / "results.json").read_text("utf-8"))["seconds"]
    resumed(copy)
    assert (points.read_bytes(), points.stat().st_mtime_ns) == before
    (copy / "explore" / "explore.json").unlink()
    began = time.time_ns()
    resumed(copy)
    assert points.read_bytes() == before[0]
    assert points.stat().st_mtime_ns > began > before[1]


def test_a_stage_that_was_broken_off_is_not_there_and_then_is_whole(
    run: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy / "explore")
    stages = json.loads((copy / "stages.json").read_text("utf-8"))
    del stages["explore"]
    (copy / "stages.json").write_text(json.dumps(stages), "utf-8")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(page_of_test_images, "write_pictures", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resumed(copy)
    assert json.loads((copy / "stages.json").read_text("utf-8")) == stages
    assert "explore.html" not in section_of(write_report(copy))
    resumed(copy)
    files = [path.relative_to(run) for path in (run / "explore").rglob("*.*")]
    assert len(files) > 10
    for name in files:
        assert (copy / name).read_bytes() == (run / name).read_bytes(), name


def test_a_study_from_before_there_was_the_stage_has_no_link(copy: Path) -> None:
    shutil.rmtree(copy / "explore")
    (copy / "explore.html").unlink()
    result = CliRunner().invoke(app, ["report", str(copy)])
    assert result.exit_code == 0, result.output
    assert "explore" not in section_of(copy / "report.html").lower()
    assert not (copy / "explore.html").exists()
    refused = CliRunner().invoke(app, ["report", str(copy), "--serve"])
    assert refused.exit_code != 0
    assert "nothing to explore" in str(refused.exception)


def test_more_than_one_file_holds_is_served(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "explore.html").unlink()
    monkeypatch.setattr(report_page, "MOST_PICTURES", SHOWN - 1)
    write_report(copy)
    assert not (copy / "explore.html").exists()
    told = section_of(copy / "report.html")
    assert f"These {SHOWN} images are too many for one file" in told
    assert "vicinal report RUN --serve" in told
    assert "explore.html" not in told
    with open_server(copy) as server:
        assert len(server.run) == SHOWN


def test_the_report_alone_says_which_file_it_leads_to(run: Path) -> None:
    told = section_of(run / "report.html")
    assert '<a href="explore.html#map=tsne&amp;colour=label">' in told
    assert "<code>explore.html</code>, in this report's folder" in told


def test_without_labels_it_is_coloured_by_cluster(copy: Path) -> None:
    results = json.loads((copy / "results.json").read_text("utf-8"))
    results["data"]["classes"] = []
    (copy / "results.json").write_text(json.dumps(results), "utf-8")
    write_report(copy)
    told = section_of(copy / "report.html")
    assert '<a href="explore.html#map=tsne">' in told
    assert "by group or oddness" in told


def test_the_link_leads_to_the_same_map(browser: Browser, run: Path) -> None:
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    context.set_default_timeout(120_000)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.goto((run / "report.html").as_uri())
    page.get_by_role("link", name="Explore this map").click()
    page.wait_for_selector("body[data-ready]")
    assert page.url.split("#")[0] == (run / "explore.html").as_uri()
    expect(page.locator("#counts")).to_have_text(f"{SHOWN} pictures")
    checked = page.locator(".segmented [aria-checked=true]")
    assert checked.all_text_contents() == ["t-SNE", "Label"]
    drawn: list[list[float]] = page.evaluate(
        """(({ rows, x, y }) => Array.from(rows, (row) => [x[row], y[row]]))(
          document.getElementById("plot").shown)"""
    )
    s2 = drawn_by_s2(run, "tsne")
    theirs = zip(s2.column("x").to_pylist(), s2.column("y").to_pylist(), strict=True)
    assert sorted(map(tuple, drawn)) == sorted(theirs)
    page.get_by_role("tab", name="Odd").click()
    page.locator(".entry").first.click()
    expect(page.locator("[aria-label=Nearest] .tile")).to_have_count(10)
    page.wait_for_selector("canvas.large[data-drawn]")
    assert wrong == []
    context.close()


def test_the_page_alone_is_drawn_from_the_files(copy: Path) -> None:
    before = (copy / "explore.html").read_bytes()
    (copy / "explore.html").unlink()
    assert write_explorer(copy) == copy / "explore.html"
    assert (copy / "explore.html").read_bytes() == before


def test_a_report_draws_the_map_of_every_objective(copy: Path, browser: Browser) -> None:
    results = json.loads((copy / "results.json").read_text("utf-8"))
    names = ("vicreg", "barlow", "sigreg", "visreg", "tcr")
    own = {"own_view": 0.5, "spectrum": [2.0, 1.0]}
    results["objectives"] = {name: own | {"title": name} for name in names}
    results["recommended"] = "vicreg"
    (copy / "results.json").write_text(json.dumps(results), "utf-8")
    for name in names:
        maps = copy / "maps"
        shutil.copy(maps / "generated-tsne.parquet", maps / f"objective-{name}-tsne.parquet")
    page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
    page.goto(write_report(copy).resolve().as_uri())
    chart = page.locator("#objectives-maps")
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".main-svg").first).to_be_attached(timeout=60_000)
    places = chart.evaluate(
        "el => Object.values(el._fullLayout._plots).map(({ xaxis, yaxis }) =>"
        " [xaxis._offset, yaxis._offset, xaxis._offset + xaxis._length])"
    )
    assert len(places) == len(names)
    assert len({tuple(place) for place in places}) == len(names)  # none lies upon another
    assert [len({place[axis] for place in places}) for axis in (0, 1)] == [3, 2]
    assert max(right for _, _, right in places) <= 1 + chart.evaluate("el => el.clientWidth")
    page.context.close()
