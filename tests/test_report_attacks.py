"""What the report shows of the evaluation beside the accuracies: its checks, its mistakes, its curves."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import CAT_DOG, CHECKS, DIGITS, EPS, STEPS, TWELVE, card, run_of, teacher, walk, write_run
from rich.console import Console

from absld.errors import InputError
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.report.checks import checks_table, warning
from absld.report.confusion import count_mistakes, taken_for
from absld.report.inputs import Run, check_agreement, read_run
from absld.report.mistakes import hardest, mistakes_table
from absld.report.mistakes_figure import DEEPEST, opacity
from absld.report.palette import INKS
from absld.report.strength import strengths_of
from absld.report.strength_table import strength_table
from absld.report.summary import Summary, summarise
from absld.report.tables import Line, Table
from absld.report.terminal import Results
from absld.report.writing import ReportFiles, write_report

SVG = "{http://www.w3.org/2000/svg}"
RED = "the teacher's examples fool more than the student's own"
HUNDRED = [f"c{number}" for number in range(100)]


def report(root: Path, methods: Sequence[str], seeds: Sequence[int], classes: Sequence[str], failed: str = "") -> Path:
    """A report; `failed` is a check that absld does not pass with seed 0."""
    runs = []
    for key in (RunKey(method, seed) for method in methods for seed in seeds):
        files = write_run(root, key, classes, epochs=3)
        if failed and key == RunKey("absld", 0):
            evaluation = read_json(files.evaluation)
            evaluation["checks"][failed] = {"passed": False, "detail": RED}
            write_json(files.evaluation, evaluation)
        runs.append(read_run(key, files))
    out = root / "reports"
    files_out = ReportFiles(out / "summary.json", out / "summary.md", out / "summary.html", out / "figures")
    write_report(runs, "rslad" if "rslad" in methods else None, card(classes), teacher(classes), files_out)
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RSLAD against ABSLD, two seeds; one check red."""
    return report(tmp_path_factory.mktemp("red"), ["rslad", "absld"], [0, 1], DIGITS, failed="transfer")


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("hundred"), ["rslad", "absld"], [0], HUNDRED)


def texts(line: Line) -> list[str]:
    return [f"{cell.text} {cell.note}".strip() for cell in line.cells]


def lines(table: Table) -> dict[str, list[str]]:
    return {line.head: texts(line) for group in table.groups for line in group.lines}


def drawn(path: Path, tag: str = "text") -> list[str]:
    return [str(element.text) for element in ElementTree.parse(path).getroot().iter(f"{SVG}{tag}")]


# --- checks ----------------------------------------------------------------------------------------------------------


def checked(**failed: Sequence[str]) -> Summary:
    """RSLAD and ABSLD, a seed each, with all checks; those that are named for a method failed."""
    runs = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 7])]
    for run in runs:
        for name, detail in CHECKS.items():
            bad = name in failed.get(run.key.method, ())
            run.evaluation["checks"][name] = {"passed": not bad, "detail": RED if bad else detail}
    return summarise(runs, "rslad", teacher(CAT_DOG))


def test_every_run_has_every_check_and_what_failed_comes_first() -> None:
    table = checks_table(checked(absld=["transfer", "huge_eps"], rslad=["transfer"]))
    assert list(table.columns)[:3] == ["transfer", "huge eps", "deterministic"]
    assert len(table.columns) == 7
    (group,) = table.groups
    assert [line.head for line in group.lines] == ["absld-s0", "rslad-s0"]
    assert [cell.failed for cell in group.lines[0].cells] == [True, True] + 5 * [False]
    assert [cell.failed for cell in group.lines[1].cells] == [True] + 6 * [False]
    assert group.lines[0].cells[0].detail == RED
    assert group.lines[0].cells[2].text == "passed"
    assert "11 of 14 checks passed" in table.caption


def test_a_red_check_is_said_in_one_sentence_and_a_green_report_says_nothing() -> None:
    assert warning(checked()) == ""
    assert warning(checked(absld=["transfer", "huge_eps"], rslad=["transfer"])) == (
        "3 of 14 checks did not pass, so these numbers may flatter: rslad-s0 (transfer); absld-s0 (huge eps, transfer)."
    )
    assert "come first" not in checks_table(checked()).caption


