"""What the report shows of accuracy against radius and steps; and how every figure says what it shows."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_reports import SVG, drawn, lines, rslad_against_absld
from report_runs import CAT_DOG, DIGITS, EPS, STEPS, card, run_of, teacher, walk, write_run

from absld.errors import InputError
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.report.inputs import Run, check_agreement, read_run
from absld.report.palette import INKS
from absld.report.strength import strengths_of
from absld.report.strength_table import strength_table
from absld.report.summary import summarise
from absld.report.writing import ReportFiles, write_report


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rslad_against_absld(tmp_path_factory.mktemp("two"))


def with_curves(run: Run, eps: Sequence[tuple[float, float, float]] = (), steps: Sequence[int] = ()) -> Run:
    """The run with the points (radius, average, worst) and, at so many steps, 0.5 and 0.25."""
    run.evaluation["curves"] = {
        "eps": [
            {"value": at, "text": "", "average": one, "worst": two, "n": 6, "settings": walk(eps=at, step=at / 4)}
            for at, one, two in eps
        ],
        "steps": [
            {"value": at, "average": 0.5, "worst": 0.25, "n": 6, "settings": {
                "eps": 8 / 255, "step": 2 / 255, "steps": at, "start": "uniform",
            }}
            for at in steps
        ],
    }  # fmt: skip
    run.evaluation["attacks"]["pgd"]["settings"] = {"steps": 20, "step": 2 / 255, "start": "uniform"}
    return run


def test_curves_are_averaged_over_the_seeds_point_by_point() -> None:
    runs = [
        with_curves(run_of("absld", 0, [9, 5]), [(0, 0.9, 0.8), (8 / 255, 0.5, 0.2)], [1, 50]),
        with_curves(run_of("absld", 1, [9, 5]), [(0, 0.8, 0.6), (8 / 255, 0.3, 0.2)], [1, 50]),
    ]
    summary = summarise(runs, None, teacher(CAT_DOG))
    table = strength_table(summary, "eps")
    assert list(table.columns) == ["eps 0", "eps 8/255"]
    assert lines(table) == {"ABSLD, average": ["85.0", "40.0"], "ABSLD, worst class": ["70.0", "20.0"]}
    assert table.caption.endswith(
        "PGD-20, steps of eps / 4, uniform start; n = 6 test images, fewer than in the tables, mean of 2 seeds."
    )
    average = summary["curves"]["eps"]["methods"]["absld"]["average"][1]
    assert (average["low"], average["high"], average["n"]) == (0.3, 0.5, 2)
    steps = strength_table(summary, "steps")
    assert list(steps.columns) == ["1 step", "50 steps"]
    assert "PGD, L∞ eps 8/255, steps of 2/255, uniform start" in steps.caption


def test_curves_that_were_not_measured_leave_no_figure_and_no_section(tmp_path: Path) -> None:
    files = write_run(tmp_path, RunKey("absld", 0), DIGITS, epochs=2)
    for curves, left in (
        (None, set()),
        (
            {"eps": [], "steps": [{"value": 9, "average": 0.5, "worst": 0, "n": 9, "settings": walk(steps=9)}]},
            {"steps"},
        ),
    ):
        write_json(files.evaluation, {**read_json(files.evaluation), "curves": curves})
        out = tmp_path / "reports"
        where = ReportFiles(out / "summary.json", out / "summary.md", out / "summary.html", out / "figures")
        write_report([read_run(RunKey("absld", 0), files)], None, card(), teacher(), where)
        assert {path.stem for path in (out / "figures").glob("accuracy_by_*")} == {
            f"accuracy_by_{kind}" for kind in left
        }
        assert set(read_json(out / "summary.json")["curves"]) == left
        assert ("As the attack grows" in (out / "summary.html").read_text(encoding="utf-8")) == bool(left)
        assert ("## As the attack grows" in (out / "summary.md").read_text(encoding="utf-8")) == bool(left)


def test_curves_at_other_points_stand_in_no_figure() -> None:
    runs = [
        with_curves(run_of("rslad", 0, [9, 5]), steps=[1, 2]),
        with_curves(run_of("absld", 0, [8, 6]), steps=[1, 2]),
    ]
    check_agreement(runs)
    runs[1].evaluation["curves"]["steps"][0]["settings"]["step"] = 1 / 255
    with pytest.raises(InputError, match="curves"):
        check_agreement(runs)
    with_curves(runs[1], steps=[1, 3])
    with pytest.raises(InputError, match="curves"):
        check_agreement(runs)


def test_the_marks_are_what_was_evaluated_and_trained_with() -> None:
    runs = {name: [with_curves(run_of(name, 0, [9, 5]), steps=[1, 20])] for name in ("natural", "rslad", "absld")}
    for name, eps in (("rslad", 8 / 255), ("absld", 4 / 255)):
        runs[name][0].state["settings"] = {"attack": {"eps": eps, "steps": 10}}
    summary = summarise([run for of in runs.values() for run in of], None, teacher(CAT_DOG))
    assert strengths_of(summary, "eps", runs) == (8 / 255, {"rslad": 8 / 255, "absld": 4 / 255})
    steps = strengths_of(summary, "steps", runs)
    assert steps == (20, {"rslad": 10, "absld": 10}) and not steps.alike


def points_of(path: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.attrib["d"])]


def test_the_lines_go_through_the_measured_points(two: Path) -> None:
    """Both lines of both methods, solid and dashed, scaled by the ticks of the axes."""
    evaluations = {
        method: [
            read_json(two.parent / "runs" / f"{method}-s{seed}" / "evaluation" / "evaluation.json") for seed in (0, 1)
        ]
        for method in ("rslad", "absld")
    }
    root = ElementTree.parse(two / "figures" / "accuracy_by_eps.svg").getroot()
    ticks = {of.text: float(of.attrib["y"]) for of in root.iter(f"{SVG}text") if "end" in of.attrib["style"]}
    long = [
        path
        for path in root.iter(f"{SVG}path")
        if len(points_of(path)) == len(EPS) and "fill: none" in path.attrib["style"]
    ]
    heights = {
        (INKS[name].light in path.attrib["style"], "dasharray" in path.attrib["style"], name): [
            y for _, y in points_of(path)
        ]
        for path in long
        for name in ("vermillion", "blue")
    }
    for method, hue in (("rslad", "vermillion"), ("absld", "blue")):
        for measure, dashed in (("average", False), ("worst", True)):
            values = [np.mean([of["curves"]["eps"][i][measure] for of in evaluations[method]]) for i in range(len(EPS))]
            wanted = [(ticks["100"] - ticks["0"]) * (value - values[0]) for value in values]
            found = heights[True, dashed, hue]
            assert [y - found[0] for y in found] == pytest.approx(wanted, abs=0.1), (method, measure)


def test_the_figure_says_unit_attack_and_n(two: Path) -> None:
    by_eps, by_steps = (" ".join(drawn(two / "figures" / f"accuracy_by_{kind}.svg")) for kind in ("eps", "steps"))
    assert "Accuracy under PGD, %" in by_eps and "L∞ eps, pixel range [0, 1]" in by_eps
    assert "trained and evaluated with eps 0.1" in by_eps
    assert "evaluated with 20 steps" in by_steps and "trained with 10 steps" in by_steps
    assert "PGD, L∞ eps 0.1, steps of 0.025, uniform start; n = 50 test images, fewer than in the tables" in by_steps
    assert [text for text in drawn(two / "figures" / "accuracy_by_steps.svg") if text.isdigit()][: len(STEPS)] == [
        str(value) for value in STEPS
    ]


def note_of(path: Path) -> str:
    """What stands below a figure, on the figure itself."""
    notes = [of for of in ElementTree.parse(path).getroot().iter(f"{SVG}g") if of.get("class") == "footnote"]
    return " ".join(str(text.text) for note in notes for text in note.iter(f"{SVG}text"))


def test_every_figure_says_how_it_was_measured(two: Path) -> None:
    """On the figure itself: MLflow and a slide show it without its caption. The page, which has one, hides it."""
    figures = {path.stem: note_of(path) for path in sorted((two / "figures").glob("*.svg"))}
    assert {"validation", "risk_spread", "state_absld", "classes_aa", "accuracy_by_eps"} <= set(figures)
    for name, words in figures.items():
        assert re.search(r"n = \d", words), name
        assert "eps" in words or name == "mistakes_clean", name
    against = "RSLAD and ABSLD trained against 10 steps of 0.025, gaussian start, L∞ eps 0.1."
    assert figures["risk_spread"].startswith(f"n = 1,080 training images. {against} Lines: mean of 2 seeds")
    assert figures["state_absld"].startswith("n = 1,080 training images. ABSLD trained against 10 steps")
    assert figures["validation"].startswith(
        "PGD: 7 steps of 0.025, uniform start, L∞ eps 0.1. n = 360 validation images."
    )
    assert re.search(r"\.footnote \{ display: none \}", (two / "summary.html").read_text(encoding="utf-8"))
