"""What the report shows of mistakes: which class is taken for which, in tables and in the figure."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_reports import drawn, lines, report, rslad_against_absld, texts
from hypothesis import given
from hypothesis import strategies as st
from report_runs import DIGITS, TWELVE, run_of, teacher

from absld.records.files import read_json
from absld.report.confusion import count_mistakes, taken_for
from absld.report.mistakes import hardest, mistakes_table
from absld.report.mistakes_figure import DEEPEST, opacity
from absld.report.palette import INKS
from absld.report.summary import Summary, summarise

HUNDRED = [f"c{number}" for number in range(100)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rslad_against_absld(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("hundred"), ["rslad", "absld"], [0], HUNDRED)


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
