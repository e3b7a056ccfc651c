"""Modules under the names that they had before 0.2: found, with a warning, until that release.

Programs of users name some of them (`vicinal.verbs.duplicates.find_duplicates`).
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "vicinal.ranks": "vicinal.distributed",
    "vicinal.recipe": "vicinal.recipes.recipe",
    "vicinal.representations.embeddings": "vicinal.representations.representations",
    "vicinal.representations.tree": "vicinal.evaluations.groups",
    "vicinal.evaluations.anomaly": "vicinal.evaluations.anomalies",
    "vicinal.evaluations.conformal": "vicinal.evaluations.anomalies",
    "vicinal.evaluations.knn": "vicinal.evaluations.probe",
    "vicinal.evaluations.short_probe": "vicinal.evaluations.probe",
    "vicinal.verbs.anomalies": "vicinal.evaluations.anomalies",
    "vicinal.verbs.cluster": "vicinal.evaluations.groups",
    "vicinal.verbs.compare": "vicinal.evaluations.two_sets",
    "vicinal.verbs.duplicates": "vicinal.evaluations.duplicates",
    "vicinal.verbs.embed": "vicinal.representations.embed",
    "vicinal.verbs.leaks": "vicinal.evaluations.leaks",
    "vicinal.verbs.similar": "vicinal.evaluations.retrieval",
    "vicinal.verbs.train": "vicinal.study.train",
}
RENAMED = {"Embeddings": "Representations"}
_PACKAGE = "vicinal.verbs"


class EarlierNames(MetaPathFinder, Loader):
    """Finds a module by the name it had."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that has moved; None for any other."""
        if fullname in MOVED or fullname == _PACKAGE:
            return ModuleSpec(fullname, self, is_package=fullname == _PACKAGE)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fills the module with what is now elsewhere."""
        if module.__name__ == _PACKAGE:
            return
        moved = importlib.import_module(MOVED[module.__name__])
        warnings.warn(
            f"{module.__name__} is now {moved.__name__}", DeprecationWarning, stacklevel=2
        )
        names = {name: value for name, value in vars(moved).items() if not name.startswith("__")}
        vars(module).update(names)
        for earlier, now in RENAMED.items():
            if now in names:
                setattr(module, earlier, names[now])


def install() -> None:
    """Adds the finder to Python's, behind all others."""
    if not any(isinstance(finder, EarlierNames) for finder in sys.meta_path):
        sys.meta_path.append(EarlierNames())
