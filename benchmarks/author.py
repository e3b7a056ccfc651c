"""The study as its author would write it, with scikit-learn and plain PyTorch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE, SpectralEmbedding
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    pairwise_distances,
    roc_auc_score,
    roc_curve,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms

from frozen import Frozen
from vicinal import ImageSet, Recipe, Representations, embed
from vicinal.encoder import build_encoder

Array = NDArray[np.float32]
PART = 1_000  # images on which the cost of running the encoder again is measured
EPOCHS = 10


def maps(array: Array) -> Array:
    PCA(2).fit_transform(array)
    return tsne(array)


def tsne(array: Array) -> Array:
    return TSNE(2, perplexity=30, random_state=0, n_jobs=-1).fit_transform(array)


def logistic(train: Representations, test: Representations) -> float:
    model = LogisticRegression(max_iter=1000).fit(train.array, train.labels)
    return float(model.score(test.array, test.labels))


def adam_probe(train: Representations, test: Representations) -> float:
    torch.manual_seed(0)
    layer = nn.Linear(train.array.shape[1], 10)
    adam = torch.optim.Adam(layer.parameters(), lr=3e-4)
    pairs = TensorDataset(torch.from_numpy(train.array), torch.from_numpy(train.labels))
    loader = DataLoader(pairs, batch_size=256, shuffle=True)
    for _ in range(EPOCHS):
        for points, labels in loader:
            loss = nn.functional.cross_entropy(layer(points), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
    with torch.no_grad():
        answers = layer(torch.from_numpy(test.array)).argmax(dim=1).numpy()
    return float((answers == test.labels).mean())


def knn(train: Representations, test: Representations) -> list[float]:
    def weights(distances: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.exp((1 - distances) / 0.07)

    return [
        float(
            KNeighborsClassifier(k, metric="cosine", weights=weights, n_jobs=-1)
            .fit(train.array, train.labels)
            .score(test.array, test.labels)
        )
        for k in (20, 200)
    ]


def mined(array: Array) -> NDArray[np.int64]:
    return NearestNeighbors(n_neighbors=4, n_jobs=-1).fit(array).kneighbors(array)[1][:, 1:]


def retrieval(train: Representations, test: Representations, k: int = 5) -> float:
    hits = []
    for start in range(0, len(test), 1000):  # in parts, or 10,000 × 50,000 distances are held
        distances = pairwise_distances(test.array[start : start + 1000], train.array, n_jobs=-1)
        order = np.argpartition(distances, (k, -k), axis=1)
        near = ranked(distances, order[:, :k])
        ranked(distances, order[:, -k:])
        hits.append(train.labels[near] == test.labels[start : start + 1000, None])
    return float(np.concatenate(hits).mean())


def ranked(distances: Array, index: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(np.take_along_axis(distances, index, axis=1), axis=1)
    return np.take_along_axis(index, order, axis=1)


def anomaly(train: Array, normal: Array, anomalous: Array) -> float:
    search = NearestNeighbors(n_neighbors=2, n_jobs=-1).fit(train)
    scores = [search.kneighbors(queries)[0].mean(axis=1) for queries in (normal, anomalous)]
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    roc_curve(truth, np.concatenate(scores))
    return float(roc_auc_score(truth, np.concatenate(scores)))


def clusters(array: Array, labels: NDArray[np.int64]) -> dict[str, Any]:
    found = KMeans(10, random_state=0).fit(array)
    return {
        "assignment": found.labels_.astype(np.int64),
        "inertia": float(found.inertia_),
        "silhouette": float(silhouette_score(array, found.labels_)),
        "nmi": normalized_mutual_info_score(labels, found.labels_),
        "ari": adjusted_rand_score(labels, found.labels_),
    }


def spectral(pixels: Array, components: int, neighbours: int) -> Array:
    return SpectralEmbedding(
        components,
        affinity="nearest_neighbors",
        n_neighbors=neighbours,
        random_state=0,
        n_jobs=-1,
    ).fit_transform(pixels)


@dataclass(frozen=True)
class Again:
    """What running the seed encoder over all training images costs, from a part of them.

    Attributes:
        epochs: Seconds of ten epochs of the probe through the encoder, theirs.
        once: Seconds of embedding once, ours.
        note: The same as a sentence.
    """

    epochs: float
    once: float
    note: str


def encoder_again(data: Frozen) -> Again:
    """Times one epoch of the probe over a part of the images, and our embedding of them."""
    part = data.train_images.take(np.arange(min(PART, len(data.train_images))))
    torch.manual_seed(0)
    encoder = build_encoder(Recipe().encoder, channels=3, size=32).eval()
    seconds = {}
    for name, work in (
        ("theirs", lambda: probe_epoch(encoder, part, data)),
        ("ours", lambda: embed(encoder, part, data.preparation)),
    ):
        began = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - began
    share = len(data.train_images) / len(part)
    epochs, once = seconds["theirs"] * share * EPOCHS, seconds["ours"] * share
    return Again(
        epochs,
        once,
        f"The last total is **extrapolated**: one epoch of the Adam probe through the frozen "
        f"ResNet-18 seed encoder took {seconds['theirs']:.1f} s for {len(part):,} images, so "
        f"{epochs:,.0f} s for {EPOCHS} epochs of {len(data.train_images):,}; our embedding took "
        f"{seconds['ours']:.1f} s, so {once:,.0f} s for all of them, once.",
    )


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images one by one, as tensors, normalised."""

    def __init__(self, images: ImageSet, data: Frozen) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.ToTensor(),
                transforms.Normalize(data.preparation.mean, data.preparation.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        pixels = np.array(self.images.pixels[position])
        return self.transform(pixels), int(self.images.labels[position])


def probe_epoch(encoder: nn.Module, images: ImageSet, data: Frozen) -> None:
    layer = nn.Linear(128, 10)
    adam = torch.optim.Adam(layer.parameters(), lr=3e-4)
    for pictures, labels in DataLoader(Pictures(images, data), batch_size=256, shuffle=True):
        with torch.no_grad():
            points = encoder(pictures)
        loss = nn.functional.cross_entropy(layer(points), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
