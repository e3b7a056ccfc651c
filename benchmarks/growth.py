"""How time and memory of each stage grow with the number of images."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from data import folder
from frozen import DATA_NOTE, ENCODER, Frozen, frozen, small_encoder
from measuring import exponent, extra_memory, say, section, table, versions
from vicinal import (
    ArrayBatches,
    LaplacianEigenmaps,
    Recipe,
    cluster,
    converged_probe,
    detect,
    embed,
    knn_probe,
    load,
    nearest,
    pretrain,
    short_probe,
    tsne_map,
)
from vicinal.evaluations.clusters import silhouette
from vicinal.recipes.recipe import Training
from vicinal.representations.index import nearest_approximate
from vicinal.training.device import open_engine
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

TIMES = (1, 2, 4, 8)
ROUNDS = 2
GOAL = 1.1
FEW = 1_000  # queries of the searches whose number of queries does not grow
Work = Callable[[], object]


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage that grows.

    Attributes:
        name: What it is.
        least: The least number of images, N.
        at: Makes the work on so many images; making it is not measured.
        all_pairs: Whether it looks at every pair of images by nature.
        said: A few words about the result at the greatest number, where there are any.
    """

    name: str
    least: int
    at: Callable[[int], Work]
    all_pairs: bool = False
    said: Callable[[object], str] = lambda result: ""


@dataclass(frozen=True, eq=False)
class Timed:
    """A stage's work and seconds at each size, and what is said of its last result."""

    stage: Stage
    sizes: list[int]
    work: list[Work]
    seconds: list[float]
    said: str

    @property
    def exponent(self) -> float:
        """How the time grows."""
        return exponent(self.sizes, self.seconds)

    @property
    def exceeds(self) -> bool:
        """Whether that is more than the goal allows, which says about."""
        return not self.stage.all_pairs and self.exponent > GOAL + 0.05


def main() -> None:
    warnings.filterwarnings("ignore")
    data = frozen()
    with tempfile.TemporaryDirectory() as scratch:
        held = [*image_stages(data, Path(scratch)), *stages(data)]
        times = [timed(stage) for stage in held]
        rows = [line(one) for one in times]  # after all times, for it changes the allocator
    missed = [one.stage.name for one in times if one.exceeds]
    section(
        "Growth with the number of images",
        "What do twice as many images cost in each stage?",
        [table(["stage", "images", "seconds", "time ~ Nᵖ", "extra MB", "memory ~ Nᵖ", ""], rows)],
        [
            DATA_NOTE,
            f"Goal: time exponents of at most about {GOAL} but where all pairs are compared by "
            f"nature: {'met' if not missed else 'missed by ' + ', '.join(missed)}.",
            "All pairs by nature: "
            + ", ".join(stage.name for stage in held if stage.all_pairs)
            + ". The rows beside them are their approximate settings (docs/large-sets.md): "
            "`mined.search` and `spectral.search` = hnsw, `evaluation.silhouette_sample`.",
            "Laplacian Eigenmaps: the eigenvalues crowd as images are added, so the eigensolver "
            "needs more products, each linear in N.",
            "The report shows a bounded number of images (`evaluation.map_images`), so it does not "
            "grow beyond it.",
            f"{versions('faiss-cpu', 'openTSNE')}; median of {ROUNDS} runs at each size; extra "
            "memory is beyond the images and representations given.",
        ],
    )


