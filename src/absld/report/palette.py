"""Colours: one per method for good, safe for colour-blind readers, readable on white and on dark paper.

Any two hues differ by more than 20 (CIE76) for normal sight and with any of the three kinds of colour blindness, and
stand out from the paper with a contrast of 3 or more; a test measures both. Methods that share a hue differ by marker
and fill.
"""

from typing import NamedTuple
from zlib import crc32


class Ink(NamedTuple):
    """A colour on light and on dark paper, as #rrggbb."""

    light: str
    dark: str


HUES = {
    "blue": Ink("#1f5fcf", "#6b9cf5"),
    "vermillion": Ink("#b03a12", "#d0552b"),
    "green": Ink("#1f9e83", "#4fdcb4"),
    "plum": Ink("#8c2f92", "#dfb2ee"),
    "ochre": Ink("#c98500", "#f5b041"),
    "slate": Ink("#33373f", "#7b818c"),
}
PAPER = {
    "paper": Ink("#ffffff", "#14171c"),
    "ink": Ink("#1a1c20", "#e8e6e1"),
    "muted": Ink("#5c6068", "#a3a7af"),
    "rule": Ink("#e1e3e7", "#30353d"),
}
INKS = PAPER | HUES
"""Every colour by the name of its custom property in the page."""
MARKERS = ("", "o", "s", "^")
SIGNS = {"": "", "o": " ●", "s": " ■", "^": " ▲"}
"""A marker as it stands in the label beside its line."""
FILLS = (1.0, 0.55, 0.3, 0.12)
METHODS = {
    "absld": ("blue", 0),
    "absld_adv": ("blue", 1),
    "absld_product": ("blue", 2),
    "rslad": ("vermillion", 0),
    "fair_rslad": ("vermillion", 1),
    "ard": ("vermillion", 2),
    "iad": ("vermillion", 3),
    "trades": ("green", 0),
    "frl": ("green", 1),
    "fat": ("green", 2),
    "adaad": ("plum", 0),
    "fair_ard": ("plum", 1),
    "mtard": ("plum", 2),
    "cfa": ("ochre", 0),
    "bat": ("ochre", 1),
    "sat": ("slate", 0),
    "natural": ("slate", 1),
    "sat_ssd": ("slate", 2),
    "sat_dsd": ("ochre", 2),
}
HARD, MIDDLE, EASY = (201, 80, 28), (139, 131, 144), (47, 127, 214)
"""Red, green, blue of the hardest, a middling and the easiest class: of one lightness, so they show on any paper."""


class Style(NamedTuple):
    """How a method is drawn."""

    hue: str
    marker: str
    """Of its line; empty: none."""
    fill: float
    """Opacity of its bars; their edges are always solid."""

    @property
    def colour(self) -> str:
        """On light paper; the page swaps it on dark paper."""
        return HUES[self.hue].light


def style_of(method: str) -> Style:
    """The style of a method. One that is not in the table gets one by its name, the same every time."""
    hue, variant = METHODS.get(method, (list(HUES)[crc32(method.encode()) % len(HUES)], 3))
    return Style(hue, MARKERS[variant], FILLS[variant])


def class_colours(accuracy: dict[str, float]) -> dict[str, str]:
    """A colour per class, from the hardest (orange) to the easiest (blue), by its place and not by its accuracy."""
    ordered = sorted(accuracy, key=lambda name: accuracy[name])
    last = max(len(ordered) - 1, 1)
    return {name: _between(place / last) for place, name in enumerate(ordered)}


def _between(share: float) -> str:
    """The colour at `share` of the way from hard (0) to easy (1)."""
    start, end, part = (HARD, MIDDLE, 2 * share) if share < 0.5 else (MIDDLE, EASY, 2 * share - 1)
    mixed = (round(a + part * (b - a)) for a, b in zip(start, end, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
