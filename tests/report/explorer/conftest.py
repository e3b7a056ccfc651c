"""Run folders as ``vicinal explore`` leaves them, made from real digits or plain colours."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

from vicinal.explore.group_pictures import group_pictures
from vicinal.report import write_explorer
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import write_pictures

DIGITS = 240
RunWriter = Callable[..., Path]
PageOpener = Callable[..., Page]
HEALTH = {
    "verdict": "look",
    "summary": "Usable, with something to look at: hubs.",
    "figures": [
        ("effective rank", 41.2, "41 of 256 dimensions", "good", "Pictures differ in many ways."),
        ("collapse", 0.3, "30 % in two directions", "good", "No collapse."),
        ("hubs", 0.36, "36 % are never a nearest picture", "look", "Some pictures are hubs."),
        ("duplicates", 0.01, "1.0 % of the pictures", "good", "Few are nearly the same."),
        ("map", 0.1, "10 % of the points mislead", "good", "What lies together is alike."),
    ],
}


def distances(points: Any) -> Any:
    """All L2 distances (N, N) of points (N, F)."""
    squares = (points**2).sum(1)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))


def trust_of(points: Any, apart: Any, k: int) -> Any:
    """1 where the map's neighbours are as near as the true ones, 0 where no nearer than random."""
    on_map = distances(points)
    np.fill_diagonal(on_map, np.inf)
    chosen = np.take_along_axis(apart, np.argsort(on_map)[:, :k], 1).mean(1)
    true = np.sort(apart)[:, 1 : k + 1].mean(1)
    return np.clip((apart.mean(1) - chosen) / np.maximum(apart.mean(1) - true, 1e-9), 0, 1)


