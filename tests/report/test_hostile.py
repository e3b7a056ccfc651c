"""Script smuggled in by names of files, classes and data sets stays text, in a real browser too."""

import json
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicinal.report import write_report

RunMaker = Callable[..., Path]
HOSTILE = (
    "</script><script>document.title='TAKEN'</script>",
    '"><img src=x onerror="document.title=\'TAKEN\'">',
    "' onmouseover='document.title=\"TAKEN\"' x='",
    "<a href=\"javascript:document.title='TAKEN'\">here</a>",
    "<svg onload=document.title='TAKEN'>",
    "{{ 7 * 7 }}{% raw %}",
    "--><!--<base href=https://example.org>",
    "=cmd|'/c calc'!A1",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Elements(HTMLParser):
    """Which elements and attributes a page has, scripts' and styles' insides apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attrs}
        self.links |= {str(value)[:5] for name, value in attrs if name in ("href", "src")}


def poisoned(run: Path) -> Path:
    """The run with hostile text wherever a stranger's words can be."""
    count = 0

    def hostile(old: Any) -> str:
        nonlocal count
        count += 1
        return f"{HOSTILE[count % len(HOSTILE)]} {old}"

    names: dict[str, str] = {}

    def identity(old: str) -> str:
        return names.setdefault(old, hostile(old))

    def walk(tree: Any) -> Any:
        if isinstance(tree, list):
            return [walk(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        changed = {}
        for key, value in tree.items():
            if key == "id" and isinstance(value, str):
                changed[key] = identity(value)
            elif key == "neighbours" and isinstance(value, list):
                changed[key] = [identity(name) for name in value]
            elif key in ("class", "why", "claim", "skipped", "note", "name", "source"):
                changed[key] = hostile(value) if isinstance(value, str) else value
            elif key == "classes":
                changed[key] = [hostile(name) for name in value]
            else:
                changed[key] = walk(value)
        return changed

    path = run / "results.json"
    results = walk(json.loads(path.read_text("utf-8")))
    environment = {hostile(key): hostile(value) for key, value in results["environment"].items()}
    results["environment"] = environment
    path.write_text(json.dumps(results), "utf-8")
    (run / "environment.json").write_text(json.dumps(environment), "utf-8")
    with (run / "recipe.toml").open("a", encoding="utf-8") as recipe:
        recipe.writelines(f"# {text}\n" for text in HOSTILE)
    for file in [*run.glob("maps/*.parquet"), run / "pictures" / "index.parquet"]:
        table = pq.read_table(file)
        ids = pa.array([identity(name) for name in table.column("id").to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("id"), "id", ids), file)
    return run


def test_hostile_text_adds_no_element_and_no_attribute(make_run: RunMaker) -> None:
    run = make_run()
    plain = Elements(write_report(run).read_text("utf-8"))
    page = write_report(poisoned(run)).read_text("utf-8")
    found = Elements(page)
    assert "TAKEN" in page
    assert "7 * 7" in page  # a template in a name is not run
    assert found.tags == plain.tags
    assert found.attributes == plain.attributes
    assert found.links <= plain.links | {"data:", "#figu"}
    assert found.scripts == plain.scripts
    assert not [name for name in found.attributes if name.startswith("on")]


def test_hostile_text_runs_nowhere_in_a_browser(make_run: RunMaker, tmp_path: Path) -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    page = write_report(poisoned(make_run()))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'p'}"]
    options += ["--virtual-time-budget=8000", "--dump-dom", page.resolve().as_uri()]
    done = subprocess.run(
        [browser, *options], capture_output=True, text=True, check=False, timeout=300
    )
    after = Elements(done.stdout)
    assert "<title>Vicinal study" in done.stdout, done.stderr[-2000:]
    assert "<title>TAKEN" not in done.stdout
    assert "main-svg" in done.stdout  # the charts were drawn, with hostile class names on them
    assert not [name for name in after.attributes if name.startswith("on")]
    assert not [link for link in after.links if link.lower().startswith(("javas", "http"))]
    assert "base" not in after.tags
