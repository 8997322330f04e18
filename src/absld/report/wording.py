"""How methods, attacks and numbers are written: the same in every table, figure and sentence."""

from collections.abc import Mapping
from typing import Any

from absld.records.attacks import ATTACKS, attack_label
from absld.records.numbers import number_text
from absld.report.over_seeds import OverSeeds
from absld.report.summary import Summary

METHODS = {
    "natural": "Natural",
    "adaad": "AdaAD",
    "fair_ard": "Fair-ARD",
    "fair_rslad": "Fair-RSLAD",
    "sat_ssd": "SAT, same smoothness",
    "sat_dsd": "SAT, different smoothness",
    "absld_adv": "ABSLD, adv only",
    "absld_product": "ABSLD, product",
}
"""Methods that are not written in capitals."""
PHRASES = {
    "kappa": "kappa {:g}",
    "version": "{} version",
    "targets": "{} target classes",
    "implementation": "{}",
    "seed": "seed {}",
    "chunk": "chunks of {} images",
}
"""The settings that are said after the steps."""
MEASURES = {
    "average": "Average",
    "worst": "Worst class",
    "worst10": "Worst tenth",
    "overall": "Overall",
    "nsd": "NSD",
}
STATE = {
    "tau_adv": "adversarial images",
    "tau_clean": "clean images",
    "weight": "in the loss",
    "radius": "of the attack",
    "beta": "of the robust term",
}
"""What the values that a method keeps by class act on, by their names in history.csv."""
STATE_KINDS = {
    "tau": "A temperature below 1 sharpens the teacher's labels for a class, one above 1 smooths them.",
    "weight": "A weight above 1 makes the images of a class count for more in the loss.",
    "radius": "The radius bounds the attack on the training images of a class.",
    "beta": "beta weighs the robust term of the loss for a class.",
    "lambda": "A multiplier rises while the error of a class exceeds the average by more than is allowed.",
}
"""The same explained, by what the name begins with."""
STATE_NEUTRAL = {"tau": 1.0, "weight": 1.0}
"""The value that changes nothing."""
MOST_NAMED = 3
"""Methods that a caption names one by one."""
DASH = "–"
MINUS = "−"


def method_label(method: str) -> str:
    """A method's name as papers print it; one that is named by its folder stays as it is."""
    return METHODS.get(method, method if "/" in method else method.upper())


def state_label(quantity: str) -> str:
    """What a method keeps by class, with a word on what it acts on where one is known."""
    return f"{quantity}, {STATE[quantity]}" if quantity in STATE else quantity


def short_name(name: str) -> str:
    """A class's name where there is little room: long ones lose their middle, as their ends differ most often."""
    return name if len(name) <= 16 else f"{name[:7]}…{name[-7:]}"


def attack_settings(settings: Mapping[str, Any]) -> str:
    """How an attack was set, as a phrase: "20 steps of 2/255, uniform start, seed 0"."""
    parts = []
    if "steps" in settings:
        steps = settings["steps"]
        parts.append(f"{steps} step{'s' if steps > 1 else ''} of {number_text(settings['step'])}")
    if "start" in settings:
        parts.append("starts at the image" if settings["start"] == "none" else f"{settings['start']} start")
    parts += [phrase.format(settings[name]) for name, phrase in PHRASES.items() if name in settings]
    return ", ".join(parts) or DASH


def attack_in_full(attack: str, settings: Mapping[str, Any]) -> str:
    """An attack with its settings, the part that is the same for all left out."""
    told = attack_settings({name: value for name, value in settings.items() if name not in ("seed", "chunk")})
    label = attack_label(attack, {**settings, "left_out": []})  # `told` says it
    return label if told == DASH else f"{label} ({told})"


def attack_in(summary: Summary, attack: str) -> str:
    """An attack's label, as the runs of a summary met it."""
    return attack_label(attack, summary["attacks"][attack]["settings"])


def attack_within(summary: Summary, attack: str) -> str:
    """An attack with its settings and its radius, which clean images have none of."""
    told = attack_in_full(attack, summary["attacks"][attack]["settings"])
    return told if attack == "clean" else f"{told}, L∞ eps {summary['threat_model']['eps_text']}"


def images(n: int) -> str:
    """How many test images an attack met: n = 10,000."""
    return f"n = {n:,}"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Without the sign %: the table says it once."""
    return DASH if fraction is None else f"{100 * fraction:.{decimals}f}"


def points(difference: float | None, decimals: int = 1) -> str:
    """A difference in percentage points, always with its sign; 0.0 has none."""
    if difference is None:
        return DASH
    text = f"{abs(100 * difference):.{decimals}f}"
    if not float(text):
        return text
    return f"{'+' if difference > 0 else MINUS}{text}"


def ratio(difference: float | None) -> str:
    """A difference that has no unit, always with its sign: −0.014."""
    return points(None if difference is None else difference / 100, 3)


def number(measure: str, value: float | None) -> str:
    """A measure's value: percent, but for nsd, which is a ratio."""
    if measure == "nsd":
        return DASH if value is None else f"{value:.3f}"
    return percent(value)


def spread(measure: str, of: OverSeeds) -> str:
    """What stands beside a mean: ± the standard deviation of several seeds, or the interval of one."""
    if of["std"] is not None:
        return f"± {number(measure, of['std'])}"
    if of["low"] is not None and of["n"] == 1 and len(of["values"]) == 1:
        return f"{number(measure, of['low'])}{DASH}{number(measure, of['high'])}"
    return ""


def spread_explained(summary: Summary) -> str:
    """What the number beside a mean is, for a caption."""
    seeds = len(summary["seeds"])
    if seeds > 1:
        return f"mean ± sample standard deviation over {seeds} seeds"
    return f"seed {summary['seeds'][0]} with its 95 % interval over the test images"


def whiskers_explained(summary: Summary) -> str:
    """What the band or whisker around a mean is, for a caption."""
    seeds = len(summary["seeds"])
    if seeds > 1:
        return f"mean of {seeds} seeds, from the lowest to the highest"
    return f"seed {summary['seeds'][0]}, 95 % interval over the test images (Wilson for classes, else bootstrap)"


def bias_explained(attack: str, tail: str, classes: int, n: int, biases: Mapping[str, float]) -> str:
    """How far the lowest of noisy accuracies lies below the true one, for a caption; `biases` by name, 0 or less."""
    lowest = "lowest tenth" if tail == "worst10" else "lowest"
    texts = {name: percent(abs(bias)) for name, bias in biases.items()}
    if len(texts) > MOST_NAMED:
        size = f"{min(texts.values(), key=float)} to {max(texts.values(), key=float)} points, method by method"
    else:
        size = f"{' and '.join(f'{text} ({name})' for name, text in texts.items())} points"
    where = "on clean images" if attack == ATTACKS["clean"] else f"under {attack}"
    return (
        f"{MEASURES[tail]} is biased: the {lowest} of {classes} accuracies, measured on about {round(n / classes):,} "
        f"images each, is on average too low, {where} by about {size}; Overall by half of that."
    )
