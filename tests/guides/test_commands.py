"""The guides' commands and programs, as they stand in them, on few pictures and few epochs."""

import csv
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import forked

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
SMALL = shlex.join(forked.EXPLORE_SETTINGS)
# A study's guide trains whole learners; these make them small.
QUICK = (
    "--limit 100 --set training.epochs=2 --set training.warmup_epochs=0 --set mined.epochs=1 "
    "--set encoder.widths=[8] --set encoder.dimension=8 --set evaluation.bootstrap=50 "
    "--set evaluation.short_epochs=2 --set evaluation.map_images=100 "
    "--set evaluation.probe_holdout=0.5"
)


def blocks(name: str) -> list[tuple[str, str]]:
    """(language, text) of each block that is to be run; indented ones are only shown."""
    text = (GUIDES / name).read_text("utf-8")
    return re.findall(r"^```(bash|python)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(language: str, text: str, place: Path) -> str:
    """Runs a program, or commands line by line; gives what they printed."""
    environment = {"XDG_CACHE_HOME": str(place / "cache"), "COLUMNS": "200"}
    if language == "python":
        return checked(forked.run(program=text, cwd=place, env=environment), text)
    said = ""
    for line in text.splitlines():
        command, *arguments = shlex.split(line, comments=True)
        there = (place / "runs" / "photos").is_dir()
        if tuple(arguments) == forked.EXPLORE and there:  # the fixture has run it
            said += (place / "said").read_text("utf-8")
            continue
        if command == "vicinal":
            done = forked.run(*arguments, cwd=place, env=environment)
        else:
            done = subprocess.run(
                [command, *arguments],
                cwd=place,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
        said += checked(done, line)
    return said


def checked(done: subprocess.CompletedProcess[str], text: str) -> str:
    assert done.returncode == 0, f"{text}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def place(explored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(explored, tmp_path / "place"))


def small(text: str) -> str:
    """The same commands with a training of seconds."""
    text = text.replace("vicinal explore PHOTOS", f"vicinal explore PHOTOS {SMALL}")
    return text.replace("PHOTOS/FIRST", "PHOTOS/flower/07.jpg")


@pytest.mark.slow
def test_odd_photos(place: Path) -> None:
    said = [run(kind, small(text), place) for kind, text in blocks("odd-photos.md")]
    assert "121 pictures" in said[0]
    assert "rank,id,path,label,score,p_value,flagged" in said[1]
    assert (place / "near.png").stat().st_size > 10_000
    assert "false alarms: asked" in said[-1]
    assert len((place / "odd.csv").read_text("utf-8").splitlines()) == 61


@pytest.mark.slow
def test_a_day_later(place: Path) -> None:
    (place / "runs" / "photos").rename(place / "runs" / "PHOTOS-explore-1")
    shutil.copy(place / "NEW" / "03.jpg", place / "PHOTOS" / "flower" / "new.jpg")
    said = [run(kind, text, place) for kind, text in blocks("../explore.md")]
    count = len(list((place / "NEW").iterdir()))
    assert f"{count} new beside 121 of runs/PHOTOS-explore-1" in said[0]
    assert "1 new beside 121 of runs/PHOTOS-explore-1" in said[1]
    assert len(said) == 3  # the last one shows the page


@pytest.mark.slow
def test_leaks(place: Path) -> None:
    said = [run(kind, text, place) for kind, text in blocks("leaks.md")]
    count = len(list((place / "NEW").iterdir()))
    assert f"{count} of {count} test pictures are copies of training pictures" in said[0]
    assert "pairs in" in said[0]
    assert (place / "leaks.csv").is_file()


@pytest.mark.slow
def test_labels(place: Path) -> None:
    said = []
    for kind, text in blocks("label.md"):
        if "vicinal probe" in text:
            fill(place / "labels.csv")
        said.append(run(kind, small(text), place))
    assert "predictions" in said[-2]
    assert "20 of 121 pictures to label" in said[-1]
    predicted = list(csv.DictReader((place / "predictions.csv").open(newline="")))
    right = [row["id"].startswith(row["prediction"]) for row in predicted]
    assert len(right) + len(labelled(place)) == 121
    assert sum(right) > 0.6 * len(right)  # by chance a half, after so short a training


def labelled(place: Path) -> list[str]:
    rows = csv.DictReader((place / "labels.csv").open(newline=""))
    return [row["id"] for row in rows if row["label"]]


def fill(path: Path) -> None:
    """Does what the guide asks of its reader: the second column, by the folders' names."""
    rows = list(csv.DictReader(path.open(newline="")))
    assert len(rows) > 60
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        for row in rows:
            folder = row["id"].split("/")[0]
            writer.writerow([row["id"], folder if "/" in row["id"] else ""])


@pytest.mark.slow
def test_the_study(tmp_path: Path) -> None:
    said = [
        run(kind, text.replace("vicinal study", f"vicinal study {QUICK}"), tmp_path)
        for kind, text in blocks("study.md")
    ]
    assert "runs/study/report.html" in said[1]
    assert [line.split()[0] for line in said[-1].splitlines()] == [
        *("study", "no-variance"),
        "projector",
    ]


@pytest.mark.slow
def test_wrong_labels_and_what_is_new(place: Path) -> None:
    # Crops of the flower under the name of the temple.
    for number in range(5):
        name = f"{number + 10}.jpg"
        (place / "PHOTOS/flower" / name).rename(place / "PHOTOS/temple" / f"wrong-{name}")
    (place / "PHOTOS/odd.png").unlink()
    shutil.rmtree(place / "runs" / "photos")  # of other pictures
    said = [run(kind, small(text), place) for kind, text in blocks("next.md")]
    assert "labels that look wrong" in said[0]
    doubtful = list(csv.DictReader((place / "doubtful.csv").open(newline="")))
    assert sum("wrong-" in row["id"] for row in doubtful[:20]) >= 3
    assert "pictures of B are like nothing in A" in said[1]
    assert "p = " in said[1]
    assert (place / "runs/both/explore.html").is_file()
    assert len(said[2].splitlines()) >= 4
