"""The paper's tables: what is printed, and what is wrong in it."""

from collections import Counter
from collections.abc import Iterator

import pytest

from absld.params.load import load
from absld.params.teacher import TeacherRobustBench
from pipeline.paper.tables import Place, Table, read_paper
from pipeline.profiles import FOLDER

PAPER = read_paper()
ATTACKS = ("clean", "fgsm", "pgd", "cw", "aa")
ROUNDED = 0.0051
"""Overall has two decimals: half a unit of the last, and a little for binary fractions."""

Triple = tuple[float, float, float]


def triples() -> Iterator[tuple[int, str, str, Triple]]:
    for table in PAPER.tables:
        for method, row in table.rows.items():
            for attack, of in row.items():
                yield table.number, method, attack, (of["average"], of["worst"], of["overall"])


def marked(kind: str) -> set[tuple[int, str, str]]:
    return {place[:3] for finding in PAPER.findings if finding.kind == kind for place in finding.places}


# --- the tables as printed -----------------------------------------------------------------------------------------


def test_there_are_four_tables_of_ten_rows_and_five_attacks() -> None:
    assert len(list(triples())) == 200
    assert [table.number for table in PAPER.tables] == [1, 2, 3, 4]
    for table in PAPER.tables:
        assert all(tuple(row) == ATTACKS for row in table.rows.values())
        best_of_yue = "fair_ard" if table.dataset == "cifar10" else "fair_rslad"
        first = ["natural", "sat", "trades", "rslad", "adaad", "frl", "bat", "cfa"]
        assert list(table.rows) == [*first, best_of_yue, "absld"]


@pytest.mark.parametrize(
    ("number", "method", "attack", "printed"),
    [
        (1, "natural", "pgd", (0, 0, 0)),
        (1, "trades", "cw", (49.15, 27.10, 38.12)),
        (1, "absld", "aa", (50.25, 31.00, 40.63)),
        (2, "natural", "fgsm", (12.21, 0.90, 6.55)),
        (2, "fair_ard", "cw", (48.18, 30.80, 39.49)),
        (2, "frl", "aa", (43.53, 28.40, 35.96)),
        (3, "cfa", "fgsm", (33.88, 10.30, 22.09)),
        (3, "absld", "clean", (56.76, 31.90, 44.33)),
        (4, "fair_rslad", "aa", (25.79, 4.00, 14.90)),
        (4, "bat", "clean", (65.39, 38.70, 52.04)),
        (4, "sat", "pgd", (28.61, 5.30, 16.95)),
    ],
)
def test_numbers_are_those_of_the_paper(number: int, method: str, attack: str, printed: Triple) -> None:
    assert tuple(PAPER.table(number).rows[method][attack].values()) == printed


def test_no_worst_class_is_above_the_average_and_each_is_a_whole_number_of_images() -> None:
    for *_, (average, worst, _) in triples():
        assert worst <= average
        assert round(10 * worst, 6).is_integer()  # 1,000 images of a class; 10 classes of 100


# --- what is wrong in them -----------------------------------------------------------------------------------------


def test_overall_is_half_of_average_and_worst_but_where_it_is_marked() -> None:
    wrong = {(n, method, attack) for n, method, attack, (a, w, o) in triples() if abs(o - (a + w) / 2) > ROUNDED}
    assert wrong == marked("sum") == {(1, "fair_ard", "clean"), (3, "absld", "pgd"), (3, "absld", "cw")}


def test_three_equal_numbers_are_marked_as_a_copy() -> None:
    times = Counter(triple for *_, triple in triples() if any(triple))
    assert {(n, method, attack) for n, method, attack, of in triples() if times[of] > 1} == marked("copy")
    assert marked("copy") == {(1, "fair_ard", "pgd"), (2, "fair_ard", "pgd")}


def test_autoattack_above_cw_is_marked() -> None:
    found = {
        (table.number, method, "aa")
        for table in PAPER.tables
        for method, row in table.rows.items()
        if any(row["aa"][measure] > row["cw"][measure] for measure in ("average", "worst"))
    }
    assert found == marked("order") == {(1, "bat", "aa"), (2, "bat", "aa"), (2, "cfa", "aa")}


def test_a_finding_is_about_numbers_that_are_there_and_quotes_them() -> None:
    for finding in PAPER.findings:
        for number, method, attack, measure in finding.places:
            if finding.kind != "order" or measure != "overall":
                assert f"{PAPER.table(number).rows[method][attack][measure]:.2f}" in finding.says
    right = PAPER.finding_at(Place(3, "absld", "cw", "overall"))
    assert right is not None
    assert "16.70" in right.says  # (26.99 + 6.40) / 2 = 16.695
    assert PAPER.finding_at(Place(3, "absld", "cw", "average")) is None


# --- the profiles that have the paper's settings -------------------------------------------------------------------


@pytest.mark.parametrize("table", PAPER.tables, ids=lambda table: table.profile)
def test_every_table_has_a_profile_of_its_settings(table: Table) -> None:
    profile = load(FOLDER / f"{table.profile}.yaml")
    assert (profile.data.source, profile.student.architecture) == (table.dataset, table.architecture)
    assert isinstance(profile.teacher, TeacherRobustBench)
    assert all(getattr(profile.methods, method) is not None for method in table.rows)
