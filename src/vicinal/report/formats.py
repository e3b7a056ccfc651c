"""How numbers and dates are written; each accepts anything and shows a dash for what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

DASH = "–"
THIN = "\u202f"  # narrow no-break space
SHARES = ("accuracy", "agreement", "precision", "share", "probe", "chance", "trustworthiness")
FOUR = ("auc", "auroc", "silhouette", "nmi", "ari")


def _known(value: object) -> float | None:
    """The value as a finite number, or None; truth values are no numbers."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def percent(value: object) -> str:
    """0.9712 as "97.1 %"."""
    number = _known(value)
    return DASH if number is None else f"{100 * number:.1f}{THIN}%"


def four(value: object) -> str:
    """0.93484 as "0.9348"."""
    number = _known(value)
    return DASH if number is None else f"{number:.4f}".replace("-", "−")


def short(value: object) -> str:
    """Three significant digits: 41.234 as "41.2", 0.00012345 as "0.000123"."""
    number = _known(value)
    if number is None:
        return DASH
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return text.replace("-", "−")


def count(value: object) -> str:
    """1297 as "1,297"."""
    number = _known(value)
    return DASH if number is None else f"{number:,.0f}"


def yes(value: object) -> str:
    """True as "yes", False as "no"."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else DASH


FORMATS: dict[str, Callable[[object], str]] = {
    "percent": percent,
    "four": four,
    "short": short,
    "count": count,
    "yes": yes,
}


def figure(value: object, kind: str) -> str:
    """The value as one of ``FORMATS``."""
    return FORMATS[kind](value)


def interval(pair: object, kind: str = "percent") -> str:
    """[0.951, 0.979] as "95.1 % to 97.9 %"; empty where there is none."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or None in pair:
        return ""
    return f"{figure(pair[0], kind)} to {figure(pair[1], kind)}"


def claimed(value: object, label: str) -> str:
    """A figure of a claim, written as its label suggests."""
    if isinstance(value, bool):
        return yes(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(claimed(item, label) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {claimed(item, label)}" for name, item in value.items())
    words = label.lower()
    number = _known(value)
    if any(word in words.replace("-", " ").split() for word in FOUR):
        return four(value)
    if number is not None and -1 <= number <= 1 and any(word in words for word in SHARES):
        return percent(value)
    return short(value)


def duration(seconds: object) -> str:
    """75.2 as "1 min 15 s", 0.034 as "0.03 s"."""
    number = _known(seconds)
    if number is None:
        return DASH
    if number < 10:
        return f"{number:.2g} s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def day(text: object) -> str:
    """An ISO date as "24 November 2025, 04:14"; other text as it is."""
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text) if isinstance(text, str) else DASH
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"
