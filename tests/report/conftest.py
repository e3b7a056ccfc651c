"""A run folder as a study of the digits leaves it, made from real digits in a few seconds."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import confusion_matrix, pairwise_distances, roc_curve

from vicinal.recipes import to_toml
from vicinal.recipes.recipe import Recipe
from vicinal.runs.pictures import write_pictures

POINTS = 300
CLASSES = [str(digit) for digit in range(10)]
RunMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder; don't write to it, `make_run` gives a copy."""
    folder = tmp_path_factory.mktemp("digits-run")
    write_run(folder)
    return folder


@pytest.fixture
def make_run(digits_run: Path, tmp_path: Path) -> RunMaker:
    """A function that copies the run folder and changes its results."""

    def make(change: Callable[[dict[str, Any]], None] = lambda results: None) -> Path:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(digits_run, folder)
        (folder / "report.html").unlink(missing_ok=True)
        results = json.loads((folder / "results.json").read_text("utf-8"))
        change(results)
        (folder / "results.json").write_text(json.dumps(results), "utf-8")
        return folder

    return make


def write_run(folder: Path) -> None:
    """Writes what `vicinal study` would, with representations that PCA stands in for."""
    bunch = load_digits()
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(bunch.images))
    test, train = chosen[:POINTS], chosen[POINTS:]
    flat, labels = bunch.data.astype(np.float32), bunch.target.astype(np.int64)
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    ids = [f"digits/{row:04d}" for row in range(len(pixels))]
    # A whitened PCA plays S1, a whitened one of noisy images S5, a single direction S4.
    good = PCA(16, whiten=True, random_state=0).fit(flat[train])
    h = {
        "generated": good.transform(flat),
        "mined": good.transform(flat + rng.normal(0, 6, flat.shape)),
        "no-variance": good.transform(flat) * ([1e-2, 8e-3] + [1e-5] * 14),
        "spectral": good.transform(flat)[:, :6],
    }
    (folder / "maps").mkdir()
    pca = PCA(2, random_state=0).fit_transform
    tsne = TSNE(perplexity=25, random_state=0, max_iter=350).fit_transform
    kmeans = {
        k: KMeans(10, n_init=1, random_state=0).fit(h[k][train]) for k in ("generated", "mined")
    }
    maps = {
        "generated-pca": (pca(h["generated"][test]), None),
        "no-variance-pca": (pca(h["no-variance"][test]), None),
        "generated-tsne": (tsne(h["generated"][test]), None),
        "spectral-tsne": (tsne(h["spectral"][test]), None),
    }
    maps["clusters-generated"] = (
        maps["generated-tsne"][0],
        kmeans["generated"].predict(h["generated"][test]),
    )
    maps["clusters-mined"] = (tsne(h["mined"][test]), kmeans["mined"].predict(h["mined"][test]))
    for name, (points, clusters) in maps.items():
        columns = {
            "id": pa.array([ids[row] for row in test]),
            "x": pa.array(points[:, 0].astype(np.float32)),
            "y": pa.array(points[:, 1].astype(np.float32)),
            "label": pa.array(labels[test], pa.int64()),
        }
        if clusters is not None:
            columns["cluster"] = pa.array(clusters, pa.int64())
        pq.write_table(pa.table(columns), folder / "maps" / f"{name}.parquet")
    patches = rng.integers(0, 256, (40, 2, 2, 1), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    patch_ids = [f"patches/{row:03d}" for row in range(40)]
    write_pictures(folder / "pictures", ids + patch_ids, np.concatenate([pixels, patches]))
    for learner, ends in (("generated", 9.0), ("no-variance", 0.02), ("mined", 14.0)):
        write_losses(folder / learner, ends)
    centroids = {
        key: [
            maps[f"clusters-{key}"][0][maps[f"clusters-{key}"][1] == c].mean(0).tolist()
            for c in range(10)
            if (maps[f"clusters-{key}"][1] == c).any()
        ]
        for key in kmeans
    }
    results = make_results(h, labels, train, test, ids, patch_ids, centroids)
    (folder / "results.json").write_text(json.dumps(results), "utf-8")
    (folder / "environment.json").write_text(json.dumps(results["environment"]), "utf-8")
    (folder / "recipe.toml").write_text(to_toml(Recipe(name="digits")), "utf-8")


def write_losses(folder: Path, ends: float) -> None:
    """Sixty epochs of curves that fall to about ``ends``."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    with (folder / "losses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("total", "invariance", "variance", "covariance", "seconds", "images_per_second")
        writer.writerow(("epoch", "split", *names))
        for epoch in range(1, 61):
            for split, factor in (("train", 1.0), ("test", 1.08)):
                fall = factor * (1 + 3 * np.exp(-epoch / 9)) * (1 + 0.02 * rng.normal())
                terms = (0.02 * fall * ends, 0.015 * fall * ends, 0.06 * fall**3 * ends)
                writer.writerow((epoch, split, ends * fall, *terms, 0.25, 5100))


def make_results(
    h: dict[str, Any],
    labels: Any,
    train: Any,
    test: Any,
    ids: list[str],
    patch_ids: list[str],
    centroids: dict[str, Any],
) -> dict[str, Any]:
    """The shape of ``results.json``, every key filled."""
    probes = {name: probe(array, labels, train, test) for name, array in h.items()}
    spectrum = {name: np.linalg.eigvalsh(np.cov(a.T))[::-1].tolist() for name, a in h.items()}
    retrieved = {k: retrieval(h[k][test], labels[test], test, ids) for k in ("generated", "mined")}
    anomalies = {
        name: roc(shift, seed, patch_ids, ids, test, labels)
        for seed, (name, shift) in enumerate(
            [("generated", 3.0), ("mined", 2.2), ("pixels", 1.8), ("untrained", 1.1)]
        )
    }
    clusters = {
        key: {
            "silhouette": 0.21 - 0.02 * n,
            "nmi": 0.8 - 0.2 * n,
            "ari": 0.75 - 0.2 * n,
            "matched_accuracy": 0.83 - 0.2 * n,
            "centroids": centroids[key],
        }
        for n, key in enumerate(centroids)
    }
    final = {"total": 9.1, "invariance": 0.18, "variance": 0.14, "covariance": 0.55}
    data = {
        "name": "digits",
        "source": "digits",
        "train": len(train),
        "test": len(test),
        "size": 8,
        "channels": 1,
        "classes": CLASSES,
        "limit": None,
        "note": "",
        "fingerprint": {"train": "6d1f0a77e2c04b18", "test": "0b1e55d7c6a2f913"},
        "anomalies": {"name": "patches", "count": 40, "classes": ["china", "flower"]},
    }
    knn = {"20": 0.961, "200": 0.934}
    systems = {
        "S1": {
            "rankme": 14.2,
            "epochs": 60,
            "images_per_second": 5100.0,
            "final": {"train": final, "test": {k: 1.08 * v for k, v in final.items()}},
            "curves_fall": True,
        },
        "S2": {
            "pca": {"class_agreement": 0.512, "trustworthiness": 0.741, "explained": [0.09, 0.08]},
            "tsne": {"class_agreement": 0.884, "trustworthiness": 0.973},
        },
        "S3": {
            **probes["generated"],
            "interval": [0.931, 0.974],
            "train_accuracy": 0.991,
            "chance": 0.1,
            "knn": knn,
            "few_labels": {"per_class": 5, "accuracy": 0.861, "interval": [0.82, 0.897]},
            "baselines": {
                "pixels": {"probe_accuracy": 0.951, "few_labels": 0.744, "knn": knn},
                "untrained": {"probe_accuracy": 0.902, "few_labels": 0.621, "knn": knn},
            },
        },
        "S4": {
            **probes["no-variance"],
            "rankme": 1.9,
            "top2_share": 0.999,
            "std_mean": 0.0013,
            "std_min": 9.8e-6,
            "spectrum": spectrum["no-variance"],
            "reference": {
                "rankme": 14.2,
                "top2_share": 0.13,
                "std_mean": 0.99,
                "spectrum": spectrum["generated"],
            },
        },
        "S5": {
            **probes["mined"],
            "rankme": 13.1,
            "mined_other_class": 0.043,
            "examples": [
                {"id": ids[train[n]], "neighbours": [ids[train[n + k]] for k in (1, 2, 3)]}
                for n in range(0, 24, 4)
            ],
        },
        "S6": {
            **probes["spectral"],
            "class_agreement": 0.71,
            "reference_class_agreement": 0.884,
            "graph_components": 1,
        },
        "S7": retrieved,
        "S8": anomalies,
        "S9": clusters,
    }
    return {
        "format": 1,
        "data": data,
        "recipe": Recipe(name="digits").model_dump(mode="json"),
        "environment": {
            "vicinal": "0.1.0",
            "python": "3.13.1",
            "torch": "2.14.0",
            "device": "cpu",
            "threads": 2,
            "precision": "bf16",
            "commit": "4f18c76",
            "started": "2025-11-24T04:14:00+00:00",
        },
        "seconds": {"load": 0.4, "train generated": 61.2, "train no-variance": 58.9, "maps": 31.0},
        "systems": systems,
        "claims": make_claims(),
        "seeds": {},
    }


def probe(array: Any, labels: Any, train: Any, test: Any) -> dict[str, Any]:
    """A converged probe's figures from scikit-learn; the short one is made up."""
    scale = array[train].std(0) + 1e-12
    model = LogisticRegression(max_iter=60).fit(array[train] / scale, labels[train])
    counts = confusion_matrix(labels[test], model.predict(array[test] / scale))
    return {
        "probe_accuracy": float(np.trace(counts) / counts.sum()),
        "probe_accuracy_short": 0.9 if scale.mean() > 0.1 else 0.14,
        "per_class": (counts.diagonal() / counts.sum(1)).tolist(),
        "confusion": counts.tolist(),
    }


def retrieval(array: Any, labels: Any, rows: Any, ids: list[str]) -> dict[str, Any]:
    distances = pairwise_distances(array)
    queries, hits = [], np.zeros((10, 5), dtype=bool)
    for digit in range(10):
        own = int(np.flatnonzero(labels == digit)[0])
        order = np.argsort(distances[own])
        sides = {"nearest": order[1:6], "farthest": order[::-1][:5]}
        hits[digit] = labels[sides["nearest"]] == digit
        found = {
            side: [
                {
                    "id": ids[rows[at]],
                    "distance": float(distances[own, at]),
                    "label": int(labels[at]),
                }
                for at in places
            ]
            for side, places in sides.items()
        }
        queries.append({"id": ids[rows[own]], "label": digit, **found})
    return {
        "precision_at_k": float(hits.mean()),
        "per_class": hits.mean(1).tolist(),
        "saturation_gap": 0.0,
        "brightness_gap": 0.071,
        "queries": queries,
    }


def roc(
    shift: float, seed: int, patch_ids: list[str], ids: list[str], test: Any, labels: Any
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0, 1, POINTS), rng.normal(shift, 1, 40)]) + 4
    anomaly = np.repeat([False, True], [POINTS, 40])
    fpr, tpr, _ = roc_curve(anomaly, scores, drop_intermediate=False)
    area = float(np.trapezoid(tpr, fpr))
    names = [ids[row] for row in test] + patch_ids
    classes = [CLASSES[labels[row]] for row in test] + ["china", "flower"] * 20
    top = np.argsort(-scores)[:7]
    return {
        "auroc": area,
        "interval": [area - 0.02, min(area + 0.02, 1.0)],
        "fpr95": float(fpr[np.searchsorted(tpr, 0.95)]),
        "aupr": 0.93,
        "aupr_normal": 0.99,
        "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
        "most_anomalous": [
            {
                "id": names[at],
                "score": float(scores[at]),
                "class": classes[at],
                "anomaly": bool(anomaly[at]),
            }
            for at in top
        ],
        "class_scores": {
            name: float(scores[[c == name for c in classes]].mean())
            for name in dict.fromkeys(sorted(classes))
        },
    }


