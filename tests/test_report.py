"""The report's numbers, tables and sentences, against numbers computed by hand."""

import json
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import CAT_DOG, DIGITS, TWELVE, run_of, teacher, wilson
from rich.console import Console

from absld.records.attacks import attack_label
from absld.report.headline import headline
from absld.report.over_seeds import over_seeds
from absld.report.summary import Summary, summarise
from absld.report.tables import Line, class_table, results_table
from absld.report.terminal import Results
from absld.report.terminal import class_table as terminal_table
from absld.report.wording import attack_settings, points
from pipeline.evaluate import table

BY_HAND = {"rslad": ([9, 5], [8, 6], [7, 4]), "absld": ([8, 7], [9, 6], [7, 6])}
"""Correct images of 10 a class and seed. Averages: rslad .7 .7 .55, absld .75 .75 .65; worst: .5 .6 .4 and .7 .6 .6."""


def by_hand(methods: Sequence[str] = ("rslad", "absld"), seeds: int = 3, baseline: str | None = "rslad") -> Summary:
    runs = [run_of(method, seed, BY_HAND[method][seed]) for method in methods for seed in range(seeds)]
    return summarise(runs, baseline, teacher(CAT_DOG))


def texts(line: Line) -> list[str]:
    return [f"{cell.text} {cell.note}".strip() for cell in line.cells]


def test_mean_and_spread_over_seeds_are_those_computed_by_hand() -> None:
    pgd = by_hand()["methods"]["rslad"]["pgd"]
    assert pgd["average"]["mean"] == pytest.approx(0.65)
    assert pgd["average"]["std"] == pytest.approx(math.sqrt((0.05**2 + 0.05**2 + 0.1**2) / 2))
    assert pgd["worst"]["values"] == [0.5, 0.6, 0.4]
    assert (pgd["worst"]["low"], pgd["worst"]["high"], pgd["worst"]["n"]) == (0.4, 0.6, 3)
    assert pgd["per_class"]["cat"]["mean"] == pytest.approx(0.8)
    assert pgd["nsd"]["values"][0] == pytest.approx(0.2 / 0.7)
    assert pgd["lowest_class"] == "dog"


def test_differences_are_taken_seed_by_seed() -> None:
    worst = by_hand()["differences"]["absld"]["aa"]["worst"]
    assert worst["values"] == pytest.approx([0.2, 0.0, 0.2])
    assert worst["mean"] == pytest.approx(0.4 / 3)
    assert worst["std"] == pytest.approx(math.sqrt((2 * (0.2 / 3) ** 2 + (0.4 / 3) ** 2) / 2))


def test_the_tables_print_those_numbers() -> None:
    aa = results_table(by_hand()).groups[-1]
    assert aa.title == "AutoAttack, n = 20"
    assert texts(aa.lines[0])[:3] == ["65.0 ± 8.7", "50.0 ± 10.0", "57.5 ± 9.0"]
    assert texts(aa.lines[1])[1] == "63.3 ± 5.8"
    assert texts(aa.lines[1])[-1] == "+13.3 ± 11.5"
    assert [cell.best for cell in aa.lines[1].cells] == [True, True, True, True, False]
    by_class = class_table(by_hand(), "aa")
    assert [texts(line) for line in by_class.groups[0].lines] == [["80.0", "80.0 0.0"], ["50.0", "63.3 +13.3"]]
    assert [line.head for line in by_class.groups[1].lines] == ["Average", "Worst class", "Overall"]
    assert all(cell.best for cell in by_class.groups[0].lines[0].cells), "what looks the same is equally bold"


def test_one_seed_has_the_interval_over_its_images() -> None:
    dog = by_hand(seeds=1)["methods"]["rslad"]["pgd"]["per_class"]["dog"]
    assert (dog["mean"], dog["std"], dog["n"]) == (0.5, None, 1)
    assert [dog["low"], dog["high"]] == wilson(0.5, 10)
    line = results_table(by_hand(seeds=1)).groups[-1].lines[0]
    assert texts(line)[1] == "50.0 23.7–76.3", "Wilson's interval of 5 in 10, as textbooks print it"


def test_many_classes_are_judged_by_their_lowest_tenth() -> None:
    classes = [f"c{number}" for number in range(100)]
    correct = [0] * 5 + [4] * 5 + [10] * 90
    summary = summarise([run_of("absld", 0, correct, classes)], None, teacher(classes))
    assert summary["tail"] == "worst10"
    assert texts(results_table(summary).groups[0].lines[0])[1].startswith("20.0 ")
    table = class_table(summary, "aa")
    assert [line.head for line in table.groups[0].lines] == ["Average", "Worst tenth", "Overall"]
    assert [line.head for line in table.groups[1].lines[:6]] == ["c0", "c1", "c2", "c3", "c4", "c5"]


def test_a_model_that_is_always_wrong_has_no_nsd_and_no_nan() -> None:
    wrong = run_of("absld", 0, [0, 0])
    wrong.evaluation["attacks"]["clean"]["accuracy"]["nsd"] = math.nan
    summary = summarise([wrong, run_of("absld", 1, [0, 0])], None, teacher(CAT_DOG))
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text)["methods"]["absld"]["aa"]["nsd"]["mean"] is None
    assert texts(results_table(summary).groups[0].lines[0])[-1] == "–"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_mean_lies_between_the_seeds(values: list[float]) -> None:
    of = over_seeds(values, None)
    assert of["mean"] is not None
    assert min(values) - 1e-12 <= of["mean"] <= max(values) + 1e-12
    assert (of["low"], of["high"]) == (min(values), max(values))


