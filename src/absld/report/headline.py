"""The answer in a sentence: which method is best on the worst class, by how much, and how sure that is."""

from typing import NamedTuple

from absld.records.attacks import STRONGEST, attack_name, strongest
from absld.report.over_seeds import OverSeeds
from absld.report.summary import Summary, measured
from absld.report.wording import MEASURES, attack_in, method_label, percent


class Headline(NamedTuple):
    """What a reader should take home."""

    sentence: str
    details: list[str]


class Standing(NamedTuple):
    """A method's place under the attack that decides."""

    method: str
    tail: OverSeeds
    average: OverSeeds

    @property
    def label(self) -> str:
        """As papers print it."""
        return method_label(self.method)


def standings(summary: Summary) -> list[Standing]:
    """The methods, best first, by their accuracy on the worst class (of many classes, the worst tenth)."""
    attack = strongest(summary["attacks"])
    places = [
        Standing(method, measured(of[attack], summary["tail"]), of[attack]["average"])
        for method, of in summary["methods"].items()
    ]
    return sorted(places, key=lambda place: -(place.tail["mean"] or 0.0))


def headline(summary: Summary) -> Headline:
    """The report's first sentence, and what must be said with it."""
    attack = strongest(summary["attacks"])
    survive = (
        "are recognised"
        if attack == "clean"
        else f"withstand {attack_name(attack, summary['attacks'][attack]['settings'])}"
    )
    worst = "worst class" if summary["tail"] == "worst" else "worst tenth of the classes"
    best, *others = standings(summary)
    share = f"{percent(best.tail['mean'])} %"
    lowest = _lowest(summary, best, attack)
    if not others:
        return Headline(f"{share} of {best.label}’s {worst} {survive}.", [lowest])
    rival = next((place for place in others if place.method == summary["baseline"]), others[0])
    gap = percent((best.tail["mean"] or 0.0) - (rival.tail["mean"] or 0.0))
    if gap == "0.0":
        sentence = f"{best.label} and {rival.label} are equally good on the {worst}: {share} {survive}."
    else:
        verb = "is best" if _apart(best, rival) else "leads"
        sentence = f"{best.label} {verb} on the {worst}: {share} {survive}, {gap} points more than with {rival.label}."
    details = [_certainty(summary, best, rival), _price(best, rival), _at_the_end(summary, best, rival), lowest]
    if rival is not others[0]:
        details.insert(1, f"The next best is {others[0].label} with {percent(others[0].tail['mean'])} %.")
    return Headline(sentence, details)


def _apart(best: Standing, rival: Standing) -> bool:
    """Whether the two ranges, over the seeds or of the interval, leave a gap."""
    low, high = best.tail["low"], rival.tail["high"]
    return low is not None and high is not None and low > high


def _certainty(summary: Summary, best: Standing, rival: Standing) -> str:
    """How far chance could explain the gap."""
    seeds = len(summary["seeds"])
    if seeds > 1:
        pairs = zip(best.tail["values"], rival.tail["values"], strict=True)
        ahead = sum((mine or 0.0) > (theirs or 0.0) for mine, theirs in pairs)
        whole = "every seed of one is above every seed of the other" if _apart(best, rival) else "their ranges overlap"
        return f"It is ahead of {rival.label} with {ahead} of {seeds} seeds; {whole}."
    basis = f"one seed and {summary['attacks'][strongest(summary['attacks'])]['n']:,} test images"
    if _apart(best, rival):
        return f"The 95 % intervals of the two do not overlap ({basis})."
    return f"Chance may explain it: the 95 % intervals of the two overlap ({basis})."


def _price(best: Standing, rival: Standing) -> str:
    """What the worst class's gain does to the average."""
    difference = (best.average["mean"] or 0.0) - (rival.average["mean"] or 0.0)
    gap = percent(abs(difference))
    of_average = f"On average over the classes it is {percent(best.average['mean'])} %"
    if gap == "0.0":
        return f"{of_average}, the same as with {rival.label}."
    return f"{of_average}, {gap} points {'more' if difference > 0 else 'less'} than with {rival.label}."


def _at_the_end(summary: Summary, best: Standing, rival: Standing) -> str:
    """The same two at their last epoch: a gap that is gone there came from the choice of the epoch."""
    attack = next(name for name in STRONGEST if name in summary["last"][best.method])
    mine, theirs = (
        percent(measured(summary["last"][place.method][attack], summary["tail"])["mean"]) for place in (best, rival)
    )
    label = attack_in(summary, attack)
    tail = MEASURES[summary["tail"]].lower()
    return f"At the last epoch the {tail} under {label} is {mine} %, with {rival.label} {theirs} %."


def _lowest(summary: Summary, best: Standing, attack: str) -> str:
    of = summary["methods"][best.method][attack]
    name, label = of["lowest_class"], attack_in(summary, attack)
    return f"{best.label}’s hardest class under {label} is “{name}”: {percent(of['per_class'][name]['mean'])} %."
