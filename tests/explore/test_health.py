import numpy as np
import pytest

from vicinal.explore.health import health
from vicinal.representations.neighbours import nearest


def rivals(encoder: float, pixels: float = 0.2, patches: float = 0.5) -> dict:
    """What `hold_against_rivals` finds, each share with an interval of ± 0.04."""
    shares = {"encoder": encoder, "raw pixels": pixels, "patch features": patches}
    return {
        name: {"value": share, "interval": [share - 0.04, share + 0.04], "n": 400}
        for name, share in shares.items()
    }


BETTER = rivals(0.9)


def card(
    array: np.ndarray,
    copies: np.ndarray | None = None,
    trust: float = 0.9,
    beside: dict | None = BETTER,
) -> dict:
    near = nearest(array, array, 5, exclude_self=True).indices.astype(np.int32)
    none = np.full(len(array), -1, np.int32)
    trusts = np.full(len(array), trust, np.float32)
    groups = none if copies is None else copies
    found = health(array, near, groups, trusts, beside, advice="train longer (--minutes 30) or try")
    return found | {figure["name"]: figure for figure in found["figures"]}


@pytest.fixture
def spread() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)


def test_well_spread_pictures_are_good(spread: np.ndarray) -> None:
    found = card(spread)
    assert found["verdict"] == "good"
    assert found["effective rank"]["value"] == pytest.approx(16, abs=0.5)


def test_a_line_is_a_collapse(spread: np.ndarray) -> None:
    found = card(spread[:, :1] * np.ones((1, 16), np.float32))
    assert found["verdict"] == "bad"
    assert found["collapse"]["verdict"] == found["effective rank"]["verdict"] == "bad"
    assert "collapse" in found["summary"]


def test_constant_pictures_do_not_break_it() -> None:
    assert card(np.ones((30, 4), np.float32))["verdict"] == "bad"


def test_a_hub_is_found(spread: np.ndarray) -> None:
    hub = np.zeros((400, 5), np.int32)
    hub[:, 1:] = np.arange(1, 5)
    none = np.full(400, -1, np.int32)
    found = health(spread, hub, none, np.ones(400, np.float32), BETTER)
    figure = next(figure for figure in found["figures"] if figure["name"] == "hubs")
    assert figure["verdict"] == "bad"
    assert "400 lists" in figure["shown"]


def test_many_duplicates_are_worth_a_look(spread: np.ndarray) -> None:
    copies = np.full(400, -1, np.int32)
    copies[:100] = np.arange(100) // 2
    assert card(spread, copies)["duplicates"]["verdict"] == "look"


def test_a_misleading_map_is_said(spread: np.ndarray) -> None:
    assert card(spread, trust=0.1)["map"]["verdict"] == "bad"
    assert card(spread, trust=0.1)["map"]["value"] == 1.0


@pytest.mark.parametrize(
    ("beside", "verdict", "said"),
    [
        (rivals(0.9), "good", "Better than raw pixels and patch features."),
        (rivals(0.47), "look", "No better than patch features: train longer (--minutes 30) or try"),
        (rivals(0.53), "look", "Not clearly better than patch features: train longer"),
        (rivals(0.1), "bad", "No better than raw pixels: train longer (--minutes 30) or try"),
        (None, "look", "Not known whether this is better than raw pixels"),
    ],
)
def test_the_first_line_is_what_the_encoder_is_worth(
    spread: np.ndarray, beside: dict | None, verdict: str, said: str
) -> None:
    found = card(spread, beside=beside)
    assert found["verdict"] == verdict
    assert found["summary"].startswith(said)
    assert found["figures"][0]["name"] == "beside no training"
    assert found["figures"][0]["verdict"] == verdict


def test_what_else_there_is_to_look_at_is_said_after(spread: np.ndarray) -> None:
    summary = card(spread, trust=0.1)["summary"]
    assert summary.endswith("Do not rely on this representation: map.")


def by_labels(encoder: float, lead: float, **others: float) -> dict:
    """The same with what labels say: the encoder's share, and how far it is ahead of patches."""
    found = rivals(0.4, **others)  # own views say that patches are ahead
    shares = {"encoder": encoder, "raw pixels": encoder - 0.2, "patch features": encoder - lead}
    for name, share in shares.items():
        ahead = encoder - share
        found[name] |= {"agreement": share, "labelled": 300, "lead": [ahead - 0.03, ahead + 0.03]}
    del found["encoder"]["lead"]
    return found


def test_labels_decide_where_there_are_some(spread: np.ndarray) -> None:
    worth = card(spread, beside=by_labels(0.6, 0.1))["beside no training"]
    assert worth["words"] == "By labels, better than raw pixels and patch features."
    assert worth["verdict"] == "good"
    assert "patch features 50%; 5 nearest of the same label among 300" in worth["shown"]
    assert worth["shown"].endswith("this encoder 60%, raw pixels 40%, patch features 50%")

    unclear = card(spread, beside=by_labels(0.6, 0.02))["beside no training"]
    assert unclear["words"].startswith("By labels, not clearly better than patch features: train")
    assert unclear["verdict"] == "look"
    behind = card(spread, beside=by_labels(0.6, -0.1))["beside no training"]
    assert behind["words"].startswith("By labels, no better than patch features: train longer")
