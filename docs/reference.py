"""Pages that `make docs` adds to those here: one for every public name, and the root folder's.

Run as a program it writes the tree of files in architecture.md anew, from the files' first lines.
"""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vicinal"
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
TREE = re.compile(r"(?<=<!-- files -->\n).*?(?=<!-- end -->)", re.DOTALL)


def on_config(config: Any) -> Any:
    """Adds the names to the site's navigation, by room."""
    rooms: dict[str, list[dict[str, str]]] = {}
    for name, module in homes().items():
        rooms.setdefault(module.split(".")[0], []).append({name: page(name, module)})
    config.nav.append({"Reference": [{room: pages} for room, pages in rooms.items()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages themselves."""
    from mkdocs.structure.files import File

    for name, module in homes().items():
        text = f"# {name}\n\n`from vicinal import {name}`\n\n::: vicinal.{module}.{name}\n"
        files.append(File.generated(config, page(name, module), content=text))
    for path, source in PAGES.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def homes() -> dict[str, str]:
    """Every public name and the module it is in, as `vicinal/__init__.py` has them."""
    return dict(assigned(SOURCE / "__init__.py", "_HOMES"))


def page(name: str, module: str) -> str:
    """A name's page; `vicreg` and `VICReg` are two, where file names have no case too."""
    return f"reference/{module}.{name}.md"


def assigned(path: Path, name: str) -> Any:
    """The literal that a file assigns to a name."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{path} has no {name}")


def tree() -> str:
    """Every room in the order of imports, and its files, each with the first line of its page."""
    lines = []
    for room in assigned(ROOT / "tests" / "test_layering.py", "ORDER"):
        place = SOURCE / room
        if not place.is_dir():
            lines.append(_line(place.with_suffix(".py"), 0))
            continue
        lines.append(f"{room + '/':<34}{_first(place / '__init__.py')}")
        lines += [
            _line(path, 1 + (path.parent != place))
            for path in sorted(place.rglob("*"))
            if path.suffix in (".py", ".js", ".toml")
            and path.name not in ("__init__.py", "__main__.py")
        ]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _line(path: Path, depth: int) -> str:
    name = path.name if depth < 2 else f"{path.parent.name}/{path.name}"
    return f"{'    ' * min(depth, 1) + name:<34}{_first(path)}"


def _first(path: Path) -> str:
    """What a file says of itself in its first line, or in its first sentence of comments."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    comments = itertools.takewhile(lambda line: line[:1] in "/#", text.strip().split("\n"))
    said = " ".join(line.strip("/*-# ") for line in comments)
    return said.partition(". ")[0] + "." * (". " in said)


if __name__ == "__main__":
    architecture = ROOT / "docs" / "architecture.md"
    architecture.write_text(TREE.sub(lambda _: tree(), architecture.read_text("utf-8")), "utf-8")
