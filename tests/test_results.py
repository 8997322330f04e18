"""What docs/results.md says of kept runs: its numbers by hand, its sentences, what cannot stand in one table."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from kept_runs import PROFILE, Verdicts, counted, new_project, read, write_kept, write_many

from absld.errors import InputError
from absld.paired_seeds import Difference
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from pipeline.results.answers import answers, classes_that_differ, verdict
from pipeline.results.contrasts import compared
from pipeline.results.page import generated
from pipeline.results.reading import read_results
from pipeline.results.tables import classes_table, measures_table, methods_table, paper_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the runs of a data set are kept."""
    return new_project(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with two seeds and AutoAttack, two with one seed and without."""
    folder = tmp_path_factory.mktemp("written") / "clothes"
    write_many(folder)
    return folder


@pytest.fixture
def many(folder: Path, written: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(written, folder))


@pytest.fixture
def keep(folder: Path) -> Callable[[str, int, Verdicts], Path]:
    """Keeps a run with these verdicts."""
    return lambda method, seed, verdicts: write_kept(folder, RunKey(method, seed), verdicts, PROFILE)


def rows(table: object) -> dict[str, list[str]]:
    """A table's cells, by the head of their row."""
    return {
        line.head: [f"{cell.text} {cell.note}".strip() for cell in line.cells]
        for group in table.groups  # type: ignore[attr-defined]
        for line in group.lines
    }


# --- the tables ------------------------------------------------------------------------------------------------------


def test_the_table_has_mean_and_deviation_over_the_seeds_and_dashes(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    keep("rslad", 0, {"clean": counted(10, 10, 10, 10), "pgd": counted(2, 5, 5, 8), "aa": counted(1, 1, 2, 4, of=4)})
    keep("rslad", 1, {"clean": counted(10, 10, 10, 10), "pgd": counted(4, 5, 5, 8)})
    keep("absld", 0, {"clean": counted(10, 10, 10, 0), "pgd": counted(5, 5, 5, 5)})
    table = methods_table(read(folder))
    found = {name: dict(zip(table.columns, cells, strict=True)) for name, cells in rows(table).items()}
    assert list(found) == ["RSLAD", "ABSLD"]
    assert list(table.columns[1:4]) == ["Clean avg.", "Clean worst", "Clean NSD"]
    rslad, absld = found.values()
    assert (rslad["Seeds"], absld["Seeds"]) == ("2", "1")
    # averages 0.5 and 0.55, worst 0.2 and 0.4; the deviation of two numbers is their distance / √2
    assert (rslad["PGD-20 avg."], rslad["PGD-20 worst"]) == ("52.5 ± 3.5", "30.0 ± 14.1")
    # deviations over the classes: √(0.18 / 4) of 0.5, √(0.0875 / 4 ... ) of 0.55
    first, second = np.std([0.2, 0.5, 0.5, 0.8]) / 0.5, np.std([0.4, 0.5, 0.5, 0.8]) / 0.55
    assert rslad["PGD-20 NSD"] == f"{(first + second) / 2:.3f} ± {abs(first - second) / np.sqrt(2):.3f}"
    assert (absld["PGD-20 avg."], absld["PGD-20 NSD"], absld["Clean worst"]) == ("50.0", "0.000", "0.0")
    assert rslad["AutoAttack avg."] == "50.0 1 seed", "one of the two seeds met it"
    assert absld["AutoAttack avg."] == absld["CW avg."] == rslad["CW worst"] == "–"
    for said in (
        "eps 0.1",
        "PGD-20 (20 steps of 0.025, uniform start), n = 40",
        "n = 16",
        "validation images",
        "FGSM, CW: for no",
    ):
        assert said in table.caption, said


def test_what_differs_is_told_by_seed_on_average_and_with_both_intervals(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    for seed, (before, after) in enumerate((((2, 5, 5, 8), (4, 5, 5, 8)), ((3, 5, 5, 8), (4, 5, 5, 8)))):
        keep("rslad", seed, {"clean": counted(9, 9, 9, 9), "pgd": counted(*before)})
        keep("absld", seed, {"clean": counted(9, 9, 9, 9), "pgd": counted(*after)})
    keep("fair_rslad", 7, {"clean": counted(9, 9, 9, 9), "pgd": counted(9, 9, 9, 9)})
    [pair] = compared(read(folder))
    assert (pair.first, pair.second) == ("rslad", "absld"), "no seed is shared with Fair-RSLAD"
    [group] = measures_table(pair).groups
    assert group.title == "PGD-20, n = 40, seeds 0, 1"
    found = rows(measures_table(pair))
    assert found["Worst class"][:2] == ["+20.00, +10.00", "+15.00"]
    assert found["Average"][:2] == ["+5.00, +2.50", "+3.75"]
    assert found["Overall"][1] == "+9.38"
    # mean ± 12.706 · s / √2 with s = 10 / √2 points
    assert found["Worst class"][3] == "−48.53 to +78.53"
    by_class = rows(classes_table(pair))
    assert by_class["cat"][:3] == ["25.0", "40.0", "+15.00"]
    assert by_class["cat"][-2:] == ["1.000", "1.000"], "of two images that differ p is 1/2, times four classes"
    assert by_class["ship"][2:5] == ["0.00", "0.00 to 0.00", "0.00 to 0.00"]


def test_only_the_paper_s_own_data_set_has_its_numbers_beside_it(many: Path) -> None:
    assert paper_table(read(many)) is None
    for path in many.glob("*/evaluation.json"):
        write_json(path, read_json(path) | {"dataset": "cifar10"})
    theirs = paper_table(read(many))
    assert theirs is not None
    assert theirs.number == 1
    found = rows(theirs.table)
    assert list(found) == ["Natural", "RSLAD", "ABSLD"]
    assert found["ABSLD"][:3] == ["83.04", "68.10", "75.57"]
    assert found["RSLAD"][-3:] == ["51.25", "25.50", "38.38"]
    assert "Ours is tiny_resnet16, not resnet18" in theirs.table.caption


# --- the answers -----------------------------------------------------------------------------------------------------

UP, DOWN, OPEN = (0.01, 0.05), (-0.05, -0.01), (-0.02, 0.03)


@pytest.mark.parametrize(
    ("worst", "average", "said"),
    [
        ((UP, UP), (OPEN, OPEN), "Yes; a lower average is not shown"),
        ((UP, UP), (UP, UP), "Yes, and the average is higher too"),
        ((UP, UP), (UP, OPEN), "Yes; a lower average is not shown"),
        ((UP, UP), (DOWN, OPEN), "It is higher, but so far as an interval shows the average is lower"),
        ((UP, OPEN), (UP, UP), "Not shown"),
        ((OPEN, UP), (UP, UP), "Not shown"),
        ((DOWN, UP), (UP, UP), "Not shown"),
        ((DOWN, DOWN), (UP, UP), "No: it is lower"),
        ((UP, None), (UP, None), "Not shown: one seed says nothing of others"),
    ],
)
def test_yes_is_said_only_where_both_intervals_leave_out_0(
    worst: tuple[tuple[float, float], ...], average: tuple[tuple[float, float], ...], said: str
) -> None:
    assert verdict(Difference((0.02,), *worst), Difference((0.01,), *average)) == said


def test_every_question_is_answered_with_its_numbers(folder: Path, keep: Callable[[str, int, Verdicts], Path]) -> None:
    for seed, (before, after) in enumerate(((40, 60), (42, 66), (38, 61))):
        keep("rslad", seed, {"clean": counted(95, 95, 95, 95, of=100), "pgd": counted(before, 80, 80, 90, of=100)})
        keep("absld", seed, {"clean": counted(95, 95, 95, 95, of=100), "pgd": counted(after, 80, 80, 90, of=100)})
    [pair] = compared(read(folder))
    told = answers([pair])
    half = 4.302653 * np.std([20, 24, 23], ddof=1) / np.sqrt(3)
    mean = (20 + 24 + 23) / 3
    assert told[0].startswith("Does `absld` raise the worst class of `rslad` under PGD-20 at equal average? **Yes")
    assert f"Worst class: +{mean:.2f} points, 95 % interval over images +" in told[0]
    assert f"over seeds +{mean - half:.2f} to +{mean + half:.2f}. Average: +{mean / 4:.2f} points" in told[0]
    assert "(holds 0)" not in told[0]
    assert told[0].endswith("(n = 400, mean of 3 seeds)")
    assert len(told) == 1, "without AutoAttack nothing is said of it"
    assert (
        classes_that_differ(pair)
        == "Class by class under PGD-20, `absld` less `rslad`: by both intervals higher on cat."
    )


def test_product_is_held_against_separate_directly(many: Path) -> None:
    pairs = [(of.first, of.second) for of in compared(read(many))]
    assert pairs == [("rslad", "absld"), ("absld", "absld_product"), ("rslad", "absld_product"), ("rslad", "absld_adv")]
    told = answers(compared(read(many)))
    assert sum("`absld_product` raise the worst class of `absld` under" in each for each in told) == 2
    assert any("of `rslad` under PGD-20 at equal average? **Not shown: one seed" in each for each in told)


# --- what cannot stand in one table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "keys", "value", "complaint"),
    [
        ("evaluation.json", ["attacks", "pgd", "settings", "steps"], 10, "attack pgd"),
        ("evaluation.json", ["attacks", "aa", "n"], 40, "attack aa"),
        ("evaluation.json", ["threat_model", "eps"], 0.2, "threat_model"),
        ("evaluation.json", ["provenance", "data_sha256"], "00", "test images"),
        ("card.json", ["teacher", "source"], "another", "teacher"),
        ("card.json", ["student", "architecture"], "resnet18", "student"),
    ],
)
def test_runs_that_were_made_otherwise_are_refused(
    many: Path, file: str, keys: Sequence[str], value: object, complaint: str
) -> None:
    path = many / "absld-s1" / file
    content = read_json(path)
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    write_json(path, content)
    with pytest.raises(InputError, match=rf"absld-s1 was made with {complaint} .*cannot stand in one table"):
        generated(many.parents[2])


def test_another_seed_or_chunk_of_the_evaluation_is_no_other_attack(many: Path) -> None:
    path = many / "absld-s1" / "evaluation.json"
    evaluation = read_json(path)
    evaluation["attacks"]["pgd"]["settings"] |= {"seed": 5, "chunk": 7}
    write_json(path, evaluation)
    assert len(read(many).kept) == 8


def test_verdicts_of_another_evaluation_are_refused(many: Path) -> None:
    (many / "absld-s1/verdicts.npz").write_bytes((many / "rslad-s0/verdicts.npz").read_bytes())
    with pytest.raises(InputError, match="are of two evaluations"):
        generated(many.parents[2])


def test_a_run_in_the_wrong_folder_is_refused(many: Path) -> None:
    (many / "absld-s0").rename(many / "absld-s5")
    with pytest.raises(InputError, match="holds the evaluation of absld-s0"):
        read_results(many)
