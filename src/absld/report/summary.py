"""The numbers of a report: every method, every attack, over all seeds. This is reports/summary.json.

Accuracies are fractions in [0, 1]. Nothing in it depends on when, where or how often it was made.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, TypedDict, cast

from absld.records.attacks import strongest
from absld.report.confusion import Mistakes, count_mistakes
from absld.report.inputs import SWEEPS, Run, group_by_method, settings_of
from absld.report.over_seeds import OverSeeds, over_seeds
from absld.report.sweeps import Sweep, sweep_of
from absld.statistics.bias import counts_of, tail_bias
from absld.statistics.metrics import tail_of

MEASURES = ("average", "micro", "worst", "worst10", "overall", "nsd")
"""What is derived from the class accuracies; docs/files.md defines each."""
MOST_SIDE_BY_SIDE = 20
"""Classes that fit side by side, or below each other, in the order of the data set; more are sorted by accuracy."""
MOST_WRONG = 3
"""Wrong classes that are kept for a class where there are more classes than that."""
MOST_TOGETHER = 5
"""Methods whose bars or lines one panel has room for, and whose differences a table has room for."""


class Accuracy(TypedDict):
    """What one attack left of one method."""

    average: OverSeeds
    micro: OverSeeds
    worst: OverSeeds
    worst10: OverSeeds
    overall: OverSeeds
    nsd: OverSeeds
    lowest_class: str
    """The class whose mean over the seeds is lowest."""
    per_class: dict[str, OverSeeds]


class Summary(TypedDict):
    """Everything that the tables say."""

    dataset: str
    classes: list[str]
    seeds: list[int]
    baseline: str | None
    tail: str
    """`worst`, or `worst10` where there are many classes: what `overall` averages with `average`."""
    interval: str
    """What `low` and `high` are: `seeds` or `interval95`."""
    threat_model: dict[str, Any]
    attacks: dict[str, dict[str, Any]]
    """Attack to its `n` (test images) and `settings`."""
    methods: dict[str, dict[str, Accuracy]]
    """Method to attack to accuracy: of the best epoch, which is what is exported."""
    last: dict[str, dict[str, Accuracy]]
    """The same of the last epoch."""
    differences: dict[str, dict[str, Accuracy]]
    """Method minus baseline, seed by seed; empty without a baseline."""
    bias: dict[str, float]
    """Method to how far its tail under the strongest attack lies from the true one on average: 0 or less."""
    mistakes: dict[str, dict[str, dict[str, Mistakes]]]
    """Method to the strongest attack and `clean` to class: what its images are taken for."""
    curves: dict[str, Sweep]
    """`eps` and `steps`, those that were measured."""
    student: dict[str, Any]
    """What was trained: `architecture`, `parameters`."""
    teacher: dict[str, Any]
    """What it learned from: `architecture`, `parameters`, `attacks`, and `accuracy` as of a method with one seed."""
    runs: dict[str, dict[str, Any]]
    """Run to its best epoch, number of epochs, the split that chose it, the evaluation's checks, the exported file."""


def measured(accuracy: Accuracy, measure: str) -> OverSeeds:
    """One of MEASURES by its name."""
    return cast("Mapping[str, OverSeeds]", accuracy)[measure]


def summarise(runs: Sequence[Run], baseline: str | None, teacher: Mapping[str, Any]) -> Summary:
    """The summary of `runs`: every method with every seed, each once, methods in the order in which they come.

    `baseline` is one of the methods or None; `teacher` is the teacher's card.json.
    """
    first = runs[0].evaluation
    seeds = list(dict.fromkeys(run.key.seed for run in runs))
    by_method = group_by_method(runs)
    others = {} if baseline is None else {name: of for name, of in by_method.items() if name != baseline}
    return {
        "dataset": first["dataset"],
        "classes": first["classes"],
        "seeds": seeds,
        "baseline": baseline,
        "tail": tail_of(first["classes"]),
        "interval": "seeds" if len(seeds) > 1 else "interval95",
        "threat_model": first["threat_model"],
        "attacks": {name: {"n": of["n"], "settings": settings_of(of)} for name, of in first["attacks"].items()},
        "methods": {name: _accuracies(of, "attacks") for name, of in by_method.items()},
        "last": {name: _accuracies(of, "last") for name, of in by_method.items()},
        "differences": {name: _differences(of, by_method[baseline]) for name, of in others.items() if baseline},
        "bias": {name: _bias(of) for name, of in by_method.items()},
        "mistakes": {name: _mistakes(of) for name, of in by_method.items()},
        "curves": {kind: sweep for kind in SWEEPS if (sweep := sweep_of(kind, by_method))},
        "student": {name: runs[0].card["student"][name] for name in ("architecture", "parameters")},
        "teacher": _teacher(teacher),
        "runs": {str(run.key): _facts(run) for run in runs},
    }


