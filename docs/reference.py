"""Pages that `make docs` adds to those here: one for every public name, and the root folder's."""

import ast
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}


def on_config(config: Any) -> Any:
    """Adds the names to the site's navigation, by room."""
    rooms: dict[str, list[dict[str, str]]] = {}
    for name, module in homes().items():
        rooms.setdefault(module.split(".")[0], []).append({name: page(name, module)})
    config.nav.append({"Reference": [{room: pages} for room, pages in rooms.items()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages themselves."""
    for name, module in homes().items():
        text = f"# {name}\n\n`from vicinal import {name}`\n\n::: vicinal.{module}.{name}\n"
        files.append(File.generated(config, page(name, module), content=text))
    for path, source in PAGES.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def homes() -> dict[str, str]:
    """Every public name and the module it is in, as `vicinal/__init__.py` has them."""
    tree = ast.parse((ROOT / "src" / "vicinal" / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return dict(ast.literal_eval(node.value))
    raise LookupError("vicinal/__init__.py has no _HOMES")


def page(name: str, module: str) -> str:
    """A name's page; `vicreg` and `VICReg` are two, where file names have no case too."""
    return f"reference/{module}.{name}.md"
