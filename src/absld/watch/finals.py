"""What evaluation.json and summary.json say, as MLflow's metrics and as the table that its pages can show by class."""

from collections.abc import Mapping
from typing import Any

from absld.watch.names import ClassNames

MEASURES = ("average", "worst", "overall", "nsd")
MANY_CLASSES = 100
"""From here on `overall` is made with worst10 and not with worst, so worst10 is shown too."""
CHECK = "check."
"""How the tags of the evaluation's checks begin."""


def metrics_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """``pgd/<class>`` and ``summary/pgd_worst`` of the best epoch, ``last/pgd_worst`` of the last one."""
    names = ClassNames(evaluation["classes"])
    metrics: dict[str, float] = {}
    for attack, outcome in evaluation["attacks"].items():
        by_class = outcome["accuracy"]["per_class"]
        metrics |= {names.key(attack, name): accuracy for name, accuracy in by_class.items()}
    for group, outcomes in (("summary", evaluation["attacks"]), ("last", evaluation["last"])):
        for attack, outcome in outcomes.items():
            measures = (*MEASURES, "worst10") if len(evaluation["classes"]) >= MANY_CLASSES else MEASURES
            for measure in measures:
                if outcome["accuracy"][measure] is not None:  # nsd of a model that is always wrong
                    metrics[f"{group}/{attack}_{measure}"] = outcome["accuracy"][measure]
    return metrics


def table_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """A row per class, a column per attack, in the form of MLflow's tables (pandas' orient="split")."""
    attacks = evaluation["attacks"]
    rows = [
        [evaluation["run"], name, *(of["accuracy"]["per_class"][name] for of in attacks.values())]
        for name in evaluation["classes"]
    ]
    return {"columns": ["run", "class", *attacks], "data": rows}


def tags_of_checks(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """``check.deterministic``: passed or failed."""
    return {f"{CHECK}{name}": "passed" if check["passed"] else "failed" for name, check in evaluation["checks"].items()}


def metrics_of_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    """``absld/pgd_worst``: means over the seeds."""
    return {
        f"{method}/{attack}_{measure}": outcome[measure]["mean"]
        for method, attacks in summary["methods"].items()
        for attack, outcome in attacks.items()
        for measure in MEASURES
        if outcome[measure]["mean"] is not None
    }
