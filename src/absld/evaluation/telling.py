"""How far the evaluation is, for whoever wants to know."""

import time
from collections.abc import Callable

from absld.statistics.metrics import ClassTable

OnProgress = Callable[[str, int, int], None]
"""What is going on, how much is done, how much there is: in hundredths of the work."""
OnClasses = Callable[[str, ClassTable], None]
"""An attack that has ended, and what it left of each class: of the images whose chunks are done."""

EVERY = 0.2
"""Seconds between two messages, at least."""
HUNDRED = 100


def silent(text: str, done: int, total: int) -> None:
    """Tell nobody."""


def no_classes(attack: str, table: ClassTable) -> None:
    """Tell nobody."""


class Telling:
    """Adds up work. How much a chunk needs is only estimated, so it counts as done when it is, not before."""

    def __init__(self, on_progress: OnProgress = silent, on_classes: OnClasses = no_classes) -> None:
        self._on_progress = on_progress
        self._on_classes = on_classes
        self._total = self._done = self._within = self._share = 0
        self._text = ""
        self._found: dict[str, tuple[int, int]] = {}
        self._classes: dict[str, int] = {}
        self._told = float("-inf")

    def plan(self, images: int, done: int = 0) -> None:
        """So much more is to be done; of that, `done` was done before this began."""
        self._total += images
        self._done += done

    def begin(self, attack: str, images: int) -> None:
        """A chunk of `attack` begins, about so much work."""
        self._text, self._share, self._within = attack, images, 0

    def work(self, images: int) -> None:
        """The network looked at so many images."""
        self._within = min(self._within + images, self._share)
        if time.monotonic() - self._told >= EVERY:
            self._tell()

    def end(self, right: int, images: int, *, told: bool = True) -> None:
        """The chunk is done, and so many of its images are classified correctly; `told`: messages say so."""
        if told:
            known = self._found.get(self._text, (0, 0))
            self._found[self._text] = (known[0] + right, known[1] + images)
        self._done, self._share, self._within = self._done + self._share, 0, 0
        self._tell()

    def classes(self, attack: str, table: ClassTable) -> None:
        """What the attack left of each class; told again only when more images are known."""
        images = int(table.total.sum())
        if images > self._classes.get(attack, 0):
            self._classes[attack] = images
            self._on_classes(attack, table)

    def _tell(self) -> None:
        self._told = time.monotonic()
        found = "".join(f"  {key} {right / images:.1%}" for key, (right, images) in self._found.items())
        done = HUNDRED * (self._done + self._within) // max(self._total, 1)
        self._on_progress(f"{self._text.replace('_', ' ')}{f':{found}' if found else ''}", done, HUNDRED)
