"""What evaluation.json and summary.json say, as MLflow's metrics and as the table that its pages can show by class."""

from collections.abc import Mapping
from typing import Any

from absld.statistics.metrics import tail_of
from absld.watch.names import ClassNames

MEASURES = ("average", "worst", "overall", "nsd")
CHECK = "check."
"""How the tags of the evaluation's checks begin."""
VARIANT = "variant."
"""How the tags of the smaller files begin."""
FORMS = ("fp32", "fp16", "int8")
"""The keys of the card's `variants` that are files; fp32 is student.onnx on the same images."""


def metrics_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """``pgd/<class>`` and ``summary/pgd_worst`` of the best epoch, ``last/pgd_worst`` of the last one."""
    names = ClassNames(evaluation["classes"])
    metrics: dict[str, float] = {}
    for attack, outcome in evaluation["attacks"].items():
        by_class = outcome["accuracy"]["per_class"]
        metrics |= {names.key(attack, name): accuracy for name, accuracy in by_class.items()}
    for group, outcomes in (("summary", evaluation["attacks"]), ("last", evaluation["last"])):
        for attack, outcome in outcomes.items():
            for measure in dict.fromkeys((*MEASURES, tail_of(evaluation["classes"]))):
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


def metrics_of_variants(variants: Mapping[str, Any] | None) -> dict[str, float]:
    """``variants/int8_clean_worst``, ``variants/int8_bytes``: of student.onnx and of each smaller file that was tried.

    `variants` is the block of card.json; None: none was asked for.
    """
    metrics: dict[str, float] = {}
    for form, about in _files(variants).items():
        found = {**about["accuracy"], "bytes": about["bytes"]}
        metrics |= {f"variants/{form}_{name}": value for name, value in found.items() if value is not None}
    return metrics


def tags_of_variants(variants: Mapping[str, Any] | None) -> dict[str, str]:
    """``variant.int8``: kept, or left out with the reason."""
    return {
        f"{VARIANT}{form}": "kept" if about["kept"] else f"left out: {about['reason']}"
        for form, about in _files(variants).items()
        if form != "fp32"
    }


def _files(variants: Mapping[str, Any] | None) -> dict[str, Any]:
    return {form: variants[form] for form in FORMS if variants.get(form)} if variants else {}


def metrics_of_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    """``absld/pgd_worst``: means over the seeds."""
    return {
        f"{method}/{attack}_{measure}": outcome[measure]["mean"]
        for method, attacks in summary["methods"].items()
        for attack, outcome in attacks.items()
        for measure in MEASURES
        if outcome[measure]["mean"] is not None
    }
