"""The documentation's tree of files is that of the source."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tree_of_files_has_every_file_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = text.split("<!-- files -->")[1].split("<!-- end -->")[0]
    listed = set(re.findall(r"^ *(?:\w+/)?(\w+\.py)\b", tree, re.MULTILINE))
    files = {path.name for path in (ROOT / "src" / "vicinal").rglob("*.py")}
    passed_over = {"__init__.py", "__main__.py"}
    assert listed == files - passed_over, "run: python docs/reference.py"
