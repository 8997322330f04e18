"""Fetch the data set and cut it into training, validation and test split: `python -m stages.fetch_data`."""

from absld.data.fetch import fetch
from stages.contracts import FETCH_DATA
from stages.opening import Opened, main


def work(stage: Opened) -> None:
    """Write the arrays of all splits and the card."""
    card = fetch(stage.params.data, stage.root, stage.writes)
    counts = ", ".join(f"{sum(of_class.values()):,} {split}" for split, of_class in card.counts.items())
    print(f"{card.name}: {len(card.classes)} classes, {counts}")


if __name__ == "__main__":
    main(FETCH_DATA, work)
