"""What docs/results.md says of kept runs: its numbers by hand, its sentences, what cannot stand in one table."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kept_runs import PROFILE, Verdicts, counted, new_project, read, write_kept, write_many

from absld.errors import InputError
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.statistics.paired_seeds import Difference
from pipeline.results.answers import answers_table, classes_that_differ, verdict
from pipeline.results.contrasts import compared
from pipeline.results.page import generated
from pipeline.results.reading import read_results
from pipeline.results.same_images import same_images_table
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
    table = measures_table(pair)
    assert [group.title for group in table.groups] == ["PGD-20, n = 40, seeds 0, 1", AFTER_LAST]
    found = rows(replace(table, groups=table.groups[:1]))
    assert found["Worst class"][:2] == ["+20.00, +10.00", "+15.00"]
    assert found["Average"][:2] == ["+5.00, +2.50", "+3.75"]
    assert found["Overall"][1] == "+9.38"
    # mean ± 12.706 · s / √2 with s = 10 / √2 points
    assert found["Worst class"][3] == "−48.53 to +78.53"
    by_class = rows(classes_table(pair))
    assert by_class["cat"][:3] == ["25.0", "40.0", "+15.00"]
    assert by_class["cat"][-2:] == ["+20.00 1.000", "+10.00 1.000"], "of two images that differ p is 1/2, times four"
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

UP, DOWN, OPEN, NARROW = (0.01, 0.05), (-0.05, -0.01), (-0.02, 0.03), (-0.009, 0.01)


@pytest.mark.parametrize(
    ("worst", "average", "said"),
    [
        ((UP, UP), (OPEN, OPEN), "yes, average open"),
        ((UP, UP), (NARROW, OPEN), "yes, average open"),
        ((UP, UP), (NARROW, NARROW), "yes, average equal"),
        ((UP, UP), (UP, UP), "yes, and the average too"),
        ((UP, UP), (UP, OPEN), "yes, average open"),
        ((UP, UP), (DOWN, OPEN), "yes, but the average is lower"),
        ((UP, OPEN), (UP, UP), "not shown"),
        ((OPEN, UP), (UP, UP), "not shown"),
        ((DOWN, UP), (UP, UP), "not shown"),
        ((DOWN, DOWN), (UP, UP), "no, it is lower"),
        ((UP, None), (UP, None), "not shown: one seed"),
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
    table = answers_table([pair])
    assert table is not None
    half = 4.302653 * np.std([20, 24, 23], ddof=1) / np.sqrt(3)
    mean = (20 + 24 + 23) / 3
    assert [group.title for group in table.groups] == ["PGD-20, n = 400"], "without AutoAttack nothing is said of it"
    answer, seeds, worst, _, over_seeds, average, *_ = rows(table)["ABSLD over RSLAD"]
    assert (answer, seeds) == ("yes, and the average too", "3")
    assert (worst, average) == (f"+{mean:.2f}", f"+{mean / 4:.2f}")
    assert over_seeds == f"+{mean - half:.2f} to +{mean + half:.2f}"
    assert classes_that_differ(pair).startswith(
        "Class by class under PGD-20, `absld` less `rslad`: by both intervals higher on cat."
    )


def test_the_last_epoch_is_told_beside_the_chosen_one(folder: Path, keep: Callable[[str, int, Verdicts], Path]) -> None:
    for seed in (0, 1):
        for method in ("rslad", "absld"):
            keep(method, seed, {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)})
    for method, worst in (("rslad", (0.2, 0.1)), ("absld", (0.3, 0.4))):
        for seed in (0, 1):
            path = folder / f"{method}-s{seed}/evaluation.json"
            evaluation = read_json(path)
            evaluation["last"]["pgd"]["accuracy"]["worst"] = worst[seed]
            write_json(path, evaluation)
    [pair] = compared(read(folder))
    group = measures_table(pair).groups[-1]
    assert group.title == AFTER_LAST
    # (10, 30): mean 20, ± 12.706 · s / √2 with s = 20 / √2
    assert [cell.text for cell in group.lines[1].cells] == ["+10.00, +30.00", "+20.00", "–", "−107.06 to +147.06"]
    chosen = [read_json(folder / f"{method}-s{seed}/state.json")["best_epoch"] for method, seed in RUNS_OF_TWO]
    assert (
        f"Epochs chosen: RSLAD {chosen[0]}, {chosen[1]}; ABSLD {chosen[2]}, {chosen[3]}."
        in measures_table(pair).caption
    )
    for path in folder.glob("*/evaluation.json"):
        write_json(path, read_json(path) | {"last": {}})
    assert compared(read(folder))[0].after_last is None
    for path in folder.glob("*/state.json"):
        state = read_json(path)
        write_json(path, state | {"best_epoch": state["epochs"]})
    after = compared(read(folder))[0].after_last
    assert after is not None, "the last epoch was chosen, so it was measured"
    assert list(after.by_seed["worst"]) == [0, 0]


def test_a_student_that_is_never_right_after_the_last_epoch_has_no_nsd(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    for method in ("rslad", "absld"):
        keep(method, 0, {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)})
    path = folder / "absld-s0/evaluation.json"
    evaluation = read_json(path)
    evaluation["last"]["pgd"]["accuracy"] |= {"average": 0, "worst": 0, "worst10": 0, "overall": 0, "nsd": None}
    write_json(path, evaluation)
    [pair] = compared(read(folder))
    group = measures_table(pair).groups[-1]
    assert group.title == AFTER_LAST
    assert [line.head for line in group.lines] == ["Average", "Worst class", "Overall"]


AFTER_LAST = "PGD-20 after the last epoch, n = 144"
RUNS_OF_TWO = (("rslad", 0), ("rslad", 1), ("absld", 0), ("absld", 1))


def test_the_attacks_are_put_side_by_side_on_the_same_images(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    easy = {"clean": counted(9, 9, 9, 9), "pgd": counted(2, 5, 5, 8)}
    keep("rslad", 0, {**easy, "aa": counted(1, 2, 3, 4, of=4)})
    keep("absld", 0, easy)
    table = same_images_table(read(folder))
    assert table is not None
    assert list(table.columns) == [
        "Seeds",
        *(f"{of} {m}" for of in ("PGD-20", "AutoAttack") for m in ("avg.", "worst")),
    ]
    # of the first four images of each class PGD left 2, 4, 4 and 4
    assert rows(table) == {"RSLAD": ["1", "87.5", "50.0", "62.5", "25.0"]}
    assert "n = 16" in table.caption
    keep("rslad", 0, {**easy, "aa": counted(1, 2, 3, 4)})
    assert same_images_table(read(folder)) is None, "AutoAttack met as many"


def test_product_is_held_against_separate_directly(many: Path) -> None:
    pairs = [(of.first, of.second) for of in compared(read(many))]
    assert pairs == [("rslad", "absld"), ("absld", "absld_product"), ("rslad", "absld_product"), ("rslad", "absld_adv")]
    table = answers_table(compared(read(many)))
    assert table is not None
    assert [line.head for group in table.groups for line in group.lines].count("ABSLD, product over ABSLD") == 2
    assert rows(table)["ABSLD, adv only over RSLAD"][:2] == ["not shown: one seed", "1"]


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
