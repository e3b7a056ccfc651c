"""Do measures without labels follow labels? Writes docs/choosing.md.

python benchmarks/choosing.py [the options of benchmarks/folders.py]

Each folder × encoder gives a point: its measures, and the share of the 5 nearest with the same
label. Kendall's τ is taken over the encoders of a folder, and averaged over folders; its interval
is that of resampling encoders within folders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from scipy.stats import kendalltau

from folder_sets import LABELLED, MissingError
from folders import Array, Embed, Pictures, agreement, compared_by, fitted, options, pictures
from folders import representations as whole
from measuring import say, table
from vicinal.evaluations.collapse import collapse
from vicinal.evaluations.own_view import UNSEEN, lidar, neighbour_stability, own_view, views_of
from vicinal.files import read_json, replacing, write_json
from vicinal.recipes import read_recipe
from vicinal.recipes.recipe import Views

PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"
MOST = 300  # pictures of a folder that views are made of
Q = 2  # views of each kind
RESAMPLES = 300


def of_views(embedded: Embed, of: Pictures, kind: Views) -> Array:
    """Representations (M, Q, F) of views of some of the pictures."""
    rows = np.sort(np.random.default_rng(0).permutation(len(of.train))[:MOST])
    views = views_of(of.train[rows], kind, count=Q)
    return np.stack([embedded(one) for one in views], axis=1)


def measured(encoder: str, of: Pictures, recipe: str, cache: Path) -> dict[str, float]:
    """All measures of an encoder in a folder, and what labels say."""
    kept = cache / "choosing" / f"{of.name}-{encoder}-{recipe}.json"
    if not kept.is_file():
        array, _, _ = whole(encoder, of, recipe, cache)
        embedded = fitted(encoder, of, recipe, cache)
        own = of_views(embedded, of, read_recipe(recipe).views)
        other = of_views(embedded, of, UNSEEN)
        cosine, _ = compared_by("cosine", array, array[:0])
        found = {
            "labels": agreement(cosine, of.labels),
            **{name: measure(array, own, other) for name, measure in MEASURES.items()},
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, found)
    held: dict[str, float] = read_json(kept)
    return held


Measure = Callable[[Array, Array, Array], float]
MEASURES: dict[str, Measure] = {
    "own view first, views of the recipe": lambda _, own, other: _first(own),
    "own view first, turned": lambda _, own, other: _first(other),
    "own view first, a view of each kind": lambda _, own, other: (
        own_view(own[:, 0], other[:, 0]).value
    ),
    "neighbour stability, views of the recipe": lambda _, own, other: _stable(own),
    "neighbour stability, turned": lambda _, own, other: _stable(other),
    "neighbour stability, halves of all views": lambda _, own, other: (
        neighbour_stability(own[:, 0] + other[:, 0], own[:, 1] + other[:, 1]).value
    ),
    "LiDAR, views of the recipe": lambda _, own, other: lidar(own).value,
    "LiDAR, all views": lambda _, own, other: lidar(np.concatenate([own, other], 1)).value,
    "RankMe": lambda array, own, other: _rankme(array),
}


def _first(views: Array) -> float:
    return own_view(views[:, 0], views[:, 1]).value


def _rankme(array: Array) -> float:
    # Turned into the span of its rows, which has fewer axes and the same singular values.
    left, sizes, _ = np.linalg.svd(array, full_matrices=False)
    return collapse(left * sizes).rankme.value


def _stable(views: Array) -> float:
    return neighbour_stability(views[:, 0], views[:, 1]).value


Points = dict[str, dict[str, dict[str, float]]]  # folder → encoder → measure → value


def tau(points: Points, name: str, rng: np.random.Generator | None = None) -> float:
    """Kendall's τ with the labels over a folder's encoders, the mean over the folders."""
    found = []
    for encoders in points.values():
        rows = list(encoders.values())
        if rng is not None:
            rows = [rows[i] for i in rng.integers(len(rows), size=len(rows))]
        one = kendalltau([row[name] for row in rows], [row["labels"] for row in rows]).statistic
        found.append(0.0 if np.isnan(one) else float(one))  # a resample of one encoder alone
    return mean(found)


def interval(points: Points, name: str) -> tuple[float, float]:
    """95 % bootstrap interval of `tau`, over the encoders of each folder."""
    rng = np.random.default_rng(0)
    drawn = [tau(points, name, rng) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def points_lost(points: Points, name: str) -> float:
    """Agreement lost by taking, in each folder, the encoder that a measure prefers."""
    lost = [
        max(row["labels"] for row in encoders.values())
        - max(encoders.values(), key=lambda row: row[name])["labels"]
        for encoders in points.values()
    ]
    return mean(lost)


def page(points: Points, limit: int, recipe: str) -> str:
    """docs/choosing.md."""
    order = sorted(MEASURES, key=lambda name: -tau(points, name))
    rows = []
    for name in order:
        low, high = interval(points, name)
        each = [f"{tau({folder: points[folder]}, name):.2f}" for folder in points]
        rows.append(
            [
                *(name, f"{tau(points, name):.2f}", f"{low:.2f} to {high:.2f}", *each),
                f"{100 * points_lost(points, name):.1f}",
            ]
        )
    header = ["measure", "τ", "95 %", *points, "points lost"]
    encoders = list(dict.fromkeys(encoder for one in points.values() for encoder in one))
    values = [
        [folder, encoder, f"{100 * row['labels']:.1f}", *(f"{row[name]:.3g}" for name in order[:3])]
        for folder, one in points.items()
        for encoder, row in one.items()
    ]
    return TEXT.format(
        table=table(header, rows),
        values=table(["folder", "encoder", "labels, %", *order[:3]], values),
        most=MOST,
        limit=limit,
        recipe=recipe,
        encoders=", ".join(f"`{name}`" for name in encoders),
        best=order[0],
        worst=order[-1],
        worst_tau=f"{tau(points, order[-1]):.2f}",
    )


TEXT = """# Choosing an encoder without labels

