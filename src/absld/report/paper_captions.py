"""What stands below a redrawn figure of the paper: on what, against what and how often it was measured."""

from collections.abc import Mapping, Sequence

from absld.records.numbers import number_text
from absld.report.inputs import Run
from absld.report.wording import attack_in_full, attack_settings, images, method_label

ByMethod = Mapping[str, Sequence[Run]]


def measured_caption(by_method: ByMethod, attacks: Sequence[str]) -> str:
    """Of accuracies under `attacks`, all of the runs measured alike."""
    first = next(iter(by_method.values()))[0].evaluation
    blocks = [first["attacks"][attack] for attack in attacks]
    named = [attack_in_full(attack, of["settings"]) for attack, of in zip(attacks, blocks, strict=True)]
    counts = [images(of["n"]) for of in blocks]
    if len(set(counts)) == 1:
        measured = f"{'; '.join(named)}; {counts[0]} test images"
    else:
        measured = "; ".join(f"{name}, {count}" for name, count in zip(named, counts, strict=True))
    several = any(len(runs) > 1 for runs in by_method.values())
    spread = "mean, lowest and highest of the seeds" if several else "one seed, 95 % interval over the test images"
    parts = [
        _subject(by_method),
        f"L∞ eps {first['threat_model']['eps_text']}: {measured}.",
        f"{_seeds(by_method)} Accuracy in percent: {spread}.",
        _chosen(by_method),
    ]
    return " ".join(parts)


def risk_caption(by_method: ByMethod) -> str:
    """Of the risks while training."""
    several = any(len(runs) > 1 for runs in by_method.values())
    parts = [
        _subject(by_method),
        "Population standard deviation over the classes of their mean cross-entropy in an epoch, divided by its mean.",
        *_trained_against(by_method),
        _seeds(by_method),
        "Mean, lowest and highest of the seeds." if several else "",
    ]
    return " ".join(filter(None, parts))


def _subject(by_method: ByMethod) -> str:
    first = next(iter(by_method.values()))[0]
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


def _trained_against(by_method: ByMethod) -> list[str]:
    """The training attack of each method, said once where it is the same."""
    told: dict[str, list[str]] = {}
    for method, runs in by_method.items():
        attack = runs[0].state["settings"]["attack"]
        text = f"{attack_settings(attack)}, L∞ eps {number_text(attack['eps'])}"
        told.setdefault(text, []).append(method_label(method))
    return [f"{' and '.join(methods)} trained against {text}." for text, methods in told.items()]
