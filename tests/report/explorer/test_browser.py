"""The page in a real browser: pointed at, clicked, drawn on, typed into."""

import csv
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

import vicinal
from vicinal.files import write_csv

Opener = Callable[..., Page]
SHOWN = "document.getElementById('plot').shown"
FOCUSED = "(({ id, dataset }) => dataset.value || id)(document.activeElement)"
HOSTILE = '"><img src=x onerror="alert(1)"></script><script>alert(2)</script>'


def until(page: Page, condition: str) -> None:
    """Waits for an expression to hold; the page's policy forbids it to wait by running text."""
    ends = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < ends, condition
        page.wait_for_timeout(20)


def points_of(run: Path) -> Any:
    return pq.read_table(run / "points.parquet")


def places(page: Page, run: Path) -> list[tuple[float, float]]:
    """Where each row lies on the map, in pixels of the window."""
    shown = page.locator(".segmented [aria-checked=true]").first.get_attribute("data-value")
    points = points_of(run)
    at = [points.column(f"{shown}_{part}").to_pylist() for part in "xy"]
    found: list[tuple[float, float]] = page.evaluate(
        """([x, y]) => {
          const plot = document.getElementById("plot"), [[x0, x1], [y0, y1]] = plot.shown.ranges;
          const { left, top, width, height } = plot.getBoundingClientRect();
          return x.map((value, row) => [
            left + ((value - x0) / (x1 - x0)) * width, top + ((y1 - y[row]) / (y1 - y0)) * height,
          ]);
        }""",
        at,
    )
    return found


def where(page: Page, run: Path, row: int) -> tuple[float, float]:
    """Where a row lies on the map, in pixels of the window."""
    return places(page, run)[row]


def rows_in(page: Page, selector: str) -> list[int]:
    shown: list[str] = page.eval_on_selector_all(selector, "all => all.map((e) => e.dataset.row)")
    return [int(row) for row in shown]


def pixel(page: Page, selector: str) -> tuple[int, ...]:
    """The colour in the middle of a drawn thumbnail."""
    row = page.locator(selector).first.get_attribute("data-row")
    page.wait_for_selector(f'{selector}[data-drawn="{row}"]', state="attached")
    found: list[int] = page.eval_on_selector(
        selector,
        "c => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]",
    )
    return tuple(found[:3])


def drawn(page: Page, count: int, name: str = "tsne") -> None:
    """Waits until a map has so many points."""
    page.wait_for_selector(f'#plot[data-map="{name}"][data-points="{count}"]')


def lonely(run: Path, name: str = "tsne") -> np.ndarray:
    """Rows by how far their nearest point on a map is, the farthest first."""
    points = points_of(run)
    at = np.stack([points.column(f"{name}_{part}").to_numpy() for part in "xy"], axis=1)
    apart = np.linalg.norm(at[:, None] - at, axis=2) + np.eye(len(at)) * 1e9
    return np.argsort(-apart.min(1))


def test_pointing_shows_the_picture_and_a_click_its_neighbours(
    open_page: Opener, colours_explored: Path, colour: Callable[[int], tuple[int, int, int]]
) -> None:
    page, points = open_page(colours_explored), points_of(colours_explored)
    row = int(lonely(colours_explored)[0])
    page.mouse.move(*where(page, colours_explored, row))
    expect(page.locator("#card")).to_be_visible()
    assert page.locator("#card").get_attribute("data-row") == str(row)
    assert pixel(page, "#card canvas") == colour(row)
    expect(page.locator("#card")).to_contain_text(points.column("label")[row].as_py())
    expect(page.locator("#card")).to_contain_text(f"rank {points.column('rank')[row]} of 90")
    page.mouse.click(*where(page, colours_explored, row))
    expect(page.locator("#tab-picture")).to_have_attribute("aria-selected", "true")
    near, far = (points.column(name)[row].as_py() for name in ("neighbors", "farthest"))
    assert rows_in(page, "[aria-label=Nearest] .tile") == near
    assert rows_in(page, "[aria-label=Farthest] .tile") == far
    first = f"{points.column('distances')[row].as_py()[0]:.3g}"
    assert page.locator("[aria-label=Nearest] .tile small").first.inner_text() == first
    expect(page.locator(".reason").first).to_contain_text(points.column("reason")[row].as_py())
    assert pixel(page, "canvas.large") == colour(row)
    page.locator("[aria-label=Nearest] .tile").first.click()
    expect(page.locator("h2.name")).to_have_text(points.column("id")[near[0]].as_py().split("/")[1])
    assert pixel(page, "canvas.large") == colour(near[0])
    page.go_back()
    expect(page.locator("h2.name")).to_have_text(points.column("id")[row].as_py().split("/")[1])


