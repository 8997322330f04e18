"""The card's tables of accuracies: of the torch student by attack and by class, and of the files."""

from collections.abc import Iterator
from typing import Any

from absld.export.markdown import Card, escaped, interval, percent, table
from absld.records.attacks import ATTACKS, attack_label, strongest
from absld.statistics.metrics import tail_of

MOST_CLASSES = 20
"""Classes that the page shows; of more it shows the weakest ones. card.json has them all."""


def name(card: Card, attack: str) -> str:
    """An attack as people call it."""
    return attack_label(attack, card["attacks"][attack]["settings"])


def accuracy(card: Card) -> str:
    """One row for each attack."""
    tail = "worst class" if tail_of(card["classes"]) == "worst" else "mean of the worst tenth of them"
    rows = []
    for attack, measured in card["attacks"].items():
        nsd = measured["accuracy"]["nsd"]
        cells = [_with_interval(measured, of) for of in ("average", "worst", "overall")]
        rows.append([name(card, attack), str(measured["n"]), *cells, "–" if nsd is None else f"{nsd:.3f}"])
    explained = (
        "Percent of test images, with 95 % intervals over them. Overall is half the average over the classes and half "
        f"the {tail}; NSD is the standard deviation "
        "over the classes divided by their mean: 0 is fair."
    )
    return explained + "\n\n" + table(["", "Images", "Average", "Worst class", "Overall", "NSD"], rows)


def by_class(card: Card) -> str:
    """One row for each class, or for the weakest ones."""
    attacks = card["attacks"]
    of_strongest = attacks[strongest(attacks)]["accuracy"]["per_class"]
    names = list(card["classes"])
    explained = "Percent, with 95 % intervals; the lowest of each column is bold."
    if len(names) > MOST_CLASSES:
        names = sorted(names, key=lambda name: of_strongest[name])[:MOST_CLASSES]
        under = name(card, strongest(attacks))
        explained = f"Percent; the {MOST_CLASSES} weakest of {len(card['classes'])} classes under {under}."
    rows = [[escaped(of), *(_class_cell(measured, of) for measured in attacks.values())] for of in names]
    return explained + "\n\n" + table(["Class", *(name(card, attack) for attack in attacks)], rows)


def on_the_file(card: Card) -> str:
    """Parity, Square on the file, and the examples that were made against torch."""
    parity, square = card["parity"], card["onnx"]["square"]
    sizes = ", ".join(map(str, parity["batch_sizes"]))
    ties = parity["labels_tolerated"]
    lines = [
        f"* **Same network.** In ONNX Runtime on the CPU the file gives torch's labels on {parity['images']:,} clean "
        f"and adversarial images, in batches of {sizes}; the logits differ by {parity['max_difference']:.1g} at most"
        + (f". On {ties} of them the label differs: ties within rounding." if ties else "."),
    ]
    if square["n"]:
        lines.append(
            f"* **Square on the file.** Of {square['n']} images that it classifies correctly, balanced by class, "
            f"{percent(square['accuracy'])} % stay so after {square['queries']} queries each; of torch "
            f"{percent(square['torch_accuracy'])} %."
        )
    moved = [
        f"{ATTACKS.get(attack, attack)} {percent(of['torch'])} and {percent(of['file'])} (n = {of['n']})"
        for attack, of in card["onnx"]["transfer"].items()
    ]
    if moved:
        lines.append(
            "* **Transfer.** Percent of stored adversarial examples that torch and the file classify correctly: "
            f"{'; '.join(moved)}. Of AutoAttack only examples that fooled torch are stored."
        )
    return "\n".join(lines)


def smaller(card: Card) -> str:
    """The files side by side."""
    images = card["variants"]["images"]
    rows = list(_files(card["variants"]))
    explained = (
        f"Percent: {images['clean']:,} clean test images, {images['stored']:,} stored adversarial examples, and Square "
        f"on each file itself, begun with {images['square']} images. Int8 is calibrated on validation images. The "
        "stored examples were made against the first file, and rounding hinders Square: higher is no sign of more "
        "robustness."
    )
    return explained + "\n\n" + table(["File", "Bytes", "Clean", "Worst class", "Stored", "Square", ""], rows)


def _files(variants: Card) -> Iterator[list[str]]:
    for form in ("fp32", "fp16", "int8"):
        about: dict[str, Any] | None = variants.get(form)
        if about is not None:
            cells = [percent(about["accuracy"][of]) for of in ("clean_average", "clean_worst", "stored", "square")]
            kept = about.get("kept", True)
            file = f"`{'variants/' if form != 'fp32' else ''}{about['file']}`" if kept else form
            judged = "" if form == "fp32" else "kept" if kept else f"**left out**: {about['reason']}"
            yield [file, f"{about['bytes']:,}", *cells, judged]


def _with_interval(measured: Card, of: str) -> str:
    return f"{percent(measured['accuracy'][of])} {interval(measured['interval95'][of])}"


def _class_cell(measured: Card, of: str) -> str:
    each = measured["accuracy"]["per_class"]
    value, ends = percent(each[of]), interval(measured["interval95"]["per_class"][of], digits=0)
    return f"**{value}** {ends}" if each[of] == min(each.values()) else f"{value} {ends}"
