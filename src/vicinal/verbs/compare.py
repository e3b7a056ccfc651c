"""compare: whether two sets of pictures are alike, and which pictures the other set has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.two_sets import PERMUTATIONS, New, TwoSample, new_images, two_sample
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.pairing import check_one_encoder

COLUMNS = ("score", "times_usual", "p_value", "flagged", "nearest")


@dataclass(frozen=True, eq=False)
class Compared:
    """Two sets, A and B.

    Attributes:
        test: Whether they are alike.
        sets: A and B.
        names: What the user calls them.
        new: How unlike each picture of A is to all of B, and of B to all of A.
        false_alarms: The share of pictures that may be flagged where nothing is new.
    """

    test: TwoSample
    sets: tuple[Embeddings, Embeddings]
    names: tuple[str, str]
    new: tuple[New, New]
    false_alarms: float

    def flagged(self, which: int) -> NDArray[np.bool_]:
        """Which pictures of a set the other one has nothing like, (N,)."""
        return self.new[which].p_values <= self.false_alarms

    def order(self, which: int) -> NDArray[np.int64]:
        """The rows of a set, those that are least like the other set's pictures first."""
        return np.argsort(-self.new[which].scores, kind="stable")

    def header(self) -> list[str]:
        """Names of what `listed` says of a picture."""
        columns = [name for one in self.sets for name in one.columns()]
        return ["set", "rank", *dict.fromkeys(columns), *COLUMNS]

    def listed(self, which: int) -> list[dict[str, Any]]:
        """Each picture of A (0) or B (1) as plain data, what the other set has not first."""
        own, other, new = self.sets[which], self.sets[1 - which], self.new[which]
        flagged = self.flagged(which)
        return [
            {
                "set": "AB"[which],
                "rank": rank,
                **own.describe(row),
                "score": float(new.scores[row]),
                "times_usual": float(new.times[row]),
                "p_value": float(new.p_values[row]),
                "flagged": bool(flagged[row]),
                "nearest": str(other.ids[new.nearest[row]]),
            }
            for rank, row in enumerate(self.order(which).tolist(), 1)
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        test = self.test
        return {
            "p_value": test.p_value,
            "permutations": test.permutations,
            "taken": list(test.taken),
            "mmd": test.mmd,
            "told_apart": test.told_apart.to_json(),
            "false_alarms": self.false_alarms,
            **{
                letter: {
                    "name": self.names[which],
                    "pictures": len(self.sets[which]),
                    "flagged": int(self.flagged(which).sum()),
                    "listed": self.listed(which),
                }
                for which, letter in enumerate("AB")
            },
        }

    def told(self) -> str:
        """What was found, in a few lines."""
        test, rate = self.test, self.false_alarms
        low = test.p_value <= 0.05
        lines = [
            f"{'not alike' if low else 'no difference found'}: p = {test.p_value:.3g} "
            f"({test.permutations:,} permutations of {test.taken[0]:,} and {test.taken[1]:,} "
            f"pictures); a classifier tells them apart with AUROC {test.told_apart.value:.3f} "
            "(0.5: not at all, 1: always)"
        ]
        for which, letter in ((1, "B"), (0, "A")):
            other, count = "BA"[which], len(self.sets[which])
            fewest = 1 / (len(self.sets[1 - which]) + 1)
            lines.append(
                f"{int(self.flagged(which).sum()):,} of {count:,} pictures of {letter} are like "
                f"nothing in {other}; {rate * count:,.0f} would be by chance"
                if fewest <= rate
                else f"no picture of {letter} can be flagged at a rate of {rate:.2g}: {other} has "
                f"only {len(self.sets[1 - which])} pictures, enough for {fewest:.2g} or more"
            )
        return "\n".join(lines)


@cores.shared()
def compare_sets(
    one: Embeddings,
    other: Embeddings,
    *,
    names: tuple[str, str] = ("A", "B"),
    false_alarms: float = 0.01,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Compared:
    """Compares two sets of pictures that one encoder embedded.

    Args:
        one: A.
        other: B; pictures that are in A too are as like A as can be.
        names: What the user calls them, for messages.
        false_alarms: The share of pictures that may be flagged where nothing is new.
        permutations: Random divisions behind the p-value.
        seed: Seed of what is random in the test.

    Raises:
        InputError: If dimensions or encoders differ, a set has fewer than 3 pictures, or a number
            is out of range.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"{option('false_alarms', false_alarms)}: give a rate between 0 and 1")
    for name, each in zip(names, (one, other), strict=True):
        if len(each) < 3:
            raise InputError(f"{name}: {len(each)} pictures are too few to compare; give 3 or more")
    check_one_encoder(one, other, names)
    return Compared(
        two_sample(one.array, other.array, permutations=permutations, seed=seed),
        (one, other),
        names,
        (new_images(one.array, other.array), new_images(other.array, one.array)),
        false_alarms,
    )
