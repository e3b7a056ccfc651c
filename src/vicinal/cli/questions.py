"""Questions to ask a file of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    EmbeddingsFile,
    Exclude,
    FalseAlarms,
    IndexFolder,
    MaxMegapixels,
    Threads,
    reading,
)
from vicinal.errors import InputError, option
from vicinal.files import check_new, write_csv

if TYPE_CHECKING:
    from vicinal.evaluations.leaks import Leaked

SHOWN = 20
"""Rows of a table in the terminal; files and JSON have them all."""


def similar(
    embeddings: EmbeddingsFile,
    query: Annotated[str, typer.Argument(help="An id in the file, or a picture's path.")],
    k: Annotated[int, typer.Option("--k", help="How many.")] = 10,
    farthest: Annotated[bool, typer.Option("--farthest", help="The least similar ones.")] = False,
    encoder: Annotated[
        Path | None, typer.Option(help="The run that made the file, for a picture not in it.")
    ] = None,
    index: IndexFolder = None,
    grid: Annotated[Path | None, typer.Option(help="Draw the pictures into this PNG.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the pictures nearest to one, or farthest from it.

    \b
    vicinal similar photos.parquet beach/0031.jpg --grid near.png
    vicinal similar photos.parquet NEW.jpg --encoder runs/photos --farthest
    """
    if grid is not None:
        check_new(grid, "grid", ".png")
    from vicinal.cli.output import print_json, print_table
    from vicinal.evaluations.retrieval import similar as find
    from vicinal.evaluations.retrieval import write_grid
    from vicinal.representations.pairing import load_with

    whole, opened = load_with(embeddings, index)
    found = find(whole, query, k=k, farthest=farthest, encoder=encoder, index=opened)
    listed = found.listed(whole)
    if grid is not None:
        shown = Path(query) if found.row is None else found.row
        captions = [f"{distance:.3g}" for distance in found.distances]
        write_grid(grid, whole, shown, found.rows.tolist(), [found.query, *captions])
    if as_json:
        print_json({"query": found.query, "farthest": farthest, "found": listed})
        return
    print_table(
        ["rank", *whole.columns(), "distance"], [list(picture.values()) for picture in listed]
    )