def test_filters_never_show_the_wrong_picture(
    open_page: Opener, colours_explored: Path, colour: Callable[[int], tuple[int, int, int]]
) -> None:
    page, points = open_page(colours_explored, "colour=label"), points_of(colours_explored)
    labels = points.column("label").to_pylist()
    for group in ("0", "2"):
        page.click(f'#legend [data-group="{group}"]')
    shown = [row for row, label in enumerate(labels) if label in ("group 1", "group 3")]
    drawn(page, len(shown))
    page.click("[data-value=pca]")
    drawn(page, len(shown), "pca")
    for row in [row for row in lonely(colours_explored, "pca").tolist() if row in shown][:5]:
        page.mouse.move(*where(page, colours_explored, row))
        page.wait_for_selector(f'#card[data-row="{row}"]')
        assert pixel(page, "#card canvas") == colour(row)
    page.fill("#find", "group 3")
    page.wait_for_selector("#view[data-tab=found] .entry")
    hits = [row for row, label in enumerate(labels) if label == "group 3"]
    assert rows_in(page, ".entry") == hits
    for place, row in list(enumerate(hits))[::6]:
        assert pixel(page, f".entry:nth-child({place + 1}) canvas") == colour(row)


def test_map_and_colour_switch(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored), points_of(digits_explored)

    def shown(name: str) -> Any:
        return page.evaluate(f"[...{SHOWN}.{name}]")

    drawn(page, 240)
    assert sorted(shown("rows")) == list(range(240))
    assert len(set(shown("colours"))) == 8
    page.click("[data-value=pca]")
    drawn(page, 240, "pca")
    misled = sum(t < 0.5 for t in points.column("pca_trust").to_pylist())
    assert sum(symbol.endswith("-open") for symbol in shown("symbols")) == misled > 0
    expect(page.locator(".marks")).to_contain_text(f"{misled} misleading point")
    page.click(".marks input")
    until(page, f"!{SHOWN}.symbols.some(symbol => symbol.endsWith('-open'))")
    page.click(".marks input")
    page.click("[data-value=label]")
    expect(page.locator("#legend button")).to_have_count(11)  # ten digits, and those without
    assert page.locator("#legend button").last.inner_text().startswith("no label")
    page.click("[data-value=score]")
    until(page, f"typeof {SHOWN}.colours[0] !== 'string'")
    assert sorted(shown("colours")) == pytest.approx(sorted(points.column("score").to_pylist()))
    expect(page.locator("#legend")).to_contain_text("odd")


INKED = """([left, top]) => {
  const canvas = document.getElementById("points"), box = canvas.getBoundingClientRect();
  const at = (value, from) => Math.round((value - from) * canvas.width / box.width);
  const context = canvas.getContext("2d");
  return [...context.getImageData(at(left, box.left), at(top, box.top), 1, 1).data.slice(0, 3)];
}"""


def test_points_are_drawn_where_they_are_and_in_their_colour(
    open_page: Opener, colours_explored: Path
) -> None:
    page = open_page(colours_explored, "colour=label")
    page.click(".marks input") if page.locator(".marks").is_visible() else None
    until(page, f"!{SHOWN}.symbols.some(symbol => symbol.endsWith('-open'))")
    rows, colours = page.evaluate(f"[[...{SHOWN}.rows], {SHOWN}.colours]")
    for row in lonely(colours_explored)[:10].tolist():
        wanted = [int(colours[rows.index(row)][at : at + 2], 16) for at in (1, 3, 5)]
        found = page.evaluate(INKED, where(page, colours_explored, row))
        assert np.abs(np.array(found) - (0.9 * np.array(wanted) + 25.5)).max() < 8
    assert page.evaluate(INKED, [40, 600]) == [255, 255, 255]


def test_a_frame_of_panning_is_cheap_and_each_is_drawn(
    open_page: Opener, make_explored: Callable[..., Path], digits_explored: Path, tmp_path: Path
) -> None:
    run = many(digits_explored, tmp_path / "run", 20_000)
    page = open_page(run)
    drawn(page, 20_000)
    box = page.locator("#plot").bounding_box()
    assert box is not None
    before, ranges = page.evaluate(f"[{SHOWN}.frames, {SHOWN}.ranges]")
    page.mouse.move(box["x"] + 100, box["y"] + 200)
    page.mouse.down()
    costs = []
    for step in range(12):
        page.mouse.move(box["x"] + 110 + 10 * step, box["y"] + 200)
        until(page, f"{SHOWN}.ranges[0][0] < {ranges[0][0]}")
        costs.append(page.evaluate(f"{SHOWN}.cost"))
        ranges = page.evaluate(f"{SHOWN}.ranges")
    page.mouse.up()
    assert page.evaluate(f"{SHOWN}.frames") - before >= 12
    # The best of twelve, a fifth of this on a machine with six times more to do than cores.
    assert min(costs) < 1000 / 30