Written by `python benchmarks/choosing.py`. Without labels, can one know which of several encoders
puts alike pictures together? Each encoder ({encoders}) is measured on each folder of
`benchmarks/folders.py` (at most {limit:,} pictures; recipe `{recipe}`), without labels, and by
the share of a picture's 5 nearest (cosine) that have its label. Kendall's τ says how well the two
orders of the encoders agree: 1 is the same order, 0 is chance, −1 the reverse. It is taken within
a folder and averaged over the folders; its interval resamples the encoders of each folder.
*Points lost*: how much less agreement with labels the encoder has that the measure prefers than
the best one, on average.

{table}

- *Own view first*: how often a picture's other view is nearer than any other picture's
  (`vicinal.evaluations.own_view`).
- *Neighbour stability*: the share of the 5 nearest by one view that are among the 5 nearest by
  another.
- *LiDAR*: Thilak et al., ICLR 2024, q = 2 (4 for all views), δ = 1e-4. *RankMe*: Garrido et al.,
  ICML 2023.
- Views of {most} pictures of a folder. Those of the recipe are what the encoders of ours were
  trained on; *turned* ones (up to 20°, and cropped a little) no encoder was trained on.

The best is *{best}*; the worst, *{worst}*, has τ = {worst_tau}. The health card of the explore
page uses *own view first, turned*. Here it is behind *own view first* by the views of the recipe,
within the interval; but encoders are trained on those views, which a long training can learn
without learning what labels ask for.

Where *turned* fails. It wants a picture to be told from all others, and labels want some of them
together: of MNIST's digits the pretrained network tells most apart, and raw pixels agree with
labels better. On CIFAR-10 patch features come before the pretrained network, which labels put far
ahead. Raw pixels lose by it more than by labels, for a turned picture has other pixels (MNIST,
icons), so patch features are the rival that counts. Where *views of the recipe* fail: on crops
they put an encoder of 2 epochs behind patch features, labels put it 9 points ahead. Five encoders
a folder make wide intervals.

The values of the three best:

{values}

## Choosing an objective

`vicinal study --objectives` recommends, and `vicinal choose` keeps, the objective whose encoder
has most *own view first* by the views of the recipe. That measure did best above, which is over
encoders, not over objectives. LiDAR, RankMe and α-ReQ are shown beside it and decide nothing.
Whether any of them orders *objectives* as labels do is **not measured yet**. Kendall's τ over six
objectives, three seeds and four sets (digits, CIFAR-10, MNIST, icons) takes 72 trainings, which
`python benchmarks/choosing_objectives.py --resume` makes and sums up in a table.

What there is so far is one study with one seed, of four objectives on 500 of scikit-learn's digits
(`vicinal study --data digits --limit 500 --objectives vicreg,barlow,sigreg,visreg`, 8 epochs):

| objective | 20 nearest vote, % | own view first, % | LiDAR | RankMe | α-ReQ |
| --- | --- | --- | --- | --- | --- |
| VICReg | 87.2 | 8.3 | 27.9 | 27.9 | 2.86 |
| VISReg | 80.4 | 7.0 | 32.2 | 29.7 | 2.72 |
| SIGReg | 75.6 | 2.0 | 36.6 | 22.4 | 2.89 |
| Barlow Twins | 72.4 | 3.7 | 32.3 | 23.6 | 3.01 |

Own view first orders 5 of the 6 pairs as labels do, RankMe 4 and LiDAR 1. Four objectives on one
set say little, and all had VICReg's learning rate and projector, for recipes of their own have not
been searched for. `vicinal choose` trains briefly, so it drops an objective that begins slowly.
"""


def main() -> None:
    """Measures what is asked for and writes the page."""
    asked = options(__doc__, LABELLED).parse_args()
    points: Points = {}
    for name in asked.folders.split(","):
        for encoder in asked.encoders.split(","):
            say(f"{name}, {encoder}")
            try:
                of = pictures(name, asked.limit, asked.cache)
                row = measured(encoder, of, asked.recipe, asked.cache)
            except MissingError as error:
                say(f"not measured: {error}")
                continue
            points.setdefault(name, {})[encoder] = row
    with replacing(PAGE) as partial:
        partial.write_text(page(points, asked.limit, asked.recipe), "utf-8")
    say(str(PAGE))


if __name__ == "__main__":
    main()