def test_a_check_that_only_one_run_has_leaves_a_gap_with_the_other() -> None:
    runs = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 7])]
    runs[1].evaluation["checks"]["transfer"] = {"passed": True, "detail": ""}
    table = checks_table(summarise(runs, "rslad", teacher(CAT_DOG)))
    assert lines(table) == {"rslad-s0": ["passed", "–"], "absld-s0": ["passed", "passed"]}


class Details(HTMLParser):
    """Each `<details class="detail ...">` of a page: whether it is open, its class, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[bool, str, str]] = []
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "details" and "detail" in str(names.get("class")):
            self.found.append(("open" in names, str(names["class"]), ""))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "details"

    def handle_data(self, data: str) -> None:
        if self.inside:
            shown, look, text = self.found[-1]
            self.found[-1] = (shown, look, text + data)


def test_the_page_opens_what_a_red_check_found_and_folds_the_others(two: Path) -> None:
    found = Details(two / "summary.html").found
    assert len(found) == 4 * 7
    assert [(shown, look) for shown, look, _ in found] == [(True, "detail failed")] + 27 * [(False, "detail")]
    assert found[0][2].split("\n")[-1].endswith(RED)
    assert all(any(detail in text for _, _, text in found) for detail in CHECKS.values())
    page = (two / "summary.html").read_text(encoding="utf-8")
    assert page.index("1 of 28 checks did not pass") < page.index("<h2>Results")


def test_markdown_and_terminal_name_a_red_check_too(two: Path) -> None:
    text = (two / "summary.md").read_text(encoding="utf-8")
    assert text.index("> **Mind:** 1 of 28 checks did not pass") < text.index("## Results")
    assert "| absld-s0 | **✗ not passed** | passed |" in text
    assert f"* absld-s0: transfer: {RED}" in text
    console = Console(width=100, record=True, file=StringIO())
    console.print(Results(read_json(two / "summary.json")))
    assert "absld-s0 (transfer)" in console.export_text()
    green = Console(width=100, record=True, file=StringIO())
    green.print(Results(checked()))
    assert "did not pass" not in green.export_text()


# --- what classes are taken for --------------------------------------------------------------------------------------

BY_HAND = [
    {"cat": {"cat": 5, "dog": 3, "cow": 2}, "dog": {"dog": 9, "cow": 1}, "cow": {"cow": 10}},
    {"cat": {"cat": 6, "dog": 1, "cow": 3}, "dog": {"dog": 4, "cat": 6}, "cow": {"cow": 10}},
]


def test_mistakes_are_summed_over_the_seeds() -> None:
    found = count_mistakes(BY_HAND, most=20)
    assert found["cat"] == {"n": 20, "wrong": {"cow": 5, "dog": 4}}
    assert found["dog"] == {"n": 20, "wrong": {"cat": 6, "cow": 1}}
    assert found["cow"] == {"n": 20, "wrong": {}}
    assert list(found["cat"]["wrong"]) == ["cow", "dog"], "the most frequent first"
    assert taken_for(found["cat"]) == [("cow", 0.25), ("dog", 0.2)]
    assert count_mistakes(BY_HAND, most=1)["cat"] == {"n": 20, "wrong": {"cow": 5}}
    assert list(count_mistakes(BY_HAND[:1], most=1)["cat"]["wrong"]) == ["dog"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {true: st.dictionaries(st.sampled_from("abc"), st.integers(1, 50), min_size=1) for true in "abc"}
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_image_is_lost_or_counted_twice(seeds: list[dict[str, dict[str, int]]]) -> None:
    for true, of in count_mistakes(seeds, most=20).items():
        right = sum(seed[true].get(true, 0) for seed in seeds)
        assert of["n"] == right + sum(of["wrong"].values()) == sum(sum(seed[true].values()) for seed in seeds)
        counts = list(of["wrong"].values())
        assert counts == sorted(counts, reverse=True)
        assert true not in of["wrong"]


def animals(methods: Sequence[str] = ("rslad", "absld")) -> Summary:
    """Three classes, ten images each, two seeds, with the mistakes computed by hand for the first method."""
    names = ["cat", "dog", "cow"]
    runs = []
    for method in methods:
        for seed, confusion in enumerate(BY_HAND):
            run = run_of(method, seed, [confusion[name][name] for name in names], names)
            for block in run.evaluation["attacks"].values():
                block["confusion"] = confusion if method == methods[0] else {name: {name: 10} for name in names}
            runs.append(run)
    return summarise(runs, methods[0], teacher(names))


def test_the_table_says_what_each_of_the_hardest_classes_becomes() -> None:
    summary = animals()
    assert hardest(summary, "aa") == ["cat", "dog", "cow"]
    table = mistakes_table(summary, "aa")
    assert lines(table) == {"cat": ["cow 25 % dog 20 %", "–"], "dog": ["cat 30 % cow 5 %", "–"], "cow": ["–", "–"]}
    assert list(table.columns) == ["RSLAD", "ABSLD"]
    assert "AutoAttack, L∞ eps 8/255; n = 20 images of each class, summed over 2 seeds." in table.caption
    assert "eps" not in mistakes_table(summary, "clean").caption


def test_many_methods_stand_below_each_other_with_the_hardest_classes_beside() -> None:
    runs = [run_of(method, 0, [9, 8, 7, 6, 5, 4, 3, 8, 9, 9], DIGITS) for method in TWELVE]
    table = mistakes_table(summarise(runs, None, teacher(DIGITS)), "aa")
    assert list(table.columns) == ["6", "5", "4", "3", "2"]
    assert [line.head for line in table.groups[0].lines][:3] == ["Natural", "SAT", "TRADES"]
    assert texts(table.groups[0].lines[0])[0] == "7 40 % 8 30 %"


def test_the_matrix_has_the_shares_of_the_files(two: Path) -> None:
    """A tip for each cell that is not zero, off the diagonal, with counts that are sums over the seeds."""
    runs = [read_json(two.parent / "runs" / f"absld-s{seed}" / "evaluation" / "evaluation.json") for seed in (0, 1)]
    total: dict[tuple[str, str], int] = {}
    for run in runs:
        for true, row in run["attacks"]["aa"]["confusion"].items():
            for name, count in row.items():
                total[true, name] = total.get((true, name), 0) + count
    path = two / "figures" / "mistakes_aa.svg"
    tips = [tip for tip in drawn(path, "title") if tip.startswith("ABSLD: ")]
    shown = {}
    for tip in tips:
        found = re.fullmatch(r"ABSLD: (\d) taken for (\d): ([\d.]+) % \((\d+) of 72\)", tip)
        assert found
        shown[found[1], found[2]] = int(found[4])
        assert found[3] == f"{100 * int(found[4]) / 72:.1f}"
    assert shown == {(true, name): count for (true, name), count in total.items() if true != name}
    footnote = " ".join(drawn(path))
    assert "% of the images of the true class" in footnote
    assert "L∞ eps 0.1; n = 72 images of each class, summed over 2 seeds." in footnote


def test_of_a_hundred_classes_the_ten_hardest_name_their_mistakes(hundred: Path) -> None:
    summary = read_json(hundred / "summary.json")
    rows = hardest(summary, "aa")
    shown = drawn(hundred / "figures" / "mistakes_aa.svg")
    for method in ("rslad", "absld"):
        for true in rows:
            found = summary["mistakes"][method]["aa"][true]
            assert len(found["wrong"]) == 3
            name, count = next(iter(found["wrong"].items()))
            assert f"{name} {100 * count / found['n']:.0f}" in shown
    assert [text for text in shown if text in HUNDRED] == rows
    assert len(shown) < 120
    accuracies = {
        name: sum(of["aa"]["per_class"][name]["mean"] for of in summary["methods"].values()) for name in HUNDRED
    }
    assert max(accuracies[name] for name in rows) <= min(accuracies[name] for name in HUNDRED if name not in rows)


def _linear(colour: str) -> Any:
    values = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("paper", ["light", "dark"])
def test_numbers_can_be_read_on_every_shade(paper: str) -> None:
    """WCAG's contrast of text on the deepest shade, which browsers mix in sRGB, and on the grey of what is right."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    ink, shade, ground, grey = (getattr(INKS[name], paper) for name in ("ink", "vermillion", "paper", "rule"))
    mixed = "#" + "".join(
        f"{round(DEEPEST * int(shade[i : i + 2], 16) + (1 - DEEPEST) * int(ground[i : i + 2], 16)):02x}"
        for i in (1, 3, 5)
    )
    for under in (mixed, grey):
        low, high = sorted(float(weights @ _linear(colour)) for colour in (ink, under))
        assert (high + 0.05) / (low + 0.05) >= 4.5


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_mistakes_are_never_paler(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= opacity(low) <= opacity(high) <= DEEPEST


# --- curves ----------------------------------------------------------------------------------------------------------


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