def test_the_headline_says_how_sure_it_is() -> None:
    three = headline(by_hand())
    assert (
        three.sentence
        == "ABSLD leads on the worst class: 63.3 % withstand AutoAttack, 13.3 points more than with RSLAD."
    )
    assert three.details[0] == "It is ahead of RSLAD with 2 of 3 seeds; their ranges overlap."
    assert "At the last epoch the worst class under PGD is 63.3 %, with RSLAD 50.0 %." in three.details
    assert "overlap" in headline(by_hand(seeds=1)).details[0]
    apart = [run_of("rslad", 0, [90, 50], total=100), run_of("absld", 0, [90, 80], total=100)]
    assert headline(summarise(apart, "rslad", teacher(CAT_DOG))).sentence.startswith("ABSLD is best on the worst class")
    equal = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 5])]
    assert "equally good" in headline(summarise(equal, None, teacher(CAT_DOG))).sentence
    assert headline(by_hand(("absld",), 1, None)).sentence == "70.0 % of ABSLD’s worst class withstand AutoAttack."


@pytest.mark.parametrize(
    ("settings", "label", "phrase"),
    [
        ({"steps": 20, "step": 2 / 255, "start": "uniform"}, "PGD-20", "20 steps of 2/255, uniform start"),
        ({"steps": 1, "step": 0.1, "start": "none"}, "PGD", "1 step of 0.1, starts at the image"),
        ({}, "PGD", "–"),
    ],
)
def test_attacks_are_named_with_their_settings(settings: dict[str, Any], label: str, phrase: str) -> None:
    assert (attack_label("pgd", settings), attack_settings(settings)) == (label, phrase)


def test_differences_carry_their_sign() -> None:
    assert [points(value) for value in (0.042, -0.042, 0.0004, -0.0004, None)] == ["+4.2", "−4.2", "0.0", "0.0", "–"]


def test_the_terminal_shows_every_class_and_the_rows_for_all(tmp_path: Path) -> None:
    summary = by_hand()
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    console.print(terminal_table(json.loads(json.dumps(summary)), "pgd"))
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["dog", "50.0", "63.3", "+13.3"] in rows
    assert ["Worst", "class", "50.0", "63.3", "+13.3"] in rows
    assert ["Class", "RSLAD", "ABSLD"] in rows
    console.file.close()


def test_the_terminal_shows_the_hardest_of_many_classes() -> None:
    classes = [f"c{number}" for number in range(100)]
    run = run_of("absld", 0, [10] * 80 + [1] * 20, classes)
    table = terminal_table(summarise([run], None, teacher(classes)), most=5)
    assert [str(text) for text in table.columns[0].cells][3:] == ["c80", "c81", "c82", "c83", "c84"]


def twelve() -> Summary:
    """Each class of the twelfth method has a correct image more than that of the first."""
    runs = [run_of(method, 0, [place] * 9 + [place // 2], DIGITS, 20) for place, method in enumerate(TWELVE)]
    return summarise(runs, "rslad", teacher(DIGITS))


def test_many_methods_stand_below_each_other() -> None:
    table = class_table(twelve(), "aa")
    assert list(table.columns) == [*DIGITS, "Average", "Worst class", "Overall"]
    (group,) = table.groups
    assert [line.head for line in group.lines][:3] == ["RSLAD", "Natural", "SAT"], "the baseline first"
    last = group.lines[-1]
    assert (last.head, texts(last)) == ("ABSLD, adv only", ["55.0"] * 9 + ["25.0", "52.0", "25.0", "38.5"])
    assert [cell.best for cell in last.cells] == [True] * 13
    assert not any(cell.best for cell in group.lines[1].cells)
    assert "Bold: the best method of each column" in table.caption and "difference" not in table.caption


def shown(summary: Summary, width: int) -> list[list[str]]:
    console = Console(width=width, record=True, file=StringIO())
    console.print(Results(summary))
    return [line.split() for line in console.export_text().splitlines()]


def test_names_in_brackets_are_no_markup_of_the_terminal() -> None:
    names = [f"[c{name}]" for name in DIGITS]  # rich takes what begins with a letter for markup
    runs = [run_of(method, 0, [5] * len(names), names) for method in TWELVE]
    (heads,) = [words for words in shown(summarise(runs, "rslad", teacher(names)), 250) if words[:1] == ["Method"]]
    assert heads[1:11] == names
    accuracy = {"per_class": dict.fromkeys(names, 0.5), "average": 0.5, "worst": 0.5, "overall": 0.5, "nsd": 0.0}
    evaluation = {
        "dataset": "digits",
        "classes": names,
        "threat_model": {"eps_text": "0.1"},
        "attacks": {"clean": {"n": 10, "settings": {}, "accuracy": accuracy}},
    }
    console = Console(width=80, record=True, file=StringIO())
    console.print(table(evaluation))
    assert {f"{name} 50.0" for name in names} <= {" ".join(line.split()) for line in console.export_text().splitlines()}


def test_a_narrow_terminal_leaves_the_classes_out_and_says_so() -> None:
    wide, narrow = shown(twelve(), 140), shown(twelve(), 80)
    assert ["BAT", *["30.0"] * 9, "15.0", "28.5", "15.0", "21.8"] in wide
    assert ["BAT", "28.5", "15.0", "21.8"] in narrow
    assert "wider" in str(narrow) and "wider" not in str(wide)
    assert max(len(" ".join(words)) for words in narrow) <= 80
    assert ["dog", "50.0", "63.3", "+13.3"] in shown(by_hand(), 80), "two methods fit"
