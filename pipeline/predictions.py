"""How `absld predict` shows what it found."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from absld.predict import Prediction

if TYPE_CHECKING:
    from rich.table import Table


def line(prediction: Prediction) -> str:
    """One image as a line of JSON."""
    found = {
        "image": str(prediction.path),
        "label": prediction.label,
        "probabilities": prediction.probabilities,
    }
    return json.dumps(found, ensure_ascii=False)


def table(predictions: Iterable[Prediction]) -> "Table":
    """A row for each image, its classes from the most probable one on."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("image", overflow="fold")
    for prediction in predictions:
        cells = [Text(f"{label} {100 * share:.1f} %") for label, share in prediction.probabilities.items()]
        for place in range(len(shown.columns), len(cells) + 1):
            shown.add_column("label" if place == 1 else f"{place}.", overflow="fold")
        shown.add_row(Text(str(prediction.path)), *cells)
    return shown