def timed(stage: Stage) -> Timed:
    """Runs a stage at every size."""
    sizes = [stage.least * times for times in TIMES]
    stage.at(stage.least // 2)()  # unmeasured: libraries load
    work = [stage.at(size) for size in sizes]
    seconds: list[list[float]] = [[] for _ in sizes]
    for _ in range(ROUNDS):
        for one, held in zip(work, seconds, strict=True):
            began = time.perf_counter()
            result = one()
            held.append(time.perf_counter() - began)
    medians = [statistics.median(held) for held in seconds]
    say(f"{stage.name}: {medians} s")
    return Timed(stage, sizes, work, medians, stage.said(result))


def line(timed: Timed) -> list[str]:
    """A line of the table, once the memory is measured too."""
    memory = [extra_memory(one, warm_up=False) for one in timed.work]
    say(f"{timed.stage.name}: {memory} bytes")
    return [
        timed.stage.name + (" (all pairs)" if timed.stage.all_pairs else ""),
        f"{timed.sizes[0]:,} … {timed.sizes[-1]:,}",
        " ".join(f"{one:.2g}" for one in timed.seconds),
        f"{timed.exponent:.2f}",
        " ".join(f"{one / 2**20:.0f}" for one in memory),
        growth(timed.sizes, memory),
        timed.said,
    ]


def growth(sizes: list[int], memory: list[int]) -> str:
    """The exponent of the memory; where it is next to nothing, noise would be fitted."""
    if min(memory) < 2**20:
        return "–"
    return f"{exponent(sizes, memory):.2f}"


def image_stages(data: Frozen, scratch: Path) -> list[Stage]:
    """From files to representations."""
    images, preparation = data.train_images, data.preparation
    encoder = small_encoder(images.pixels[:2048], preparation)
    mean, std = channel_statistics(images.pixels)
    pairs = GeneratedNeighbours(Augment(Recipe().views, mean, std))
    store = torch.from_numpy(np.ascontiguousarray(images.pixels))
    fabric = open_engine("cpu", "float32").fabric
    training = Training(epochs=1, test_images=2)
    recipe = Recipe(encoder=ENCODER, training=training)

    def decoding(count: int) -> Work:
        part = scratch / f"{count}.parquet"
        whole = pq.read_table(folder() / "cifar10-train.parquet")
        pq.write_table(whole.slice(0, count), part)
        return lambda: decode(part, scratch / "store")

    def views(count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        for index in torch.arange(count).split(256):
            pairs(store, index, generator)

    def epoch(count: int) -> None:
        train, test = (ArrayBatches(images.pixels[:n], pairs) for n in (count, 2))
        with tempfile.TemporaryDirectory(dir=scratch) as run:
            pretrain(train, test, recipe, Path(run), fabric, epochs=1)

    def embedding(count: int) -> Work:
        some = images.take(np.arange(count))
        return lambda: embed(encoder, some, preparation)

    return [
        Stage("decode and store", 1_000, decoding),
        Stage("two views of each image", 1_000, lambda count: lambda: views(count)),
        Stage("an epoch of training", 512, lambda count: lambda: epoch(count)),
        Stage("embed", 1_000, embedding),
    ]


def decode(source: Path, store: Path) -> None:
    """Decodes a parquet file into an empty store."""
    shutil.rmtree(store, ignore_errors=True)
    load(f"parquet:{source}", size=32, data_dir=store)


def stages(data: Frozen) -> list[Stage]:
    """From representations to results."""
    few = np.arange(FEW)
    test, anomalies = data.test.take(few), data.anomalies.take(few)

    def train(count: int):
        return data.train.take(np.arange(count))

    def clusters(count: int) -> Work:
        some = train(count)
        return lambda: cluster(some.array, silhouette_sample=2)

    return [
        Stage("converged probe", 6_250, lambda n: bound(converged_probe, train(n), test)),
        Stage("10-epoch probe", 6_250, lambda n: bound(short_probe, train(n), test)),
        Stage(f"k-NN probe of {FEW:,} images", 6_250, lambda n: bound(knn_probe, train(n), test)),
        Stage(
            f"anomaly scores of 2 × {FEW:,} images",
            6_250,
            lambda n: bound(detect, train(n), test, anomalies),
        ),
        Stage("k-means", 6_250, clusters),
        *pairwise(data),
        Stage("t-SNE", 1_250, lambda n: bound(tsne_map, train(n).array)),
    ]


def pairwise(data: Frozen) -> list[Stage]:
    """All pairs, and beside each its approximate setting."""

    def graph(count: int) -> Work:
        array = data.train.array[:count]
        return lambda: nearest(array, array, 15, exclude_self=True)

    def approximate(count: int) -> Work:
        array = data.train.array[:count]
        return lambda: nearest_approximate(array, array, 15, exclude_self=True)

    def exact(count: int) -> Work:
        some = data.train.take(np.arange(count))
        return lambda: silhouette(some.array, some.labels)

    def sampled(count: int) -> Work:
        some = data.train.take(np.arange(count))
        return lambda: silhouette(some.array, some.labels, sample=FEW)

    def eigenmaps(neighbors: str) -> Callable[[int], Work]:
        def at(count: int) -> Work:
            model = LaplacianEigenmaps(32, neighbors=neighbors)
            return lambda: model.fit(data.train.array[:count])

        return at

    return [
        Stage("graph of 15 neighbours, exact", 4_000, graph, all_pairs=True),
        Stage(
            "graph of 15 neighbours, hnsw",
            4_000,
            approximate,
            said=lambda result: f"recall {result[1]:.4f}",
        ),
        Stage(
            "silhouette, exact",
            4_000,
            exact,
            all_pairs=True,
            said=lambda score: f"{score.value:.5f}",
        ),
        Stage(f"silhouette of {FEW:,}, sampled", 4_000, sampled, said=with_error),
        Stage("Laplacian Eigenmaps, exact graph", 2_000, eigenmaps("exact"), all_pairs=True),
        Stage(
            "Laplacian Eigenmaps, hnsw graph",
            2_000,
            eigenmaps("hnsw"),
            said=lambda model: f"recall {model.recall_:.4f}",
        ),
    ]


def with_error(score) -> str:
    """A sampled score with its standard error."""
    return f"{score.value:.5f} ± {(score.interval[1] - score.value) / 1.96:.5f} (standard error)"


def bound(function: Callable[..., object], *arguments: object) -> Work:
    """A call for later."""
    return lambda: function(*arguments)


if __name__ == "__main__":
    main()
