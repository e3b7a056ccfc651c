"""The commands labels, select and compare, from files to files, and what they refuse."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from commands import answer, refused, table, vicinal
from vicinal import load
from vicinal.files import read_json
from vicinal.representations.representations import Representations

IMAGES, LABELS = load_digits(return_X_y=True)
FLIPPED = np.arange(0, 1797, 20)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``all``, with every twentieth label wrong; ``old``, without sixes, and ``new``."""
    folder = tmp_path_factory.mktemp("follow-up")
    texts = LABELS.copy()
    texts[FLIPPED] = (texts[FLIPPED] + 3) % 10
    whole = Representations(
        IMAGES.astype(np.float32),
        np.array([f"d/{row:04}" for row in range(1797)]),
        labels=texts.astype(np.str_),
        origin={"source": "digits", "size": 8, "channels": 1, "encoder": "runs/a"},
    )
    whole.save(folder / "all.parquet")
    rows = np.random.default_rng(0).permutation(1797)
    part(whole, rows[:900][LABELS[rows[:900]] != 6]).save(folder / "old.parquet")
    part(whole, rows[900:]).save(folder / "new.parquet")
    return folder


def part(whole: Representations, rows: np.ndarray) -> Representations:
    assert whole.labels is not None
    return replace(whole, array=whole.array[rows], ids=whole.ids[rows], labels=whole.labels[rows])


def row_of(name: str) -> int:
    return int(name.removeprefix("d/"))


def test_labels_lists_the_flipped_ones_first_with_the_right_label(place: Path) -> None:
    said = answer("labels", "all.parquet", "--out", "doubtful.csv", cwd=place)
    first = said["pictures"][: round(0.075 * 1797)]
    found = [row_of(one["id"]) for one in first]
    assert np.isin(FLIPPED, found).mean() >= 0.8
    top = first[0]
    assert top["label"] != top["suggested"] == str(LABELS[row_of(top["id"])])
    assert top["neighbours_agree"] == len(top["neighbours"]) > 5
    assert said["judged"] == 1797
    assert said["unjudged"] == 0
    written = table(place / "doubtful.csv")
    assert [one["id"] for one in written] == [one["id"] for one in said["pictures"]]
    assert written[0]["neighbours"].split("; ") == top["neighbours"]
    assert list(written[0]) == [*said["pictures"][0]]
    shown = vicinal("labels", "all.parquet", cwd=place).stdout
    assert f"{said['contradicted']} of 1,797 labels are contradicted" in shown