def maps_of(h: Any, apart: Any, k: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns and the figures of both maps; no t-SNE under four pictures."""
    few = len(h) < 4
    points = {"pca": PCA(2).fit_transform(h) if len(h) > 1 else np.zeros((1, 2))}
    if not few:
        tsne = TSNE(perplexity=min(25, len(h) / 4), random_state=0, max_iter=400, init="pca")
        points["tsne"] = tsne.fit_transform(h)
    columns: dict[str, Any] = {f"tsne_{x}": pa.nulls(len(h), pa.float32()) for x in "xy"}
    columns["tsne_trust"] = pa.nulls(len(h), pa.float32())
    figures: dict[str, Any] = {}
    for name, at in points.items():
        trust = trust_of(at, apart, k) if k else np.ones(len(h))
        for part, values in (("x", at[:, 0]), ("y", at[:, 1]), ("trust", trust)):
            columns[f"{name}_{part}"] = pa.array(values.astype(np.float32))
        told = trustworthiness(h, at, n_neighbors=k) if 0 < k < len(h) / 2 else None
        figures[name] = {"trustworthiness": told, **({"explained": [0.2, 0.1]} if not few else {})}
    return columns, figures


def groups_of(apart: Any, threshold: float) -> tuple[Any, list[tuple[int, int, float]]]:
    """Duplicate groups, the largest first, and their pairs, the nearest first."""
    pairs = [(int(a), int(b), float(apart[a, b])) for a, b in np.argwhere(apart <= threshold)]
    pairs = sorted((p for p in pairs if p[0] < p[1]), key=lambda pair: pair[2])
    owner = np.arange(len(apart))
    for a, b, _ in pairs:
        owner[owner == owner[b]] = owner[a]
    owners, sizes = np.unique(owner, return_counts=True)
    numbers = {o: n for n, o in enumerate(owners[np.argsort(-sizes)][: int((sizes > 1).sum())])}
    return np.array([numbers.get(o, -1) for o in owner], np.int32), pairs


def write_run(
    folder: Path,
    pixels: Any,
    *,
    ids: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    reasons: Sequence[str] | None = None,
    clusters: int = 8,
    duplicates: float = 0.0,
) -> Path:
    """Writes a run folder whose representation is a PCA of the pixels (N, H, W, C) uint8."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(pixels)
    flat = pixels.reshape(count, -1).astype(np.float64) / 255
    h = PCA(min(24, count)).fit_transform(flat) if count > 1 else np.zeros((1, 4))
    apart = distances(h)
    np.fill_diagonal(apart, -1)
    order = np.argsort(apart, kind="stable")
    np.fill_diagonal(apart, 0)
    k, far = min(10, count - 1), min(5, count - 1)
    near, farthest = order[:, 1 : k + 1], order[:, ::-1][:, :far]
    columns, maps = maps_of(h, apart, k)
    score = np.take_along_axis(apart, near, 1)[:, :2].mean(1) if k else np.zeros(count)
    rank = np.empty(count, np.int32)
    rank[np.argsort(-score, kind="stable")] = np.arange(1, count + 1)
    flagged = rank <= count // 100
    apart_only = apart + np.eye(count) * 1e9
    group, pairs = groups_of(apart_only, duplicates)
    grouping: dict[str, Any] = {"cluster": pa.array(np.full(count, -1, np.int32))}
    figures = None
    if count > clusters > 0:
        names = np.array([f"{row}" for row in range(count)])
        pictures = Representations(h.astype(np.float32), names)
        grouping, grouped = group_pictures(pictures, folder, clusters)
        figures = grouped["clusters"]
    plain = [
        f"Odder than {min(100 * (1 - r / count), 99.9):.3g} % of the set: "
        "its nearest pictures are far away."
        if odd
        else "Not odd: pictures like it are near."
        for r, odd in zip(rank, rank <= count // 20, strict=True)
    ]
    known = {
        "id": ids or [f"{row:05d}.png" for row in range(count)],
        "path": paths or [None] * count,
        "label": labels or [None] * count,
        "split": [None] * count,
        "reason": reasons or plain,
    }
    table = {name: pa.array(list(texts), pa.string()) for name, texts in known.items()}
    table |= {
        **grouping,
        "score": pa.array(score.astype(np.float32)),
        "p_value": pa.array((rank / (count + 1)).astype(np.float32)),
        "rank": pa.array(rank),
        "flagged": pa.array(flagged),
        "group": pa.array(group),
        **columns,
    }
    lists: list[tuple[str, Any, str, Any]] = [
        ("neighbors", near, "distances", apart),
        ("farthest", farthest, "far_distances", apart),
    ]
    for name, rows, distance_name, all_distances in lists:
        table[name] = pa.array(rows.astype(np.int32).tolist(), pa.list_(pa.int32()))
        values = np.take_along_axis(all_distances, rows, 1).astype(np.float32)
        table[distance_name] = pa.array(values.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table(table), folder / "points.parquet")
    stored = [(a, b, d, int(group[a])) for a, b, d in pairs]
    columns_of_pairs = list(zip(*stored, strict=True)) or [(), (), (), ()]
    kinds = (pa.int32(), pa.int32(), pa.float32(), pa.int32())
    names = ("a", "b", "distance", "group")
    pq.write_table(
        pa.table(
            {
                n: pa.array(c, kind)
                for n, c, kind in zip(names, columns_of_pairs, kinds, strict=True)
            }
        ),
        folder / "duplicates.parquet",
    )
    write_pictures(folder / "pictures", [str(row) for row in range(count)], pixels)
    classes = sorted({label for label in labels or [] if label})
    whole = {
        "format": 1,
        "data": {
            "source": "folder:PHOTOS",
            "name": "PHOTOS",
            "count": count,
            "size": pixels.shape[1],
            "channels": pixels.shape[3],
            "classes": classes,
            "labelled": sum(bool(label) for label in labels or []),
            "skipped": 0,
        },
        "encoder": {"source": "trained here", "recipe": "photos", "epochs": 40, "seconds": 512.0},
        "maps": {name: maps[name] for name in maps},
        "clusters": figures,
        "anomalies": {
            "k": 2,
            "false_alarms": 0.01,
            "threshold": float(np.sort(score)[-max(1, count // 100)]),
            "flagged": int(flagged.sum()),
        },
        "duplicates": {
            "threshold": duplicates,
            "typical": float(np.median(score)) if k else None,
            "pairs": len(pairs),
            "groups": int(group.max(initial=-1)) + 1,
        },
        "seconds": {"train": 512.0, "embed": 3.0},
        "environment": {"vicinal": "0.1.0"},
        "recipe": None,
    }
    (folder / "explore.json").write_text(json.dumps(whole), "utf-8")
    names = ("name", "value", "shown", "verdict", "words")
    health = {**HEALTH, "figures": [dict(zip(names, f, strict=True)) for f in HEALTH["figures"]]}
    (folder / "health.json").write_text(json.dumps(health), "utf-8")
    return folder


def write_digits(folder: Path, count: int = DIGITS) -> Path:
    """A run of labelled digits in class folders, of which four appear twice."""
    bunch = load_digits()
    rows = [*range(count - 4), 3, 4, 5, 3]
    pixels = np.round(bunch.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
    labels = [str(label) for label in bunch.target[rows]]
    ids = [f"{label}/{row:04d}.png" for row, label in enumerate(labels)]
    paths = [f"/photos/{name}" for name in ids]
    labels_with_gaps = [None if row % 17 == 0 else label for row, label in enumerate(labels)]
    return write_run(folder, pixels, ids=ids, paths=paths, labels=labels_with_gaps, duplicates=1e-6)


@pytest.fixture(scope="session")
def make_explored() -> RunWriter:
    """The function that writes a run folder from pixels."""
    return write_run


@pytest.fixture(scope="session")
def digits_explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of digits; don't write to it."""
    return write_digits(tmp_path_factory.mktemp("explored") / "run")


def colour_of(row: int) -> tuple[int, int, int]:
    """A colour that no other row of a run of colours has."""
    return (40 + 37 * row % 211, 20 + 91 * row % 223, 30 + 53 * row % 199)


COLOURS = 90
DESKTOP: ViewportSize = {"width": 1100, "height": 700}


@pytest.fixture(scope="session")
def colours_explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of plain colours, each row another: a wrong picture shows."""
    pixels = np.zeros((COLOURS, 16, 16, 3), np.uint8)
    pixels[:] = np.array([colour_of(row) for row in range(COLOURS)])[:, None, None]
    labels = [f"group {row % 4}" for row in range(COLOURS)]
    ids = [f"{label}/{row:03d}.png" for row, label in enumerate(labels)]
    folder = tmp_path_factory.mktemp("colours") / "run"
    return write_run(folder, pixels, ids=ids, labels=labels, clusters=5)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium with an empty profile of its own, one for all tests."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("needs Chromium (Debian's package chromium)")
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    # The stand-in for a GPU draws the maps; the rest of a page is drawn in half the time without.
    flags += ["--disable-gpu-compositing", "--disable-gpu-rasterization"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=flags, timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[dict[str, tuple[Page, list[str]]]]:
    """Pages that are open, and what went wrong in each: drawing one anew takes seconds.

    Chromium draws pages again and again as long as they are open: not beside other files' tests.
    """
    pages: dict[str, tuple[Page, list[str]]] = {}
    yield pages
    for page, _ in pages.values():
        page.context.close()


def watched_page(browser: Browser, address: str, options: dict[str, Any]) -> tuple[Page, list[str]]:
    """An empty page, and the list of what will have gone wrong in it.

    That is: an error on the console, a dialog, a request but for the page itself.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)  # a busy machine
    page, wrong = context.new_page(), []
    ours = (address, "data:", "blob:")
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda r: None if r.url.startswith(ours) else wrong.append(r.url))
    return page, wrong


@pytest.fixture
def open_page(browser: Browser, opened: dict[str, tuple[Page, list[str]]]) -> Iterator[PageOpener]:
    """A function that opens a run's page at a fragment; nothing may go wrong in it.

    A page that an earlier test had open is used again, as it was at first.
    """
    used: list[str] = []

    def open_at(place: Path | str, fragment: str = "", **options: Any) -> Page:
        key = f"{place} {options}"
        if key not in opened:
            address = write_explorer(place).as_uri() if isinstance(place, Path) else place
            options = {"viewport": DESKTOP, "has_touch": True, **options}
            opened[key] = watched_page(browser, address, options)
            opened[key][0].goto(f"{address}#{fragment}")
            opened[key][0].wait_for_selector("body[data-ready]")
            used.append(key)
            return opened[key][0]
        page = opened[key][0]
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light")
        address = page.url.split("#")[0]
        used.append(key)
        page.goto(f"{address}#-")
        for _ in range(3):  # what no fragment keeps: the lasso and what it selected
            page.keyboard.press("Escape")
        page.goto(f"{address}#{fragment}")
        page.mouse.move(1, 1)
        return page

    yield open_at
    for key in used:
        assert opened[key][1] == []


@pytest.fixture(scope="session")
def colour() -> Callable[[int], tuple[int, int, int]]:
    """The colour of each row of `colours_explored`."""
    return colour_of
