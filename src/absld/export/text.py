"""card.json as a page for people: how robust the student is, how to use it, what not to trust it with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absld.records.attacks import ATTACKS, attack_label, strongest

Card = Mapping[str, Any]

MOST_CLASSES = 20
"""Classes that the page shows; of more it shows the weakest ones. card.json has them all."""
SNIPPET = """\
```python
import json, numpy, onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
images = numpy.zeros((1, {channels}, {size}, {size}), "float32")  # yours: values in [0, 1], channels first
print([classes[k] for k in session.run(["logits"], {{"images": images}})[0].argmax(1)])
```"""


def card_text(card: Card) -> str:
    """The page as Markdown."""
    sections = {
        "The file": _file(card),
        "Accuracy": _accuracy(card),
        "Accuracy by class": _by_class(card),
        "Use": _use(card),
        "Intended use and limits": _limits(card),
        "How it was made": _making(card),
    }
    parts = [f"# Model card: {_escaped(card['run'])}", _summary(card)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _summary(card: Card) -> str:
    student, attack = card["student"], strongest(card["attacks"])
    colour = "grey" if student["channels"] == 1 else "colour"
    what = (
        f"An image classifier for **{_escaped(card['data']['name'])}**: {student['size']}×{student['size']} {colour} "
        f"images, {len(card['classes'])} classes. Its accuracy on clean images is {_average_and_weakest(card, 'clean')}"
    )
    if attack == "clean":
        return f"{what}. **It was not attacked**: nothing is known of its robustness."
    return f"{what}; under {_name(card, attack)} within {_ball(card)} it is {_average_and_weakest(card, attack)}."


def _average_and_weakest(card: Card, attack: str) -> str:
    accuracy = card["attacks"][attack]["accuracy"]
    weakest = min(accuracy["per_class"], key=accuracy["per_class"].__getitem__)
    average, worst = _percent(accuracy["average"]), _percent(accuracy["worst"])
    return f"**{average} %** on average over the classes and **{worst} %** on the weakest, {_escaped(weakest)}"


def _file(card: Card) -> str:
    file, student = card["file"], card["student"]
    rows = {
        "File": f"`{file['name']}`, {file['bytes']:,} bytes, ONNX operator set {student['opset']}",
        "sha256": f"`{file['sha256']}`",
        "Network": f"`{student['architecture']}`, {student['parameters']:,} parameters",
        "Input": f"`{card['input']['name']}`: float32 {_shape(card['input'])}, values in [0, 1]; normalised inside",
        "Output": f"`{card['output']['name']}`: float32 {_shape(card['output'])}, without softmax",
    }
    return _table(["", ""], rows.items())


def _accuracy(card: Card) -> str:
    tail = "worst10" if len(card["classes"]) >= 100 else "worst"
    rows = []
    for attack, measured in card["attacks"].items():
        nsd = measured["accuracy"]["nsd"]
        cells = [_with_interval(measured, name) for name in ("average", "worst", "overall")]
        rows.append(
            [
                _name(card, attack),
                str(measured["n"]),
                *cells,
                "–" if nsd is None else f"{nsd:.3f}",
            ]
        )
    explained = (
        f"Percent of test images, with 95 % intervals over the test images. The attacks move each pixel by at most "
        f"{card['threat_model']['eps_text']} of its range. Overall is half the average over the classes and half the "
        f"{'worst class' if tail == 'worst' else 'mean of the worst tenth of them'}; NSD is the standard deviation "
        "over the classes divided by their mean: 0 is fair."
    )
    return explained + "\n\n" + _table(["", "Images", "Average", "Worst class", "Overall", "NSD"], rows)


def _by_class(card: Card) -> str:
    attacks = card["attacks"]
    of_strongest = attacks[strongest(attacks)]["accuracy"]["per_class"]
    names = list(card["classes"])
    explained = "Percent; the lowest of each column is bold."
    if len(names) > MOST_CLASSES:
        names = sorted(names, key=lambda name: of_strongest[name])[:MOST_CLASSES]
        under = _name(card, strongest(attacks))
        explained = f"Percent; the {MOST_CLASSES} weakest of {len(card['classes'])} classes under {under}."
    rows = [[_escaped(name), *(_class_cell(measured, name) for measured in attacks.values())] for name in names]
    return explained + "\n\n" + _table(["Class", *(_name(card, attack) for attack in attacks)], rows)


def _use(card: Card) -> str:
    student = card["student"]
    return SNIPPET.format(file=card["file"]["name"], channels=student["channels"], size=student["size"])


def _limits(card: Card) -> str:
    parity = card["parity"]
    points = [
        f"For images like those of {_escaped(card['data']['name'])}, where a change of the pixels within {_ball(card)} "
        "must not change the label. Other changes (larger ones, patches, rotations, noise, other cameras) were not "
        "measured.",
        "The accuracies are measured, not certified: a stronger attack may lower them.",
        f"The attacks ran on the torch network. The file gives the same labels on {parity['images']:,} clean and "
        f"adversarial images, in batches of {', '.join(map(str, parity['batch_sizes']))}; its logits differ by "
        f"{parity['max_difference']:.1g} at most{_ties(parity['labels_tolerated'])}.",
        _selection(card),
        _checks(card),
        f"Licences: data {_escaped(card['data']['licence'])}; teacher {_escaped(card['teacher']['licence'])}. "
        "Look at both before you pass the file on.",
    ]
    return "\n".join(f"* {point}" for point in points)


def _ties(labels: int) -> str:
    return f". On {labels} of them the label differs: ties within rounding" if labels else ""


def _selection(card: Card) -> str:
    if card["training"]["select_on"] == "test":
        return "**The epoch was chosen on the test images**, as in the papers: the accuracies are too good."
    return "The epoch was chosen on validation images; the test images chose nothing."


def _checks(card: Card) -> str:
    failed = {name: check["detail"] for name, check in card["checks"].items() if not check["passed"]}
    if failed:
        told = "; ".join(f"{_escaped(name)}: {_escaped(detail)}" for name, detail in failed.items())
        return f"**Checks of the evaluation that failed**, so that its numbers may be too good: {told}."
    return f"Checks of the evaluation for signs of masked gradients: all passed ({len(card['checks'])})."


def _making(card: Card) -> str:
    training, teacher = card["training"], card["teacher"]
    robust = ", ".join(
        f"{_percent(of['average'])} % ({ATTACKS.get(attack, attack)})" for attack, of in teacher["accuracy"].items()
    )
    rows = {
        "Method": f"`{training['method']}`, seed {training['seed']}, epoch {training['epoch']} of {training['epochs']}",
        "Teacher": f"`{teacher['architecture']}`: {_escaped(teacher['source'])}; accuracy {robust}",
        "Data": f"{_escaped(card['data']['name'])}: {_escaped(card['data']['source'])}",
        **{f"`{name}`": f"`{value}`" for name, value in card["provenance"].items()},
    }
    return _table(["", ""], rows.items()) + "\n\nEvery setting and every number stands in `card.json` beside this page."


def _name(card: Card, attack: str) -> str:
    return attack_label(attack, card["attacks"][attack]["settings"])


def _ball(card: Card) -> str:
    norm, eps = card["threat_model"]["norm"], card["threat_model"]["eps_text"]
    return f"{'L∞' if norm == 'Linf' else norm} {eps}"


def _shape(tensor: Card) -> str:
    return f"({', '.join(map(str, tensor['shape']))})"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _interval(ends: Sequence[float]) -> str:
    return f"({_percent(ends[0])}–{_percent(ends[1])})"


def _with_interval(measured: Card, name: str) -> str:
    return f"{_percent(measured['accuracy'][name])} {_interval(measured['interval95'][name])}"


def _class_cell(measured: Card, name: str) -> str:
    by_class = measured["accuracy"]["per_class"]
    value, interval = _percent(by_class[name]), _interval(measured["interval95"]["per_class"][name])
    return f"**{value}** {interval}" if by_class[name] == min(by_class.values()) else f"{value} {interval}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    """Text from outside, so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))