def anomalies(
    embeddings: EmbeddingsFile,
    reference: Annotated[
        Path | None,
        typer.Option(help="Embeddings of normal pictures. (default: the set itself)"),
    ] = None,
    false_alarms: FalseAlarms = 0.01,
    k: Annotated[int, typer.Option("--k", help="Neighbours whose mean distance is the score.")] = 2,
    index: IndexFolder = None,
    out: Annotated[Path | None, typer.Option(help="Write all of them into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Rank pictures by how odd they are, and flag the oddest.

    Held-out pictures of the reference calibrate p-values and the threshold; further ones
    measure its false alarms. Best with an encoder that was not trained on these.

    \b
    vicinal anomalies photos.parquet --out ranked.csv
    vicinal anomalies new.parquet --reference good.parquet --false-alarms 0.05
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.anomalies import rank_anomalies
    from vicinal.representations.embeddings import Embeddings
    from vicinal.representations.pairing import load_with

    searched, opened = load_with(reference or embeddings, index)
    whole = searched if reference is None else Embeddings.load(embeddings)
    normal = None if reference is None else searched
    found = rank_anomalies(whole, normal, false_alarms=false_alarms, k=k, index=opened)
    listed = found.listed(whole)
    header = ["rank", *whole.columns(), "score", "p_value", "flagged"]
    if out is not None:
        write_csv(out, header, (list(picture.values()) for picture in listed))
    if as_json:
        print_json({"k": k, "false_alarms": false_alarms} | found.to_json(whole))
        return
    print_table(header, [list(picture.values()) for picture in listed[:SHOWN]])
    flagged = sum(picture["flagged"] for picture in listed)
    say(f"{flagged} of {len(whole):,} flagged: score above {found.threshold:.4g}")
    if found.measured is None:
        say("no reference: p is a picture's rank within the set, and no false-alarm rate is known")
        return
    low, high = found.measured["interval"]
    say(
        f"false alarms: asked {false_alarms:.2%}, measured {found.measured['rate']:.2%} "
        f"({low:.2%} to {high:.2%}) of {found.measured['n']:,} further normal pictures; "
        f"{found.calibration:,} calibrated, {found.bank:,} are the bank"
    )


def cluster(
    embeddings: EmbeddingsFile,
    clusters: Annotated[
        int | None, typer.Option(help="How many groups. (default: chosen from 2 to 100)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all pictures into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Group pictures, coarsely and finely, and name those that stand for each group.

    The groups form a tree, so that each group of 20 lies in one of 10. The column cluster has
    the level that was asked for or chosen, the columns cluster_2 to cluster_100 have others.

    \b
    vicinal cluster photos.parquet --out clusters.csv
    vicinal cluster photos.parquet --clusters 12
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.groups import group
    from vicinal.representations.embeddings import Embeddings

    whole = Embeddings.load(embeddings)
    found = group(whole, clusters)
    told = found.to_json(whole)
    if out is not None:
        rows = (list(picture.values()) for picture in told["pictures"])
        write_csv(out, found.header(whole), rows)
    if as_json:
        print_json(told)
        return
    print_table(
        ["cluster", "size", "mostly", "representatives"],
        [
            (
                one["cluster"],
                one["size"],
                f"{one['label']} ({one['share']:.0%})" if "label" in one else "",
                "  ".join(picture["id"] for picture in one["representatives"]),
            )
            for one in told["clusters"]
        ],
    )
    say(
        f"{found.chosen} groups, silhouette {found.silhouette:.3f}; "
        f"--clusters 2 to {len(found.tree)} for fewer or more"
    )


def duplicates(
    pictures: Annotated[
        str,
        typer.Argument(metavar="PICTURES", help="Embeddings, or pictures: a folder, a .csv, …"),
    ],
    against: Annotated[
        str | None,
        typer.Option(help="Which of these, embeddings or pictures, are copies of the first?"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="The greatest distance of a pair. (default: the pixels decide)"),
    ] = None,
    index: IndexFolder = None,
    out: Annotated[Path | None, typer.Option(help="Write all pairs into this CSV.")] = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find pictures that are the same, or nearly, and test pictures that are in training.

    Copies may be resized, re-compressed, mirrored, brightened and slightly cropped. Pixels decide
    where they can be had; else, or by --threshold or --index, distances of embeddings do.

    \b
    vicinal duplicates PHOTOS/ --out pairs.csv
    vicinal duplicates TRAIN/ --against TEST/
    vicinal duplicates photos.parquet --threshold 0.5
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.duplicates import find_duplicates
    from vicinal.evaluations.leaks import Pictures, leaks_between, leaks_within, read_pictures
    from vicinal.representations.pairing import load_with

    if against is not None and (threshold is not None or index is not None):
        raise InputError(f"{option('against')}: takes no threshold and no index; leave them out")
    how: dict[str, Any] = {**reading(exclude, max_megapixels), "data_dir": data_dir}
    if threshold is None and index is None:
        known, opened = read_pictures(pictures, **how), None
    else:
        whole, opened = load_with(Path(pictures), index)
        known = Pictures(whole, None, True)
    if against is not None:
        _show_leaks(leaks_between(known, read_pictures(against, **how)), out, as_json)
        return
    whole = known.embeddings
    found, between = find_duplicates(whole, threshold, opened, small=known.small), None
    if known.small is not None:
        between = leaks_within(known)
    listed = found.listed(whole)
    names = [f"{name}_{end}" for end in "ab" for name in whole.columns()]
    if out is not None:
        write_csv(out, ["group", "distance", *names], (list(pair.values()) for pair in listed))
    if as_json:
        leaks = {} if between is None else {"between_parts": between.to_json()}
        print_json(found.to_json(whole) | leaks)
        return
    if warning := found.warning():
        say(f"warning: {warning}")
    shown = ("group", "distance", "id_a", "id_b")
    print_table(shown, [[pair[name] for name in shown] for pair in listed[:SHOWN]])
    for line in [*found.told(), *([] if between is None else between.told())]:
        say(line)


def _show_leaks(leaked: Leaked, out: Path | None, as_json: bool) -> None:
    """Writes and prints copies between two sets."""
    from vicinal.cli.output import print_json, print_table, say

    listed, shown = leaked.listed(), ("difference", "id_a", "id_b")
    if out is not None:
        write_csv(out, leaked.header(), (list(pair.values()) for pair in listed))
    if as_json:
        print_json(leaked.to_json())
        return
    if warning := leaked.warning():
        say(f"warning: {warning}")
    print_table(shown, [[pair[name] for name in shown] for pair in listed[:SHOWN]])
    for line in leaked.told():
        say(line)


def labels(
    embeddings: EmbeddingsFile,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with columns id (or path) and label. (default: the set's own)"),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="Labelled neighbours that are asked.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write all of them into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find labels that look wrong, with the label to put there.

    Ranked by what a picture's neighbours and a classifier fitted without it say against its label.

    \b
    vicinal labels photos.parquet --out doubtful.csv
    vicinal labels photos.parquet --labels labels.csv
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.wrong_labels import doubt_labels
    from vicinal.representations.embeddings import Embeddings

    whole = Embeddings.load(embeddings)
    found = doubt_labels(whole, labels, k=k)
    listed = found.listed(whole)
    if out is not None:
        write_csv(out, found.header(whole), found.rows(whole))
    if as_json:
        print_json(found.to_json(whole))
        return
    shown = ("rank", "id", "label", "suggested", "confidence", "neighbours_agree")
    print_table(
        [*shown, "like"],
        [[*(one[name] for name in shown), *one["neighbours"][:1]] for one in listed[:SHOWN]],
    )
    say(found.told())


def select(
    embeddings: EmbeddingsFile,
    count: Annotated[int, typer.Option(min=1, help="How many to label.")] = 100,
    labels: Annotated[
        str | None,
        typer.Option(
            help="What is labelled already: a CSV with a column id (or path), or own for the "
            "labels in the file."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="typical, k-centre or random.")] = "typical",
    seed: Annotated[int, typer.Option(help="Seed of what is random in it.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write them into this CSV, to fill in its column label.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Choose the pictures to label first.

    \b
    vicinal select photos.parquet --count 100 --out labels.csv
    vicinal select photos.parquet --labels labels.csv --out more.csv
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.selection import select_pictures
    from vicinal.representations.embeddings import Embeddings

    whole = Embeddings.load(embeddings)
    found = select_pictures(whole, count, labels=labels, method=method, seed=seed)
    listed = found.listed(whole)
    header = found.header(whole)
    if out is not None:
        write_csv(out, header, (list(picture.values()) for picture in listed))
    if as_json:
        print_json(found.to_json(whole))
        return
    print_table(header, [list(picture.values()) for picture in listed[:SHOWN]])
    beside = f" beside {found.found.labelled:,} labelled ones" if found.found.labelled else ""
    say(f"{len(listed):,} of {len(whole):,} pictures to label, {method}{beside}")


def compare(
    one: Annotated[
        Path, typer.Argument(metavar="A", help="What `vicinal embed` wrote, a file or a folder.")
    ],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another, by the same encoder.")],
    false_alarms: Annotated[
        float, typer.Option(help="Share of pictures flagged where nothing is new.")
    ] = 0.01,
    out: Annotated[Path | None, typer.Option(help="Write all pictures into this CSV.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Make this folder, with a page of both sets on one map.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Say whether two sets are alike, and what each has that the other has not.

    \b
    vicinal compare old.parquet new.parquet --out new.csv
    vicinal compare old.parquet new.parquet --run runs/both
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.two_sets import compare_sets
    from vicinal.representations.embeddings import Embeddings

    sets = (Embeddings.load(one), Embeddings.load(other))
    found = compare_sets(*sets, names=(str(one), str(other)), false_alarms=false_alarms)
    listed = [found.listed(1), found.listed(0)]
    header = found.header()
    if out is not None:
        write_csv(out, header, ([p.get(name) for name in header] for p in [*listed[0], *listed[1]]))
    page = None
    if run is not None:
        from vicinal.explore import show_two_sets

        page = show_two_sets(found, run)
    if as_json:
        print_json(found.to_json() | {"page": None if page is None else str(page)})
        return
    shown = ("set", "rank", "id", "times_usual", "p_value", "nearest")
    flagged = [[p for p in both if p["flagged"]][: SHOWN // 2] for both in listed]
    print_table(shown, [[p[name] for name in shown] for both in flagged for p in both])
    say(found.told())
    if page is not None:
        say(f"the page: {page}")


def map_(
    embeddings: EmbeddingsFile,
    out: Annotated[Path, typer.Option(help="The parquet file to write.")],
    method: Annotated[str, typer.Option(help="tsne or pca.")] = "tsne",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Lay pictures out as a map, for embedding-atlas or your own plot.

    \b
    vicinal map photos.parquet --out map.parquet
    embedding-atlas map.parquet --x x --y y --neighbors neighbors
    """
    check_new(out, "out", ".parquet")
    from vicinal.cli.output import print_json, say
    from vicinal.evaluations.maps import map_of, write_map
    from vicinal.representations.embeddings import Embeddings

    whole = Embeddings.load(embeddings)
    found = map_of(whole, method)
    write_map(out, whole, found)
    if as_json:
        print_json(
            {
                "out": str(out),
                "images": len(whole),
                "method": method,
                "neighbours": found.neighbours.indices.shape[1],
                "trustworthiness": found.trustworthiness,
            }
        )
        return
    say(f"{len(whole):,} images, trustworthiness {found.trustworthiness:.3f}: {out}")


def probe(
    embeddings: EmbeddingsFile,
    labels: Annotated[
        Path, typer.Option(help="CSV with columns id (or path) and label, for a few pictures.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write predictions into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Label the rest of a set from the labels of a few.

    \b
    vicinal probe photos.parquet --labels labels.csv --out predictions.csv
    """
    if out is not None:
        check_new(out, "out", ".csv")
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.evaluations.label_probe import predict
    from vicinal.representations.embeddings import Embeddings

    whole = Embeddings.load(embeddings)
    found = predict(whole, labels)
    listed = found.listed(whole)
    header = [*whole.columns(), "prediction", "probability"]
    if out is not None:
        write_csv(out, header, (list(picture.values()) for picture in listed))
    if as_json:
        print_json(found.to_json(whole))
        return
    print_table(header, [list(picture.values()) for picture in listed[:SHOWN]])
    accuracy = found.probe.accuracy
    assert accuracy.interval is not None
    low, high = accuracy.interval
    say(
        f"{accuracy.n} labels of {len(found.class_names)} classes, {len(listed):,} predictions; "
        f"accuracy by {found.probe.folds}-fold cross-validation {accuracy.value:.1%} "
        f"({low:.1%} to {high:.1%}; the largest class has {accuracy.chance:.1%})"
    )