def make_claims() -> list[dict[str, Any]]:
    figures = {"t-SNE class agreement": 0.884, "PCA class agreement": 0.512}
    sentences = {
        1: (
            "t-SNE beats PCA as a map",
            True,
            figures,
            "Neighbours on the t-SNE map share a class more often.",
        ),
        2: (
            "Vehicles are told apart better than animals",
            None,
            {},
            "These classes are neither vehicles nor animals.",
        ),
        3: (
            "Without the variance term the representation collapses",
            True,
            {"RankMe S1": 14.2, "RankMe S4": 1.9, "share of variance in two directions, S4": 0.999},
            "Two directions hold nearly all of the variance.",
        ),
        4: (
            "Generated neighbours beat mined neighbours",
            True,
            {"probe S1": 0.953, "probe S5": 0.821, "pairs of two classes": 0.043},
            "The probe on S1 is better.",
        ),
        5: (
            "VICReg beats Laplacian Eigenmaps on probe and map",
            True,
            {"probe S1": 0.953, "probe S6": 0.763},
            "Both figures are higher for S1.",
        ),
        6: (
            "S1's nearest images share the query's class more often than S5's",
            True,
            {"precision at 5, S1": 0.96, "precision at 5, S5": 0.82},
            "Its precision is higher.",
        ),
        7: (
            "S5's farthest images are chosen by colour more than S1's",
            None,
            {},
            "Grey images have no colour.",
        ),
        8: (
            "Anomalies are detected slightly better by S5 than by S1",
            False,
            {"AUC S1": 0.9791, "AUC S5": 0.9402},
            "S1's area under the curve is larger.",
        ),
        9: (
            "Clusters agree better in S1 than in S5 although S5's silhouette is higher",
            False,
            {"NMI S1": 0.8, "NMI S5": 0.6, "silhouette S1": 0.21, "silhouette S5": 0.19},
            "S1 agrees better, but its silhouette is the higher one too.",
        ),
    }
    return [
        {"id": n, "claim": claim, "holds": holds, "figures": f, "why": why}
        for n, (claim, holds, f, why) in sentences.items()
    ]
