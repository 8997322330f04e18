"""AutoAttack meets few images: what PGD and CW left of these, so that the attacks can be put side by side."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from absld.report.tables import Cell, Group, Line, Table
from absld.report.wording import images, method_label, percent
from absld.statistics.metrics import OVER_CLASSES, ClassTable, Rates, tail_of
from pipeline.pairing import verdicts_of
from pipeline.results.reading import Kept, Results
from pipeline.results.tables import SHORT, short_label

FEW, MANY = "aa", ("pgd", "cw")


def same_images_table(results: Results) -> Table | None:
    """A row for each method that met them; None where AutoAttack met as many images as the others.

    Raises:
        InputError: verdicts are missing.

    """
    blocks = results.attacks
    others = [
        attack for attack in MANY if FEW in blocks and attack in blocks and blocks[attack]["n"] > blocks[FEW]["n"]
    ]
    if not others:
        return None
    attacks, measures = [*others, FEW], ("average", tail_of(results.first["classes"]))
    lines = []
    for method, kept in results.by_method.items():
        met = [each for each in kept if set(attacks) <= each.evaluation["attacks"].keys()]
        if met:
            cells = [Cell(percent(_mean(met, attack, measure))) for attack in attacks for measure in measures]
            lines.append(Line(method_label(method), [Cell(str(len(met))), *cells]))
    if not lines:
        return None
    columns = [f"{short_label(results, attack)} {SHORT[measure]}" for attack in attacks for measure in measures]
    caption = (
        f"The same on those images alone that AutoAttack met, {images(blocks[FEW]['n'])}, mean of the seeds: in the "
        "table above the other attacks met more images, so their numbers are not to be held against its."
    )
    return Table("same_images", caption, "Method", ["Seeds", *columns], [Group("", lines)])


def _mean(kept: Sequence[Kept], attack: str, measure: str) -> float:
    return fmean(float(OVER_CLASSES[measure](_accuracies(each, attack))) for each in kept)


def _accuracies(kept: Kept, attack: str) -> Rates:
    """Class by class, on the images that AutoAttack met."""
    few, found = verdicts_of(kept.measured, FEW)["rows"], verdicts_of(kept.measured, attack)
    among = np.isin(found["rows"], few)
    return ClassTable.of(
        found["survived"][among], found["y"][found["rows"][among]], len(kept.evaluation["classes"])
    ).accuracy
