"""Numbers, tables and foreign text in Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Card = Mapping[str, Any]
"""card.json"""


def percent(fraction: float | None) -> str:
    """A fraction in percent; of nothing, a dash."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def interval(ends: Sequence[float], digits: int = 1) -> str:
    """An interval of fractions in percent, with so many digits behind the point."""
    return f"({100 * ends[0]:.{digits}f}–{100 * ends[1]:.{digits}f})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Text from outside, so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def told(value: Any) -> str:
    """A setting in words: `lr 0.1, momentum 0.9`; a setting within a setting in brackets."""
    if isinstance(value, Mapping):
        parts = [
            f"{name} ({told(of)})" if isinstance(of, Mapping) else f"{name} {told(of)}" for name, of in value.items()
        ]
        return ", ".join(parts)
    if isinstance(value, list):
        return " ".join(map(told, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def ball(card: Card) -> str:
    """The threat model's norm and radius."""
    norm, eps = card["threat_model"]["norm"], card["threat_model"]["eps_text"]
    return f"{'L∞' if norm == 'Linf' else norm} {eps}"
