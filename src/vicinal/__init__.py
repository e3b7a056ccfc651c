"""Vicinal: learn image representations without labels, then measure, map and use them.

The public API, by room and in the order data flows. Names are loaded when first used,
so that ``import vicinal`` and ``vicinal --help`` do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vicinal import earlier_names

if TYPE_CHECKING:
    from vicinal.cores import set_threads
    from vicinal.encoder.saved import load_encoder, save_encoder
    from vicinal.errors import InputError
    from vicinal.estimators.anomalies import NeighbourAnomalyDetector
    from vicinal.estimators.patches import PatchFeatures
    from vicinal.estimators.vicreg import VICReg
    from vicinal.evaluations.anomalies import detect
    from vicinal.evaluations.clusters import cluster
    from vicinal.evaluations.collapse import collapse
    from vicinal.evaluations.maps import pca_map, tsne_map
    from vicinal.evaluations.probe import converged_probe, few_label_probe, knn_probe, short_probe
    from vicinal.evaluations.retrieval import retrieve
    from vicinal.evaluations.selection import select
    from vicinal.evaluations.two_sets import new_images, two_sample
    from vicinal.evaluations.wrong_labels import wrong_labels
    from vicinal.images import ImageSet, from_images, load, load_anomalies
    from vicinal.objectives import (
        PRESETS,
        BarlowLoss,
        NTXentLoss,
        SIGRegLoss,
        TCRLoss,
        VICRegLoss,
        VISRegLoss,
        vicreg,
    )
    from vicinal.recipes import override, read_recipe
    from vicinal.recipes.recipe import Recipe, Views
    from vicinal.report import show, write_report
    from vicinal.representations.embed import embed
    from vicinal.representations.neighbours import nearest, nearest_and_farthest
    from vicinal.representations.representations import Representations
    from vicinal.representations.spectral import LaplacianEigenmaps
    from vicinal.study.publish_to_hub import from_pretrained, push_to_hub
    from vicinal.study.run import StudyOptions, run_study
    from vicinal.training.batches import ArrayBatches
    from vicinal.training.loop import pretrain
    from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

__version__ = "0.1.0"

earlier_names.install()

_HOMES = {
    "InputError": "errors",
    "set_threads": "cores",
    "Recipe": "recipes.recipe",
    "Views": "recipes.recipe",
    "override": "recipes",
    "read_recipe": "recipes",
    "ImageSet": "images",
    "from_images": "images",
    "load": "images",
    "load_anomalies": "images",
    "Augment": "views",
    "GeneratedNeighbours": "views",
    "channel_statistics": "views",
    "load_encoder": "encoder.saved",
    "save_encoder": "encoder.saved",
    "PRESETS": "objectives",
    "VICRegLoss": "objectives",
    "BarlowLoss": "objectives",
    "NTXentLoss": "objectives",
    "SIGRegLoss": "objectives",
    "TCRLoss": "objectives",
    "VISRegLoss": "objectives",
    "vicreg": "objectives",
    "ArrayBatches": "training.batches",
    "pretrain": "training.loop",
    "Representations": "representations.representations",
    "embed": "representations.embed",
    "nearest": "representations.neighbours",
    "nearest_and_farthest": "representations.neighbours",
    "LaplacianEigenmaps": "representations.spectral",
    "VICReg": "estimators.vicreg",
    "PatchFeatures": "estimators.patches",
    "NeighbourAnomalyDetector": "estimators.anomalies",
    "converged_probe": "evaluations.probe",
    "few_label_probe": "evaluations.probe",
    "short_probe": "evaluations.probe",
    "knn_probe": "evaluations.probe",
    "collapse": "evaluations.collapse",
    "pca_map": "evaluations.maps",
    "tsne_map": "evaluations.maps",
    "retrieve": "evaluations.retrieval",
    "detect": "evaluations.anomalies",
    "cluster": "evaluations.clusters",
    "wrong_labels": "evaluations.wrong_labels",
    "select": "evaluations.selection",
    "two_sample": "evaluations.two_sets",
    "new_images": "evaluations.two_sets",
    "StudyOptions": "study.run",
    "run_study": "study.run",
    "from_pretrained": "study.publish_to_hub",
    "push_to_hub": "study.publish_to_hub",
    "show": "report",
    "write_report": "report",
}

__all__ = [  # noqa: RUF022 - in the order data flows
    "__version__",
    "InputError",
    "set_threads",
    "Recipe",
    "Views",
    "override",
    "read_recipe",
    "ImageSet",
    "from_images",
    "load",
    "load_anomalies",
    "Augment",
    "GeneratedNeighbours",
    "channel_statistics",
    "load_encoder",
    "save_encoder",
    "PRESETS",
    "VICRegLoss",
    "BarlowLoss",
    "NTXentLoss",
    "SIGRegLoss",
    "TCRLoss",
    "VISRegLoss",
    "vicreg",
    "ArrayBatches",
    "pretrain",
    "Representations",
    "embed",
    "nearest",
    "nearest_and_farthest",
    "LaplacianEigenmaps",
    "VICReg",
    "PatchFeatures",
    "NeighbourAnomalyDetector",
    "converged_probe",
    "few_label_probe",
    "short_probe",
    "knn_probe",
    "collapse",
    "pca_map",
    "tsne_map",
    "retrieve",
    "detect",
    "cluster",
    "wrong_labels",
    "select",
    "two_sample",
    "new_images",
    "StudyOptions",
    "run_study",
    "from_pretrained",
    "push_to_hub",
    "show",
    "write_report",
]


_EARLIER = {"Request": "StudyOptions"}
"""Public names as they were called before."""


def __getattr__(name: str) -> Any:
    name = _EARLIER.get(name, name)
    if name in _HOMES:
        return getattr(importlib.import_module(f"vicinal.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vicinal' has no attribute {name!r}")
