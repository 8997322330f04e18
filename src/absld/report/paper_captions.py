"""What stands below a redrawn figure of the paper: on what, against what and how often it was measured."""

from collections.abc import Sequence

from absld.report.inputs import ByMethod, first_of, several_seeds
from absld.report.training_captions import trained_on
from absld.report.wording import attack_in_full, images, method_label


def measured_caption(by_method: ByMethod, attacks: Sequence[str]) -> str:
    """Of accuracies under `attacks`, all of the runs measured alike."""
    first = first_of(by_method).evaluation
    blocks = [first["attacks"][attack] for attack in attacks]
    named = [attack_in_full(attack, of["settings"]) for attack, of in zip(attacks, blocks, strict=True)]
    counts = [images(of["n"]) for of in blocks]
    if len(set(counts)) == 1:
        measured = f"{'; '.join(named)}; {counts[0]} test images"
    else:
        measured = "; ".join(f"{name}, {count}" for name, count in zip(named, counts, strict=True))
    of_seeds = "mean, lowest and highest of the seeds"
    spread = of_seeds if several_seeds(by_method) else "one seed, 95 % interval over the test images"
    parts = [
        _subject(by_method),
        f"L∞ eps {first['threat_model']['eps_text']}: {measured}.",
        f"{_seeds(by_method)} Accuracy in percent: {spread}.",
        _chosen(by_method),
    ]
    return " ".join(parts)


def risk_caption(by_method: ByMethod) -> str:
    """Of the risks while training."""
    parts = [
        _subject(by_method),
        "Population standard deviation over the classes of their mean cross-entropy in an epoch, divided by its mean.",
        trained_on(by_method),
        _seeds(by_method),
        "Mean, lowest and highest of the seeds." if several_seeds(by_method) else "",
    ]
    return " ".join(filter(None, parts))


def _subject(by_method: ByMethod) -> str:
    first = first_of(by_method)
    return f"{first.evaluation['dataset']}, student {first.card['student']['architecture']}."


def _seeds(by_method: ByMethod) -> str:
    of = {method: ", ".join(str(run.key.seed) for run in runs) for method, runs in by_method.items()}
    if len(set(of.values())) == 1:
        seeds = next(iter(of.values()))
        return f"Seed{'s' if ',' in seeds else ''} {seeds}."
    return f"Seeds: {'; '.join(f'{method_label(method)} {seeds}' for method, seeds in of.items())}."


def _chosen(by_method: ByMethod) -> str:
    """Which epoch was measured; that the test images chose it must be said."""
    splits = sorted({run.state["select_on"] for runs in by_method.values() for run in runs})
    return f"Best epoch, chosen on the {' or '.join(splits)} images."
