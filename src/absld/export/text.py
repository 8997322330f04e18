"""card.json as a page for people: how robust the student is, how to use it, what not to trust it with."""

from absld.export.accuracies import accuracy, by_class, name, on_the_file, smaller
from absld.export.markdown import Card, ball, escaped, percent, table, told
from absld.records.attacks import ATTACKS, strongest

SNIPPET = """\
```python
import json, numpy, onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
images = numpy.zeros((1, {channels}, {size}, {size}), "float32")  # yours: values in [0, 1], channels first
print([classes[k] for k in session.run(["logits"], {{"images": images}})[0].argmax(1)])
```

For image files of any size: `absld predict {file} IMAGE...`"""


SHOWN_DIGITS = 16
"""Of a hash among many."""


def card_text(card: Card) -> str:
    """The page as Markdown."""
    sections = {
        "Threat model": _threat_model(card),
        "Accuracy": accuracy(card),
        "Accuracy by class": by_class(card),
        "The file": _file(card),
        "Measured on the file": on_the_file(card),
        **({"Smaller files": smaller(card)} if card["variants"] else {}),
        "Use": _use(card),
        "Limits of use": _limits(card),
        "Checks": _checks(card),
        "How it was made": _making(card),
        "How to make it again": _again(card),
    }
    parts = [f"# Model card: {escaped(card['run'])}", _summary(card)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _summary(card: Card) -> str:
    student, attack = card["student"], strongest(card["attacks"])
    colour = "grey" if student["channels"] == 1 else "colour"
    what = (
        f"An image classifier for **{escaped(card['data']['name'])}**: {student['size']}×{student['size']} {colour} "
        f"images, {len(card['classes'])} classes. Its accuracy on clean images is {_average_and_weakest(card, 'clean')}"
    )
    if attack == "clean":
        return f"{what}. **It was not attacked**: nothing is known of its robustness."
    return f"{what}; under {name(card, attack)} within {ball(card)} it is {_average_and_weakest(card, attack)}."


def _average_and_weakest(card: Card, attack: str) -> str:
    measured = card["attacks"][attack]["accuracy"]
    weakest = min(measured["per_class"], key=measured["per_class"].__getitem__)
    average, worst = percent(measured["average"]), percent(measured["worst"])
    return f"**{average} %** on average over the classes and **{worst} %** on the weakest, {escaped(weakest)}"


def _threat_model(card: Card) -> str:
    return (
        f"The attacker knows the network and its weights and changes each value of an image by at most "
        f"{card['threat_model']['eps_text']}, within [0, 1] ({ball(card)}), so that the label becomes wrong, "
        "whichever it becomes. The image as it was is classified correctly or counted as wrong."
    )


def _file(card: Card) -> str:
    file, student = card["file"], card["student"]
    rows = {
        "File": f"`{file['name']}`, {file['bytes']:,} bytes, ONNX operator set {student['opset']}",
        "sha256": f"`{file['sha256']}`",
        "Network": f"`{student['architecture']}`, {student['parameters']:,} parameters",
        "Input": f"`{card['input']['name']}`: float32 {_shape(card['input'])}, values in [0, 1]; normalised inside",
        "Output": f"`{card['output']['name']}`: float32 {_shape(card['output'])}, without softmax",
    }
    return table(["", ""], rows.items())


def _use(card: Card) -> str:
    student = card["student"]
    return SNIPPET.format(file=card["file"]["name"], channels=student["channels"], size=student["size"])


def _limits(card: Card) -> str:
    points = [
        f"For images like those of {escaped(card['data']['name'])}. Other data (other cameras, noise, blur) was not "
        "measured, and an image of no class in the list gets one of its labels all the same.",
        f"Robust within {ball(card)} only: other norms, larger radii, patches, rotations and shifts were not measured.",
        "Measured, not certified: a stronger attack may lower the accuracies, and so may more queries than the "
        f"{card['onnx']['square']['queries']} that the file was asked.",
        _per_class(card),
        _selection(card),
        "The licences of data and teacher (below) may bind whoever passes the file on.",
    ]
    return "\n".join(f"* {point}" for point in points)


def _per_class(card: Card) -> str:
    attack = strongest(card["attacks"])
    images = card["attacks"][attack]["n"] / len(card["classes"])
    return (
        f"Under {name(card, attack)} the accuracy of a class rests on {images:.3g} images on average: two classes "
        "whose intervals overlap may be equal, and the lowest of several noisy accuracies is likely to be too low."
    )


def _selection(card: Card) -> str:
    if card["training"]["select_on"] == "test":
        return "**The epoch was chosen on the test images**, as in the papers: the accuracies are too good."
    return "The epoch was chosen on validation images; the test images chose nothing."


def _checks(card: Card) -> str:
    checks = card["checks"]
    failed = [check for check in checks.values() if not check["passed"]]
    explained = "Whether the accuracies can be trusted, or an attack was only hindered."
    if failed:
        explained += f" **{len(failed)} of {len(checks)} failed: the accuracies may be too good.**"
    rows = [
        [escaped(of), "passed" if check["passed"] else "**failed**", escaped(check["detail"])]
        for of, check in checks.items()
    ]
    return explained + "\n\n" + table(["Check", "", "Found"], rows)


def _making(card: Card) -> str:
    training, teacher, data = card["training"], card["teacher"], card["data"]
    settings = {of: value for of, value in training["settings"].items() if of != "epochs"}
    robust = ", ".join(
        f"{percent(of['average'])} % ({ATTACKS.get(attack, attack)})" for attack, of in teacher["accuracy"].items()
    )
    trained = f"{sum(data['counts']['train'].values()):,} images"
    rows = {
        "Method": f"`{training['method']}`, seed {training['seed']}, epoch {training['epoch']} of {training['epochs']}",
        "Settings": escaped(told(settings)),
        **{of.capitalize(): escaped(told(training["train"][of])) for of in ("augmentation", "validation")},
        "Teacher": f"`{teacher['architecture']}`: {escaped(teacher['source'])}; accuracy {robust}",
        "Data": f"{escaped(data['name'])}, {trained} trained on: {escaped(data['source'])}",
        "Licences": f"data {escaped(data['licence'])}; teacher {escaped(teacher['licence'])}",
        **{f"`{of}`": f"`{value[:SHOWN_DIGITS]}`" for of, value in card["provenance"].items()},
    }
    return table(["", ""], rows.items()) + "\n\nEvery number and whole hash stands in `card.json` beside this page."


def _again(card: Card) -> str:
    training = card["training"]
    words = (
        f"With the params.yaml of this run: `methods.{training['method']}` as above, `evaluate` and `export` with the "
        "hashes `params_sha256` and `export_params_sha256`, which the new card shows too."
    )
    commands = [
        f"absld repro export@{training['method']}-{training['seed']}",
        f"sha256sum runs/{card['run']}/export/{card['file']['name']}",
    ]
    bytewise = "The same machine and versions give the same bytes; another processor may round differently."
    return "\n\n".join([words, "\n".join(["```sh", *commands, "```"]), bytewise])


def _shape(tensor: Card) -> str:
    return f"({', '.join(map(str, tensor['shape']))})"
