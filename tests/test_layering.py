"""The house rules that a machine can hold: import order, sizes, names, dependencies."""

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vicinal"
FILES = sorted(SOURCE.rglob("*.py"))

# A room imports from itself and from those before it.
ORDER = [
    "earlier_names",
    "errors",
    "file_names",
    "files",
    "recipes",
    "distributed",
    "progress",
    "cores",
    "images",
    "views",
    "encoder",
    "runs",
    "objectives",
    "training",
    "representations",
    "evaluations",
    "estimators",
    "study",
    "report",
    "explore",
    "cli",
]
# Rooms whose files are alternatives: they import none of each other but these.
ALTERNATIVES = {
    "objectives": {"terms"},
    "estimators": set[str](),
    "cli": {"options", "output", "screen"},
}
# The file that lists the alternatives of its room by name.
LISTS = {"vicinal.objectives.named_objectives"}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "misc", "core", "base"}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] in ("__init__", "__main__") else parts)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def imported_files(path: Path, names: set[str]) -> Iterator[str]:
    """Modules among ``names`` that a file imports, or of which it imports names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from {whole if whole in names else node.module} & names


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_the_order_lists_every_room() -> None:
    assert {room(module_name(path)) for path in FILES} - {""} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    here = room(module_name(path))
    if not here:
        return  # the package's own page re-exports from everywhere
    for imported in imported_files(path, {module_name(each) for each in FILES} - {"vicinal"}):
        assert ORDER.index(room(imported)) <= ORDER.index(here), imported


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_alternatives_do_not_import_each_other(path: Path) -> None:
    module = module_name(path)
    if room(module) not in ALTERNATIVES or path.name == "__init__.py" or module in LISTS:
        return
    for imported in imports(path):
        if room(imported) == room(module) and imported.startswith("vicinal."):
            assert imported.count(".") == 1 or imported.split(".")[2] in ALTERNATIVES[room(module)]


def test_no_file_leads_back_to_itself() -> None:
    names = {module_name(path) for path in FILES} - {"vicinal"}  # which loads what is asked for
    leads = {module_name(path): set(imported_files(path, names)) for path in FILES}
    reached: dict[str, set[str]] = {}

    def beyond(name: str, above: tuple[str, ...]) -> set[str]:
        assert name not in above, " → ".join((*above[above.index(name) :], name))
        if name not in reached:
            ahead = leads[name] - {name}
            reached[name] = ahead.union(*(beyond(each, (*above, name)) for each in ahead))
        return reached[name]

    for name in names:
        beyond(name, ())


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONG.get(f"{module_name(path)}.{node.name}", 60), node.name


LONGEST = 630  # a file is one subject, read from top to bottom

# Functions that may be longer, with the reason beside.
LONG = {
    "vicinal.cli.duplicates.duplicates": 70,  # one option a line, and which do not go together
    "vicinal.cli.study.study": 80,  # one option a line: the command's whole interface
    "vicinal.cli.explore.explore": 90,  # likewise
    "vicinal.cli.train.train": 65,  # likewise
    "vicinal.evaluations.duplicates.find_duplicates": 72,  # half of it says what can be asked
    "vicinal.training.train_encoder.train_encoder": 82,  # half of it says what can be asked
    "vicinal.training.loop.pretrain": 122,  # the page everybody reads: one piece on purpose
    "vicinal.study.choose.choose": 95,  # likewise, with what its rounds share
    "vicinal.study.train.train": 93,  # a third of it says what can be asked
    "vicinal.evaluations.softmax.fit_softmax": 76,  # one convex problem with its two closures
    "vicinal.objectives.vicreg.vicreg": 65,  # its docstring pins four conventions' denominators
}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_room_without_a_purpose(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(module_name(path).split("."))


def test_the_report_never_imports_torch() -> None:
    for path in (SOURCE / "report").rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] == "torch"], path


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in project["dependencies"]}
    used = {name.split(".")[0] for path in FILES for name in imports(path)}
    by_module = packages_distributions()
    providers = {
        distribution.lower() for module in used for distribution in by_module.get(module, [])
    }
    assert declared <= providers, declared - providers


def test_nothing_is_imported_that_is_not_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    del extras["bench"], extras["dev"], extras["docs"]
    lines = [*project["dependencies"], *itertools.chain(*extras.values())]
    names = [re.split(r"[<>=!~\[; ]", line)[0] for line in lines]
    declared = {name.lower().replace("_", "-") for name in names}  # as packaging compares them
    by_module = packages_distributions()
    for path in FILES:
        for name in imports(path):
            found = by_module.get(name.split(".")[0], [])
            distributions = {each.lower().replace("_", "-") for each in found}
            assert not distributions or distributions & (declared | {"vicinal"}), name