def _accuracies(runs: Sequence[Run], of: str) -> dict[str, Accuracy]:
    return {
        attack: _accuracy(
            [run.evaluation[of][attack]["accuracy"] for run in runs],
            runs[0].evaluation[of][attack]["interval95"] if len(runs) == 1 else {},
        )
        for attack in runs[0].evaluation[of]
    }


def _bias(runs: Sequence[Run]) -> float:
    """Mean over the seeds."""
    blocks = [run.evaluation["attacks"][strongest(run.evaluation["attacks"])] for run in runs]
    return fmean(tail_bias(counts_of(block)) for block in blocks)


def _differences(runs: Sequence[Run], baseline: Sequence[Run]) -> dict[str, Accuracy]:
    return {
        attack: _accuracy(
            [
                _minus(run.evaluation["attacks"][attack]["accuracy"], base.evaluation["attacks"][attack]["accuracy"])
                for run, base in zip(runs, baseline, strict=True)
            ],
            {},
        )
        for attack in runs[0].evaluation["attacks"]
    }


def _accuracy(seeds: Sequence[Mapping[str, Any]], interval95: Mapping[str, Any]) -> Accuracy:
    """`seeds` holds the block `accuracy` of evaluation.json of each seed, or differences between two such blocks."""
    class_intervals = interval95.get("per_class", {})
    per_class = {
        name: over_seeds([seed["per_class"][name] for seed in seeds], class_intervals.get(name))
        for name in seeds[0]["per_class"]
    }
    average, micro, worst, worst10, overall, nsd = (
        over_seeds([seed[measure] for seed in seeds], interval95.get(measure)) for measure in MEASURES
    )
    return {
        "average": average,
        "micro": micro,
        "worst": worst,
        "worst10": worst10,
        "overall": overall,
        "nsd": nsd,
        "lowest_class": min(per_class, key=lambda name: per_class[name]["mean"] or 0.0),
        "per_class": per_class,
    }


def _minus(accuracy: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    def gap(value: float | None, base: float | None) -> float | None:
        return None if value is None or base is None else value - base

    classes = accuracy["per_class"]
    return {
        **{measure: gap(accuracy[measure], baseline[measure]) for measure in MEASURES},
        "per_class": {name: gap(value, baseline["per_class"][name]) for name, value in classes.items()},
    }


def _mistakes(runs: Sequence[Run]) -> dict[str, dict[str, Mistakes]]:
    evaluations = [run.evaluation for run in runs]
    most = MOST_SIDE_BY_SIDE if len(evaluations[0]["classes"]) <= MOST_SIDE_BY_SIDE else MOST_WRONG
    return {
        attack: count_mistakes([of["attacks"][attack]["confusion"] for of in evaluations], most)
        for attack in dict.fromkeys((strongest(evaluations[0]["attacks"]), "clean"))
    }


def _facts(run: Run) -> dict[str, Any]:
    return {
        "best_epoch": run.state["best_epoch"],
        "epochs": run.state["epochs"],
        "select_on": run.state["select_on"],
        "checks": run.evaluation["checks"],
        "file": run.card["file"],
        "parity": {name: run.card["parity"][name] for name in ("images", "labels_tolerated", "max_difference")},
    }


def _teacher(card: Mapping[str, Any]) -> dict[str, Any]:
    measured_on = {attack: {"n": of["n"], "settings": settings_of(of)} for attack, of in card["accuracy"].items()}
    accuracy = {attack: _accuracy([of["accuracy"]], {}) for attack, of in card["accuracy"].items()}
    return {
        "architecture": card["architecture"],
        "parameters": card["parameters"],
        "attacks": measured_on,
        "accuracy": accuracy,
    }