def test_labels_of_a_csv_are_judged_instead(place: Path) -> None:
    with (place / "few.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        for row in range(400):
            kind = "even" if (LABELS[row] % 2 == 0) != (row in (7, 70)) else "odd"
            writer.writerow([f"d/{row:04}", kind if row >= 4 else "rare"])
    said = answer("labels", "all.parquet", "--labels", "few.csv", cwd=place)
    assert said["classes"] == ["even", "odd", "rare"]
    assert (said["judged"], said["unjudged"]) == (396, 4)
    assert {"d/0007", "d/0070"} <= {one["id"] for one in said["pictures"][:20]}
    shown = vicinal("labels", "all.parquet", "--labels", "few.csv", cwd=place).stdout
    assert "4 labels were not judged" in shown


def test_what_is_selected_is_filled_in_and_read_by_probe(place: Path) -> None:
    said = answer("select", "all.parquet", "--count", "40", "--out", "to-label.csv", cwd=place)
    assert len(said["pictures"]) == 40
    assert said["method"] == "typical"
    frame = pd.read_csv(place / "to-label.csv", dtype=str, keep_default_na=False)
    assert list(frame.columns) == ["rank", "id", "label", "stands_for"]
    assert (frame["label"] == "").all()
    assert frame["stands_for"].astype(int).sum() == 1797
    frame["label"] = [str(LABELS[row_of(name)]) for name in frame["id"]]
    frame.to_csv(place / "filled.csv", index=False)
    probed = answer("probe", "all.parquet", "--labels", "filled.csv", cwd=place)
    right = [one["prediction"] == str(LABELS[row_of(one["id"])]) for one in probed["pictures"]]
    assert np.mean(right) > 0.8
    more = answer("select", "all.parquet", "--count", "9", "--labels", "filled.csv", cwd=place)
    assert more["labelled"] == 40
    assert not {one["id"] for one in more["pictures"]} & set(frame["id"])
    frame[["id"]].to_csv(place / "ids.csv", index=False)
    again = answer("select", "all.parquet", "--count", "9", "--labels", "ids.csv", cwd=place)
    assert again["pictures"] == more["pictures"]


def test_what_has_a_label_in_the_file_is_left_alone(place: Path) -> None:
    whole = Representations.load(place / "all.parquet")
    assert whole.labels is not None
    some = replace(whole, labels=np.where(np.arange(1797) < 1700, whole.labels, ""))
    some.save(place / "some.parquet")
    said = answer("select", "some.parquet", "--count", "97", "--labels", "own", cwd=place)
    assert {row_of(one["id"]) for one in said["pictures"]} == set(range(1700, 1797))


def test_compare_says_what_is_new(place: Path) -> None:
    said = answer("compare", "old.parquet", "new.parquet", "--out", "new.csv", cwd=place)
    assert said["p_value"] <= 0.01
    assert said["told_apart"]["value"] > 0.5
    new = [one for one in said["B"]["listed"] if one["flagged"]]
    assert len(new) == said["B"]["flagged"] > 20
    sixes = [LABELS[row_of(one["id"])] == 6 for one in new]
    assert np.mean(sixes) > 0.7
    assert said["A"]["flagged"] < 25
    written = table(place / "new.csv")
    assert len(written) == len(said["A"]["listed"]) + len(said["B"]["listed"])
    assert written[0]["set"] == "B"
    assert written[0]["id"] == said["B"]["listed"][0]["id"]
    shown = vicinal("compare", "old.parquet", "new.parquet", cwd=place).stdout
    assert "not alike: p = 0.001" in shown
    assert f"{len(new)} of 897 pictures of B are like nothing in A; 9 would be by chance" in shown
    few = part(Representations.load(place / "old.parquet"), np.arange(20))
    few.save(place / "few.parquet")
    shown = vicinal("compare", "few.parquet", "few.parquet", cwd=place).stdout
    assert "no difference found" in shown
    assert "no picture of B can be flagged at a rate of 0.01" in shown


def test_both_sets_are_on_one_page(place: Path) -> None:
    digits = load("digits", size=8)
    whole = Representations(
        IMAGES[:150].astype(np.float32),
        np.concatenate([digits.train.ids[:90], digits.test.ids[:60]]),
        labels=LABELS[:150].astype(np.str_),
        origin={"source": "digits", "size": 8, "channels": 1},
    )
    part(whole, np.arange(90)).save(place / "a.parquet")
    part(whole, np.arange(90, 150)).save(place / "b.parquet")
    both = ("compare", "a.parquet", "b.parquet", "--run", "both")
    said = answer(*both, "--false-alarms", "0.1", cwd=place)
    assert said["page"] == "both/explore.html"
    points = pd.read_parquet(place / "both" / "points.parquet")
    assert points["split"].tolist() == ["A"] * 90 + ["B"] * 60
    assert points["id"].iloc[[0, -1]].tolist() == [f"A/{whole.ids[0]}", f"B/{whole.ids[149]}"]
    listed = {f"{w}/{one['id']}": one for w in "AB" for one in said[w]["listed"]}
    flagged = {name for name, one in listed.items() if one["flagged"]}
    assert set(points["id"][points["flagged"]]) == flagged
    assert sorted(points["rank"]) == list(range(1, 151))
    assert set(points.sort_values("rank")["id"][: len(flagged)]) == flagged
    figures = read_json(place / "both" / "explore.json")
    assert figures["data"]["colour"] == "split"
    assert figures["compared"]["p_value"] == said["p_value"]
    assert "is there already" in refused(*both, cwd=place)
    page = (place / "both" / "explore.html").read_text("utf-8")
    assert "A and B" not in page
    assert "a and b" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("labels bare", "no labels to judge; name a CSV with columns id and label by --labels"),
        ("labels one", "two classes of 5 pictures or more, found 1"),
        ("select one --count 31", "--count 31: the set has 30 pictures"),
        ("select one --method best", "--method best: give typical, k-centre, random"),
        ("select bare --labels own", "--labels own: the embeddings have no labels"),
        ("select one --labels none.csv", "cannot be read"),
        ("compare one wide", "one has representations of 64 numbers and wide of 65"),
        ("compare one other", "one was made by runs/a (aaaaaaaa) and other by runs/b (bbbbbbbb)"),
        ("compare one tiny", "tiny: 2 pictures are too few"),
        ("compare one nan", "a representation holds NaN"),
        ("compare one one --false-alarms 2", "--false-alarms 2"),
        ("compare bare bare --run x", "--run: the embeddings say neither paths nor a source"),
    ],
)
def test_bad_input_is_one_line(arguments: str, said: str, tmp_path: Path) -> None:
    one = Representations(
        IMAGES[:30].astype(np.float32),
        np.arange(30).astype(np.str_),
        labels=np.full(30, "same"),
        origin={"encoder": "runs/a", "encoder_sha256": "a" * 64},
    )
    sets = {
        "one": one,
        "bare": replace(one, labels=None, origin={}),
        "wide": replace(one, array=np.pad(one.array, ((0, 0), (0, 1)))),
        "other": replace(one, origin={"encoder": "runs/b", "encoder_sha256": "b" * 64}),
        "tiny": part(one, np.arange(2)),
        "nan": replace(one, array=np.where(np.eye(30, 64) > 0, np.nan, one.array)),
    }
    for name, each in sets.items():
        (tmp_path / name).mkdir()
        each.save(tmp_path / name / "part.parquet")
    assert said in " ".join(refused(*arguments.split(), cwd=tmp_path).split())
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(place: Path) -> None:
    (place / "mine.csv").write_text("mine")
    for command in ("labels all.parquet", "select all.parquet", "compare old.parquet new.parquet"):
        assert "is there already" in refused(*command.split(), "--out", "mine.csv", cwd=place)
    assert (place / "mine.csv").read_text() == "mine"
    assert json.loads(vicinal("select", "all.parquet", "--count", "1", "--json", cwd=place).stdout)
