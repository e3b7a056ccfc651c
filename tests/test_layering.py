"""The house rules that a machine can hold: import order, sizes, names, dependencies."""

import ast
import itertools
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vicinal"
FILES = sorted(SOURCE.rglob("*.py"))

# A room imports from itself and from those before it.
ORDER = [
    "errors",
    "files",
    "progress",
    "recipe",
    "recipes",
    "ranks",
    "cores",
    "images",
    "views",
    "encoder",
    "objectives",
    "training",
    "representations",
    "evaluations",
    "estimators",
    "study",
    "verbs",
    "report",
    "explore",
    "cli",
]
# Files of a room that its other files may import, with the reason.
SHARED = {
    "vicinal.images.imageset": "what every loader returns",
    "vicinal.encoder.saved": "what a file of an encoder holds, whoever trained it",
    "vicinal.encoder.patches": "what stands beside a trained network, in its file too",
    "vicinal.encoder.timm_backbone": "how timm is asked for a network, with weights or without",
    "vicinal.encoder.pretrained": "networks with weights, which a file may be made of",
    "vicinal.objectives.terms": "the terms that every objective is made of",
    "vicinal.objectives.across": "the same terms over the rows of all ranks",
    "vicinal.objectives.criterion": "what an objective is as a module, and random slices",
    "vicinal.representations.representations": "what every file of the room reads or writes",
    "vicinal.representations.neighbours": "one neighbour search: the spectral graph reads it too",
    "vicinal.representations.distances": "the arithmetic of that search",
    "vicinal.representations.approximate": "the other neighbour search, likewise",
    "vicinal.representations.index": "what each kind of index is searched by",
    "vicinal.representations.parts": "what a folder of embeddings is, for its readers too",
    "vicinal.representations.points": "the check that every estimator makes of its points",
    "vicinal.evaluations.score": "what every evaluation returns",
    "vicinal.evaluations.arrays": "the check that every evaluation makes of an array first",
    "vicinal.evaluations.probe_result": "what every probe returns",
    "vicinal.evaluations.on_gpu": "clustering's heavy parts on another device",
    "vicinal.evaluations.softmax": "the convex solver behind every probe",
    "vicinal.verbs.train": "what choose does by turns",
    "vicinal.evaluations.conformal": "p-values of scores, whatever was scored",
    "vicinal.evaluations.label_probe": "the out-of-fold classifier that doubts labels too",
    "vicinal.verbs.pairing": "what belongs to a set: its index, its labels, another set",
    "vicinal.evaluations.laid_over": "how different two pictures are, once they are candidates",
    "vicinal.evaluations.same_picture": "what is the same in one set is so between two",
    "vicinal.verbs.duplicates": "copies by vectors alone, between two sets too",
    "vicinal.verbs.embed": "what is known of each picture of a source, beside its vector",
    "vicinal.verbs.on_ray": "how work is spread over a cluster, whatever the work",
    "vicinal.cli.completion": "what the shell completes, for the options of every panel",
    "vicinal.cli.options": "options that several commands take, each written once",
}
# These rooms are one pipeline each, read from one file; the others hold alternatives.
PIPELINES = {"cores", "images", "views", "training", "study", "report", "explore"}
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


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_the_order_lists_every_room() -> None:
    assert {room(module_name(path)) for path in FILES} - {""} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    here = room(module_name(path))
    if not here:
        return  # the package's own page re-exports from everywhere
    for imported in imports(path):
        if imported.startswith("vicinal."):
            assert ORDER.index(room(imported)) <= ORDER.index(here), imported


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_alternatives_do_not_import_each_other(path: Path) -> None:
    module = module_name(path)
    if room(module) in PIPELINES or path.name == "__init__.py":
        return
    for imported in imports(path):
        if room(imported) == room(module) != "" and imported.startswith("vicinal."):
            assert imported.count(".") == 1 or imported in SHARED, imported


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONG_FILES.get(module_name(path), 300)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONG.get(f"{module_name(path)}.{node.name}", 60), node.name


# Files that may be longer: each is one subject, read from top to bottom.
LONG_FILES = {
    "vicinal.encoder.pretrained": 320,  # weights by name, wherever they lie
    "vicinal.report.charts": 360,  # every chart of the report
    "vicinal.cli.questions": 475,  # ten commands, an option a line
    "vicinal.cli.start": 420,  # five commands, an option a line
    "vicinal.evaluations.laid_over": 335,  # one picture laid over another
    "vicinal.recipe": 320,  # every number of a run
    "vicinal.study.folder": 330,  # what a run folder is, and who may write into it
    "vicinal.study.learners": 305,  # what is compared, a method each
    "vicinal.study.run": 335,  # the whole study, stage by stage
    "vicinal.training.loop": 330,  # how an encoder is trained
}

# Functions that may be longer, with the reason beside.
LONG = {
    "vicinal.cli.start.study": 95,  # one option a line: the command's whole interface
    "vicinal.cli.start.embed": 75,  # likewise
    "vicinal.cli.start.explore": 90,  # likewise
    "vicinal.cli.start.train": 75,  # likewise
    "vicinal.cli.questions.duplicates": 80,  # one option a line, and what each pair of them does
    "vicinal.verbs.duplicates.find_duplicates": 72,  # half of it says what can be asked
    "vicinal.training.loop.pretrain": 120,  # the page everybody reads: one piece on purpose
    "vicinal.verbs.choose.choose": 95,  # likewise, with what its rounds share
    "vicinal.verbs.train.train": 80,  # a third of it says what can be asked
    "vicinal.evaluations.softmax.fit_softmax": 76,  # one convex problem with its two closures
    "vicinal.objectives.vicreg.vicreg": 80,  # its docstring pins four conventions' denominators
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
    del extras["bench"], extras["dev"]
    lines = [*project["dependencies"], *itertools.chain(*extras.values())]
    names = [re.split(r"[<>=!~\[; ]", line)[0] for line in lines]
    declared = {name.lower().replace("_", "-") for name in names}  # as packaging compares them
    by_module = packages_distributions()
    for path in FILES:
        for name in imports(path):
            found = by_module.get(name.split(".")[0], [])
            distributions = {each.lower().replace("_", "-") for each in found}
            assert not distributions or distributions & (declared | {"vicinal"}), name
