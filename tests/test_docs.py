"""The documentation's tree of files is that of the source."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
EARLIER = {"benchmarks/second_look.py"}  # named with its commit


def test_the_tree_of_files_has_every_file_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = text.split("<!-- files -->")[1].split("<!-- end -->")[0]
    listed = set(re.findall(r"^ *(?:\w+/)?(\w+\.py)\b", tree, re.MULTILINE))
    files = {path.name for path in (ROOT / "src" / "vicinal").rglob("*.py")}
    passed_over = {"__init__.py", "__main__.py"}
    assert listed == files - passed_over, "run: python docs/reference.py"


def test_files_that_the_documentation_names_are_there() -> None:
    """A path with a folder, in backticks; NAME stands for one that is to be written."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    roots = [ROOT, ROOT / "src", ROOT / "src" / "vicinal", ROOT / "tests"]
    missing = [
        (page.name, named)
        for page in pages
        for named in re.findall(
            r"(?<!`)`(\w+/[\w/]*\w\.(?:py|md|js|toml))\b", page.read_text("utf-8")
        )
        if named not in EARLIER
        and "NAME" not in named
        and not any((root / named).exists() for root in roots)
    ]
    assert missing == []
