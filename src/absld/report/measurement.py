"""The tables that say how it was measured: attacks, epochs, runs."""

from collections.abc import Mapping
from typing import Any

from absld.report.summary import Summary, measured
from absld.report.tables import Cell, Group, Line, Table, accuracy_cell
from absld.report.wording import MEASURES, attack_in, attack_settings, method_label, spread_explained


def attacks_table(summary: Summary) -> Table:
    """How each attack was set."""
    lines = [
        Line(attack_in(summary, attack), [Cell(f"{of['n']:,}"), Cell(attack_settings(of["settings"]), words=True)])
        for attack, of in summary["attacks"].items()
    ]
    caption = f"The attacks, all within L∞ eps {summary['threat_model']['eps_text']} of pixels in [0, 1]."
    return Table("attacks", caption, "Attack", ["Test images", "Settings"], [Group("", lines)])


def epochs_table(summary: Summary) -> Table:
    """The best epoch against the last: what overfitting costs."""
    lines = []
    measures = ("average", summary["tail"])
    for method in summary["methods"]:
        for epoch, source in (("best", summary["methods"]), ("last", summary["last"])):
            of = [source[method][attack] for attack in summary["last"][method]]
            cells = [
                accuracy_cell(measure, measured(accuracy, measure), False) for accuracy in of for measure in measures
            ]
            lines.append(Line(f"{method_label(method)}, {epoch} epoch", cells))
    labels = [attack_in(summary, attack) for attack in next(iter(summary["last"].values()))]
    columns = [f"{label}, {MEASURES[measure].lower()}" for label in labels for measure in measures]
    caption = f"The epoch that was chosen against the last one, in percent; {spread_explained(summary)}."
    return Table("epochs", caption, "Method", columns, [Group("", lines)])


def runs_table(summary: Summary) -> Table:
    """Every run: which epoch was chosen, what its evaluation's checks said, which file it became."""
    lines = []
    for run, of in summary["runs"].items():
        file, parity = of["file"], of["parity"]
        cells = [
            Cell(f"{of['best_epoch']} of {of['epochs']}"),
            Cell(_checked(of["checks"]), words=True),
            Cell(f"{file['bytes'] / 1e6:.2f}"),
            Cell(f"{parity['max_difference']:.0e}"),
            Cell(file["sha256"][:12], words=True),
        ]
        lines.append(Line(run, cells))
    columns = ["Best epoch", "Checks", "student.onnx, MB", "Logits differ by", "sha256, first 12"]
    caption = (
        "Every run and the file it became. The logits are compared with the network that was attacked, on clean and on "
        "adversarial images; no label differs beyond rounding, or there would be no file."
    )
    return Table("runs", caption, "Run", columns, [Group("", lines)])


def _checked(checks: Mapping[str, Any]) -> str:
    failed = [name.replace("_", " ") for name, check in checks.items() if not check["passed"]]
    return f"not passed: {', '.join(failed)}" if failed else f"{len(checks)} passed"