def many(run: Path, folder: Path, count: int) -> Path:
    """The run's pictures again and again, a little aside each time, without thumbnails."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("explore.html", "pictures"))
    points = points_of(run)
    points = points.take(np.arange(count) % len(points))
    aside = np.random.default_rng(0).normal(size=(4, count))
    for name, drift in zip(("tsne_x", "tsne_y", "pca_x", "pca_y"), aside, strict=True):
        values = (points.column(name).to_numpy() + drift).astype(np.float32)
        points = points.set_column(points.column_names.index(name), name, pa.array(values))
    pq.write_table(points, folder / "points.parquet")
    return folder


def test_a_lasso_selects_and_exports(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    page, points = open_page(digits_explored), points_of(digits_explored)
    page.click("[data-tool=lasso]")
    box = page.locator("#plot").bounding_box()
    assert box is not None
    left, right = box["x"] + box["width"] * 0.3, box["x"] + box["width"] * 0.6
    top, bottom = box["y"] + 40, box["y"] + box["height"] - 40
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=6)
    page.mouse.up()
    page.wait_for_selector("#view[data-tab=selection] .tile")

    def within(edge: float) -> list[int]:
        return [
            row
            for row, (x, y) in enumerate(places(page, digits_explored))
            if left + edge < x < right - edge and top + edge < y < bottom - edge
        ]

    certain, possible = within(3), within(-3)  # a lasso goes by whole pixels
    assert 20 < len(certain) < 200
    while page.locator("#view .more:visible").count():
        page.click("#view .more")
    selected = rows_in(page, "#view .tile")
    assert set(certain) <= set(selected) <= set(possible)
    with page.expect_download() as download:
        page.click("[data-export=selection]")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert [int(row["row"]) for row in rows] == selected
    for row in rows[:9]:
        at = int(row["row"])
        assert row["id"] == points.column("id")[at].as_py()
        assert row["path"] == points.column("path")[at].as_py()
        assert (row["label"] or None) == points.column("label")[at].as_py()
        assert float(row["score"]) == pytest.approx(points.column("score")[at].as_py(), rel=1e-6)
    page.click("text=Clear")
    expect(page.locator("#view")).to_contain_text("Nothing is selected")


def saved(page: Page) -> str:
    """The notes that the page would save."""
    with page.expect_download() as download:
        page.click("text=Save notes.csv")
    return Path(download.value.path()).read_text("utf-8")


def test_selections_are_kept_with_tags_and_notes_in_a_file(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    page, points = open_page(digits_explored, "tab=clusters"), points_of(digits_explored)
    ids, cluster = points.column("id").to_pylist(), np.array(points.column("cluster").to_pylist())
    for group, tag, words in ((1, "=odd, “ones”", 'look" again'), (2, "plain", "")):
        page.click("#tab-clusters")
        page.locator(f'#view .group[data-group="{group}"] >> text=Select').click()
        page.fill("#tag", tag)
        page.fill("#note", words)
        page.click(".keep button")
        expect(page.locator(".kept h3 span").last).to_have_text(tag)
    text = saved(page)
    told = list(csv.DictReader(io.StringIO(text)))
    first = [ids[row] for row in np.flatnonzero(cluster == 1)]
    assert [row["id"] for row in told if row["tag"] == "'=odd, “ones”"] == first
    assert {row["note"] for row in told} == {'look" again', ""}
    page.locator(".kept").first.locator("text=Add").click()
    expect(page.locator("#view h2").first).to_have_text(
        f"{np.isin(cluster, (1, 2)).sum()} pictures"
    )
    page.locator(".kept").last.locator("text=Take out").click()
    expect(page.locator("#view h2").first).to_have_text(f"{len(first)} pictures")
    page.locator("#view .tile").first.click()
    expect(page.locator(".about")).to_contain_text("=odd, “ones”")
    page.click("#tab-selection")
    for _ in range(2):
        page.locator(".kept").first.locator("text=Delete").click()
    assert page.locator(".kept").count() == 0
    again = tmp_path / "run"  # another page of the same pictures, with the file in its folder
    shutil.copytree(digits_explored, again)
    (again / "notes.csv").write_text(text + "gone,,7,nowhere.png\n", "utf-8")
    other = open_page(again, "tab=selection")
    assert saved(other) == text
    other.evaluate("localStorage.clear()")


def test_two_pictures_side_by_side(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored, "row=20&tab=picture"), points_of(digits_explored)
    near, apart = (points.column(name)[20].as_py() for name in ("neighbors", "distances"))
    page.click("text=Hold to compare")
    page.locator("[aria-label=Nearest] .tile").nth(3).click()
    expect(page.locator(".pair h3")).to_contain_text(f"Distance {apart[3]:.3g}")
    expect(page.locator(".pair figure").first).to_contain_text("number 4 of 239 by nearness")
    back = points.column("neighbors")[near[3]].as_py()
    if 20 in back:
        expect(page.locator(".pair figure").last).to_contain_text(f"number {back.index(20) + 1} of")
    assert rows_in(page, ".pair figure") == [20, near[3]]
    page.click(".pair >> text=Done")
    assert page.locator(".pair").count() == 0


def test_the_same_place_on_the_other_map(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored), points_of(digits_explored)
    for _ in range(3):
        page.click("[data-tool=in]")
    x, y = (points.column(f"tsne_{axis}").to_numpy() for axis in "xy")
    until(page, "location.hash.includes('view=')")
    (left, right), (low, high) = page.evaluate(f"{SHOWN}.ranges")
    rows = np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    assert 5 < len(rows) < 200
    page.click("[data-tool=other]")
    drawn(page, 240, "pca")
    (left, right), (low, high) = page.evaluate(f"{SHOWN}.ranges")
    x, y = (points.column(f"pca_{axis}").to_numpy()[rows] for axis in "xy")
    assert ((x >= left) & (x <= right) & (y >= low) & (y <= high)).mean() > 0.75
    page.goto(page.url.split("#")[0] + "#row=7&map=tsne")
    drawn(page, 240)
    page.focus("#plot")
    page.keyboard.press("+")
    page.keyboard.press("m")
    drawn(page, 240, "pca")
    middle = [sum(both) / 2 for both in page.evaluate(f"{SHOWN}.ranges")]
    at = [points.column(f"pca_{axis}")[7].as_py() for axis in "xy"]
    assert middle == pytest.approx(at, abs=1e-3)


def test_a_notebook_shows_the_page(browser: Any, digits_explored: Path) -> None:
    output = vicinal.show(digits_explored, height=500)._repr_html_()
    page = browser.new_page()
    page.set_content(f"<!DOCTYPE html><title>a notebook</title>{output}")
    frame = page.frame_locator("iframe")
    expect(frame.locator("body[data-ready]")).to_be_attached(timeout=120_000)
    frame.locator("#tab-odd").click()
    expect(frame.locator("#view .entry").first).to_be_visible()
    assert page.locator("iframe").bounding_box()["height"] == 500
    page.close()


def test_search_finds_by_path_and_label(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored), points_of(digits_explored)
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("PHOTOS/7/")
    expected = [r for r, p in enumerate(points.column("path").to_pylist()) if "photos/7/" in p]
    expect(page.locator("#hits")).to_have_text(f"{len(expected)} hits")
    assert rows_in(page, "#view .entry") == expected
    until(page, f"{SHOWN}.bright")
    lit = page.evaluate(f"{SHOWN}.bright.reduce((n, one) => n + one, 0)")
    assert lit == len(expected)
    page.keyboard.press("Enter")
    expect(page.locator("#tab-picture")).to_have_attribute("aria-selected", "true")
    assert f"row={expected[0]}" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#hits")).to_have_text("")
    page.fill("#find", "no such picture")
    expect(page.locator("#view")).to_contain_text("No path, id or label has")


def test_the_fragment_keeps_the_view(open_page: Opener, digits_explored: Path) -> None:
    page = open_page(digits_explored)
    page.click("[data-value=pca]")
    page.click("[data-value=label]")
    page.click("[data-tool=in]")
    page.fill("#find", "3/")
    page.wait_for_selector("#view[data-tab=found] .entry")
    page.locator("#view .entry").nth(2).click()
    ranges = f"{SHOWN}.ranges[0]"
    until(page, "location.hash.includes('view=')")
    address, name, before = page.url, page.inner_text("h2.name"), page.evaluate(ranges)
    again = open_page(digits_explored, address.split("#")[1], locale="en-GB")
    assert again.inner_text("h2.name") == name
    expect(again.locator("[data-value=pca]")).to_have_attribute("aria-checked", "true")
    expect(again.locator("[data-value=label]")).to_have_attribute("aria-checked", "true")
    assert again.input_value("#find") == "3/"
    assert again.evaluate(ranges) == pytest.approx(before, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("fragment", ["map=x&colour=y&row=99999&tab=z&view=1,0,a", "row=-1", "%"])
def test_a_senseless_fragment_is_left_out(
    open_page: Opener, digits_explored: Path, fragment: str
) -> None:
    page = open_page(digits_explored, fragment)
    expect(page.locator("#tab-overview")).to_have_attribute("aria-selected", "true")
    drawn(page, 240)


def test_keys_alone_are_enough(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored, "row=20&tab=picture"), points_of(digits_explored)
    near = points.column("neighbors")[20].as_py()
    page.focus("[aria-label=Nearest] .tile")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("Number(document.activeElement.dataset.row)") == near[1]
    page.keyboard.press("Enter")
    until(page, f"location.hash.includes('row={near[1]}&')")
    second = points.column("neighbors")[near[1]].as_py()
    assert page.evaluate("Number(document.activeElement.dataset.row)") == second[1]
    page.focus("#plot")
    x = points.column("tsne_x").to_pylist()
    page.keyboard.press("ArrowRight")
    until(page, f"!location.hash.includes('row={near[1]}&')")
    row = int(page.url.split("row=")[1].split("&")[0])
    assert x[row] > x[near[1]]
    expect(page.locator("#plot")).to_be_focused()
    page.focus("#tab-picture")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-odd")).to_be_focused()
    expect(page.locator("#view .entry").first).to_be_visible()
    page.keyboard.press("Escape")
    until(page, "!location.hash.includes('row=')")
    page.focus(".skip")
    stops = []
    for _ in range(7):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
    stops = [stop for stop in stops if stop != "marks"]  # there where points mislead
    assert stops[:6] == ["find", "health-badge", "tsne", "cluster", "level", "plot"]


def test_odd_duplicates_and_clusters_are_listed(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored, "tab=odd"), points_of(digits_explored)
    ranks = points.column("rank").to_pylist()
    assert [ranks[row] for row in rows_in(page, "#view .entry")] == list(range(1, 61))
    page.click("#tab-duplicates")
    group = points.column("group").to_pylist()
    assert page.locator("#view .group").count() == max(group) + 1 == 3
    first = [row for row, number in enumerate(group) if number == 0]
    assert rows_in(page, '#view .group[data-group="0"] .tile') == first
    page.click("text=Select all but one of each")
    assert len(rows_in(page, "#view .tile")) == sum(g >= 0 for g in group) - 3
    page.click("#tab-clusters")
    known = json.loads((digits_explored / "explore.json").read_text())["clusters"]
    assert rows_in(page, '#view .group[data-group="2"] .tile') == known["representatives"][2][:6]
    page.locator('#view .group[data-group="2"] >> text=Select').click()
    expect(page.locator("#view h2").first).to_have_text(f"{known['sizes'][2]} pictures")


def first_ring(page: Page) -> tuple[float, float]:
    """Where the first ring's middle lies on its picture, as shares of the picture's sides."""
    ring, picture = (
        page.locator(f"#view .entry {part}").first.bounding_box()
        for part in (".ringed-place", "canvas")
    )
    assert ring is not None
    assert picture is not None
    return (
        (ring["x"] + ring["width"] / 2 - picture["x"]) / picture["width"],
        (ring["y"] + ring["height"] / 2 - picture["y"]) / picture["height"],
    )


def test_odd_places_are_listed_with_a_ring_where_they_are(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    page = open_page(digits_explored, "tab=overview")
    assert page.locator("#tab-places").count() == 0  # a run of an earlier version
    run = tmp_path / "placed"
    shutil.copytree(digits_explored, run)
    points = points_of(run)
    count = points.num_rows
    shares = np.linspace(0.1, 0.9, count, dtype=np.float32)
    columns = {
        "place_score": shares,
        "place_rank": np.arange(count, 0, -1, dtype=np.int32),
        "place_x": shares,
        "place_y": 1 - shares,
    }
    for name, values in columns.items():
        points = points.append_column(name, pa.array(values))
    pq.write_table(points, run / "points.parquet")
    figures = json.loads((run / "explore.json").read_text("utf-8"))
    tried = {"marked": 50, "auroc": 0.875, "auroc_whole": 0.5, "tells": True}
    (run / "explore.json").write_text(json.dumps(figures | {"places": tried}), "utf-8")
    page = open_page(run, "tab=places")
    assert rows_in(page, "#view .entry")[:3] == [count - 1, count - 2, count - 3]
    expect(page.locator("#view .note").nth(1)).to_contain_text("87.5 % of the time")
    assert first_ring(page)[0] == pytest.approx(0.9, abs=0.03)
    page.locator("#view .entry").first.click()
    expect(page.locator("#view[data-tab=picture] .ringed-place")).to_be_visible()
    expect(page.locator("#view dl")).to_contain_text("upper right, rank 1")
    other = tmp_path / "little"
    shutil.copytree(run, other)
    tried |= {"auroc": 0.55, "tells": False}
    (other / "explore.json").write_text(json.dumps(figures | {"places": tried}), "utf-8")
    page = open_page(other, "tab=places")
    expect(page.locator("#view .note").nth(1)).to_contain_text("this list tells little")
    page.locator("#view .entry").first.click()
    expect(page.locator("#view dl")).to_contain_text("upper right, rank 1")
    assert page.locator("#view[data-tab=picture] .ringed-place").count() == 0


def test_pictures_have_their_shape_and_rings_lie_on_them(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    run = tmp_path / "wide"
    shutil.copytree(digits_explored, run)
    points = points_of(run)
    count = points.num_rows
    corner = pa.array(np.zeros(count, np.float32))  # upper left
    columns = {
        "width": pa.array(np.full(count, 300, np.int32)),
        "height": pa.array(np.full(count, 100, np.int32)),
        "place_score": pa.array(np.arange(count, dtype=np.float32)),
        "place_rank": pa.array(np.arange(count, 0, -1, dtype=np.int32)),
        "place_x": corner,
        "place_y": corner,
    }
    for name, values in columns.items():
        points = points.append_column(name, values)
    pq.write_table(points, run / "points.parquet")
    figures = json.loads((run / "explore.json").read_text("utf-8"))
    shapes = {}
    for whole in (True, False):
        copy = shutil.copytree(run, tmp_path / f"{whole}")
        figures["data"]["whole"] = whole
        (copy / "explore.json").write_text(json.dumps(figures), "utf-8")
        page = open_page(copy, "tab=places")
        canvas = page.locator("#view .entry canvas[data-drawn]").first
        canvas.wait_for()
        drawn = canvas.evaluate("canvas => [canvas.width, canvas.height]")
        across, down = first_ring(page)
        box = page.locator("#view .entry canvas").first.bounding_box()
        assert box is not None
        assert box["width"] == box["height"]
        shapes[whole] = (drawn[0] / drawn[1], across, down)
    assert shapes[True] == pytest.approx((3, 0, 1 / 3), abs=0.05)
    assert shapes[False] == pytest.approx((1, 0, 0), abs=0.03)  # a run that saw the middle alone


def test_labels_that_look_wrong_are_listed_and_parts_have_colours(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    run = tmp_path / "doubted"
    shutil.copytree(digits_explored, run)
    points = points_of(run)
    doubt, suggested = np.full(points.num_rows, -1, np.int32), [None] * points.num_rows
    for place, row in enumerate((17, 4, 90)):
        doubt[row], suggested[row] = place, HOSTILE if row == 4 else "7"
    points = points.set_column(
        points.column_names.index("split"),
        "split",
        pa.array(["A" if row % 3 else "B" for row in range(points.num_rows)]),
    )
    for name, column in {
        "doubt": doubt,
        "suggested": pa.array(suggested, pa.string()),
        "agree": np.where(doubt < 0, -1, 9).astype(np.int32),
        "confidence": np.where(doubt < 0, np.nan, 0.875).astype(np.float32),
    }.items():
        points = points.append_column(name, pa.array(column))
    pq.write_table(points, run / "points.parquet")
    figures = json.loads((run / "explore.json").read_text())
    figures["labels"] = {"contradicted": 3, "judged": 300, "agreement": 0.95, "neighbours": 10}
    figures["data"]["colour"] = "split"
    (run / "explore.json").write_text(json.dumps(figures))
    page = open_page(run, "tab=labels")
    assert rows_in(page, "#view .entry") == [17, 4, 90]
    words = page.locator("#view .entry").first.inner_text()
    assert "Suggested: 7 (87.5 %); 9 of its 10 nearest are labelled so." in words
    assert HOSTILE in page.locator("#view .entry").nth(1).inner_text()
    legend = page.locator("#legend button").all_inner_texts()
    assert [text.split()[0] for text in legend] == ["B", "A"]
    page.locator("#view .entry").first.click()
    expect(page.locator("#view dl")).to_contain_text("Suggested label")
    page.click("#tab-labels")
    page.click("text=Select the 3")
    assert rows_in(page, "#view .tile") == [17, 4, 90]


def test_groups_go_from_coarse_to_fine(open_page: Opener, digits_explored: Path) -> None:
    page, points = open_page(digits_explored, "tab=clusters"), points_of(digits_explored)
    known = json.loads((digits_explored / "explore.json").read_text())["clusters"]
    finest, labels = (np.array(points.column(name).to_pylist()) for name in ("finest", "label"))

    def groups_at(level: int) -> np.ndarray:
        found = finest.copy()
        for group in range(len(known["parents"]) - 1, level - 1, -1):
            found[found == group] = known["parents"][group]
        return found

    np.testing.assert_array_equal(groups_at(8), points.column("cluster").to_pylist())
    sections = "#view .group[data-group]"
    for press, level in (("ArrowRight", 9), ("End", 100), ("Home", 2), ("PageUp", 12)):
        page.focus("#level-in-list")
        page.keyboard.press(press)
        expect(page.locator("#level-in-list")).to_be_focused()
        level = int(page.input_value("#level-in-list")) if press == "PageUp" else level
        expect(page.locator("#level-in-list")).to_have_attribute(
            "aria-valuetext", f"{level} groups"
        )
        until(page, f"location.hash.includes('groups={level}&')")
        until(
            page,
            f"new Set({SHOWN}.colours.map((one, at) => one + {SHOWN}.symbols[at]"
            f".replace('-open', ''))).size === {min(level, 50)}",  # then they begin again
        )
        assert page.input_value("#level") == str(level)
        groups = groups_at(level)
        sizes = np.bincount(groups)
        shown = page.eval_on_selector_all(sections, "all => all.map((e) => +e.dataset.group)")
        order = sorted(range(level), key=lambda group: (-sizes[group], group))
        assert shown == order[:60]
        for group in order[:3]:
            section = f'#view .group[data-group="{group}"]'
            held = labels[(groups == group) & (labels != None)].tolist()  # noqa: E711
            most = max(held.count(label) for label in held)
            expect(page.locator(f"{section} h3")).to_contain_text(f"{sizes[group]} picture")
            expect(page.locator(f"{section} h3")).to_contain_text(
                f"({100 * most / len(held):.0f} %)"
            )
            typical = [rows for first, rows in known["typical"][group] if first <= level][-1]
            assert rows_in(page, f"{section} .tile") == typical
    address = page.url.split("#")[1]
    largest, level = order[0], int(page.input_value("#level"))
    page.locator(f'#view .group[data-group="{largest}"] >> text=Select').click()
    expect(page.locator("#view h2").first).to_have_text(f"{sizes[largest]} pictures")
    again = open_page(digits_explored, address, locale="en-GB")
    assert again.input_value("#level-in-list") == str(level)
    expect(again.locator("#legend button")).to_have_count(level)
    again.click("[data-value=label]")
    expect(again.locator("#level")).to_be_hidden()
    again = open_page(digits_explored, "groups=101", locale="en-GB")
    assert again.input_value("#level") == "8"


def test_hostile_text_stays_text(
    open_page: Opener, make_explored: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    formulas = ["=1+1", "+1", "-1", "@x", "\tx", "a,b", 'a"b', "a\nb", "plain", "x", "y", HOSTILE]
    run = make_explored(
        tmp_path / "run", pixels, ids=formulas, paths=[f"/p/{HOSTILE}/{n}" for n in range(12)],
        labels=[HOSTILE] * 12, reasons=[HOSTILE] * 12, clusters=2,
    )  # fmt: skip
    figures = json.loads((run / "explore.json").read_text())
    figures["data"]["name"] = figures["encoder"]["source"] = figures["encoder"]["recipe"] = HOSTILE
    (run / "explore.json").write_text(json.dumps(figures))
    health = json.loads((run / "health.json").read_text())
    health["summary"] = health["figures"][0]["words"] = health["figures"][0]["name"] = HOSTILE
    (run / "health.json").write_text(json.dumps(health))
    page = open_page(run, "colour=label&row=11&tab=picture")
    assert page.inner_text("h2.name") == "script>"  # what follows the last slash of its id
    page.mouse.move(*where(page, run, 3))
    page.wait_for_selector("#card:visible")
    for tab in ("overview", "odd", "duplicates", "clusters", "selection"):
        page.click(f"#tab-{tab}")
        assert page.locator("img[src=x], [onerror]").count() == 0
    assert page.locator("#legend").inner_text().startswith(HOSTILE)
    page.fill("#find", "onerror")
    page.wait_for_selector("#view[data-tab=found] .entry")
    with page.expect_download() as download:
        page.click("[data-export=found]")
    text = Path(download.value.path()).read_text("utf-8")
    ours = tmp_path / "ours.csv"
    write_csv(ours, ["id"], [[name] for name in formulas])
    expected = list(csv.reader(io.StringIO(ours.read_text("utf-8"), newline="")))[1:]
    exported = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [[row[1]] for row in exported] == expected


def test_the_policy_forbids_every_request(
    open_page: Opener, opened: dict[str, tuple[Page, list[str]]], digits_explored: Path
) -> None:
    page = open_page(digits_explored)
    assert page.evaluate("fetch('data:,x').then(() => 'let through', () => 'refused')") == "refused"
    wrong = next(wrong for shown, wrong in opened.values() if shown is page)
    assert all("Content Security Policy" in text for text in wrong)
    wrong.clear()


TABS = ("overview", "picture", "odd", "duplicates", "clusters", "selection")


def test_it_says_which_differences_count_and_that_it_was_measured(
    open_page: Opener, digits_explored: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_explored, run, ignore=shutil.ignore_patterns("explore.html"))
    figures = json.loads((run / "explore.json").read_text("utf-8"))
    figures["encoder"] |= {"ignores": ["colour", "blur"], "measured": True, "counts": ["flip"]}
    (run / "explore.json").write_text(json.dumps(figures), "utf-8")
    expect(open_page(run).locator("#view")).to_contain_text(
        "Differences in colour and blur are ignored; flip counts, as measured on these pictures; "
        "choose others with --ignore."
    )


@pytest.mark.parametrize("width", [1000, 1300])
def test_every_tab_can_be_seen(width: int, open_page: Opener, digits_explored: Path) -> None:
    page = open_page(digits_explored, "tab=selection")
    page.set_viewport_size({"width": width, "height": 800})
    page.fill("#find", "00")  # so that there is a tab of what was found
    expect(page.get_by_role("tab", name="Found")).to_be_visible()
    ends = page.evaluate(
        "[...document.querySelectorAll('[role=tab]')].map(b => b.getBoundingClientRect().right)"
    )
    assert len(ends) >= 6
    assert max(ends) <= width


def test_a_phone_shows_all_of_it(open_page: Opener, digits_explored: Path) -> None:
    page = open_page(digits_explored, "row=30")
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in TABS:
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    assert stage["width"] == 390
    assert stage["height"] >= 300
    page.evaluate("scrollTo(0, 0)")
    until(page, "document.getElementById('points').clientWidth === 390")
    row = int(lonely(digits_explored)[0])
    page.touchscreen.tap(*where(page, digits_explored, row))
    until(page, f"location.hash.includes('row={row}&')")


@pytest.mark.parametrize("count", [1, 30])
def test_little_or_nothing_looks_right(
    open_page: Opener, make_explored: Callable[..., Path], tmp_path: Path, count: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (count, 80, 80, 1), dtype=np.uint8)
    run = make_explored(tmp_path / "run", pixels, clusters=0)
    page = open_page(run, "row=0&tab=picture")
    drawn(page, count, "pca" if count == 1 else "tsne")
    values = page.eval_on_selector_all("[data-value]", "all => all.map((e) => e.dataset.value)")
    assert values == (["tsne", "pca", "score"] if count == 30 else ["score"])
    assert page.locator("#tab-clusters").count() == 0
    if count == 1:
        expect(page.locator("#view")).to_contain_text("no other picture")
    page.click("#tab-duplicates")
    expect(page.locator("#view")).to_contain_text("No two of these pictures")
    page.click("#tab-overview")
    for text in ("NaN", "undefined", "null", "Infinity"):
        assert text not in page.inner_text("body")


CONTRAST = """() => {
  const share = (x) => (x <= 10 ? x / 3294.6 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * share(r) + 0.7152 * share(g) + 0.0722 * share(b);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    const own = rgb(getComputedStyle(e).backgroundColor);
    if (own.length === 3 || own[3] === 1) return own;
    return e.parentElement ? ground(e.parentElement) : [255, 255, 255];
  };
  const written = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const apart = "svg, script, style, noscript, .skip, .unseen, #plot";
  return [...document.querySelectorAll("body *")]
    .filter((e) => written(e) && e.checkVisibility() && !e.closest(apart))
    .map((e) => {
      const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), `${e.tagName} ${e.textContent}`];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(
    open_page: Opener, digits_explored: Path, scheme: str
) -> None:
    page = open_page(digits_explored, "row=3&colour=label")
    page.emulate_media(color_scheme=scheme)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        assert page.evaluate(CONTRAST) == [], tab
