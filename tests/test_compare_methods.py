"""`absld compare` of two methods over their seeds, and of any number of runs as CSV: by hand, and what is refused."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from kept_runs import CLASSES, PROFILE, counted, write_kept, write_made

from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from pipeline.comparison_csv import HEADER
from pipeline.evaluations import seeds_of

COUNTS = Mapping[int, Sequence[int]]
"""Seed to the right images of each class, under PGD."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "900")
    return tmp_path


@pytest.fixture
def make(project: Path) -> Callable[..., None]:
    """Writes the runs of a method."""

    def write(method: str, by_seed: COUNTS, of: int = 10) -> None:
        for seed, correct in by_seed.items():
            verdicts = {"clean": counted(of, of, of, of, of=of), "pgd": counted(*correct, of=of)}
            write_made(project, RunKey(method, seed), verdicts)

    return write


@pytest.fixture
def told(absld: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `absld compare` says, and to which exit code."""

    def run(*arguments: str, code: int = 0) -> str:
        assert absld("compare", *arguments) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return run


def rows(page: str) -> dict[str, list[str]]:
    """The cells of the tables, by the head of their row, which are set apart by two spaces."""
    lines = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in page.splitlines())
    return {line[0]: line[1:] for line in lines if len(line) > 1}


def test_two_methods_differ_by_seed_on_average_and_with_both_intervals(
    make: Callable[..., None], told: Callable[..., str]
) -> None:
    make("rslad", {0: (2, 5, 5, 8), 1: (3, 5, 5, 8), 7: (9, 9, 9, 9)})
    make("absld", {0: (4, 5, 5, 8), 1: (4, 5, 5, 8), 8: (0, 0, 0, 0)})
    page = told("rslad", "absld", "--attack", "pgd")
    assert page.startswith("ABSLD against RSLAD: digits, PGD-20, L∞ eps 0.1, n = 40, seeds 0, 1")
    found = rows(page)
    assert found["Of"] == ["By seed", "Mean", "95 % over images", "95 % over seeds"]
    # mean ± 12.706 · s / √2, with s = 10 / √2 points of the worst class and a quarter of that of the average
    assert found["Worst class"][:2] == ["+20.00, +10.00", "+15.00"]
    assert found["Worst class"][3] == "−48.53 to +78.53"
    assert found["Average"][:2] == ["+5.00, +2.50", "+3.75"]
    assert found["Average"][3] == "−12.13 to +19.63"
    assert found["Overall"][:2] == ["+12.50, +6.25", "+9.38"]
    before, after = (np.std(of) / np.mean(of) for of in ((0.2, 0.5, 0.5, 0.8), (0.4, 0.5, 0.5, 0.8)))
    assert found["NSD"][0].startswith(f"−{before - after:.3f}, −")
    assert found["cat"][:3] == ["25.0", "40.0", "+15.00"]
    assert found["ship"] == ["80.0", "80.0", "0.00", "0.00 to 0.00", "0.00 to 0.00"]
    assert "Does ABSLD raise the worst class of RSLAD under PGD-20? Not shown." in page
    assert "`absld` less `rslad`: of 4 classes none has both intervals on one side of 0." in page


def test_the_answer_is_yes_where_both_intervals_leave_out_0(
    make: Callable[..., None], told: Callable[..., str]
) -> None:
    make("rslad", {seed: (worst, 80, 80, 90) for seed, worst in enumerate((40, 42, 38))}, of=100)
    make("absld", {seed: (worst, 80, 80, 90) for seed, worst in enumerate((60, 66, 61))}, of=100)
    page = told("rslad", "absld")
    assert (
        "Does ABSLD raise the worst class of RSLAD under PGD-20? Yes, and the average too. Of the difference: both of its "
        "intervals lie above 0, and so do both of the average."
    ) in page
    assert "by both intervals higher on cat. The intervals are not corrected" in page
    back = told("absld", "rslad")
    assert "Does RSLAD raise the worst class of ABSLD under PGD-20? No, it is lower." in back
    assert "by both intervals lower on cat." in back
    assert "of ABSLD on clean images? Not shown." in told("absld", "rslad", "--attack", "clean")


def test_methods_that_were_kept_are_named_by_their_folder(project: Path, told: Callable[..., str]) -> None:
    for method, worst in (("rslad", 2), ("absld", 4)):
        for seed in (0, 1):
            verdicts = {"clean": counted(9, 9, 9, 9), "pgd": counted(worst, 5, 5, 8)}
            write_kept(project / "kept", RunKey(method, seed), verdicts, PROFILE)
    page = told("kept/rslad", "kept/absld")
    assert page.startswith("ABSLD against RSLAD: ")
    assert rows(page)["Worst class"][:2] == ["+20.00, +20.00", "+20.00"]


def test_runs_of_the_project_are_not_mixed_with_those_that_are_kept_where_one_stands(
    project: Path, make: Callable[..., None], told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (RunKey("rslad", 1), RunKey("absld", 1)):
        write_kept(project / "kept", key, {"pgd": counted(9, 9, 9, 9)}, PROFILE)
    for method in ("rslad", "absld"):
        make(method, {0: (2, 5, 5, 8)})
    monkeypatch.chdir(project / "kept")
    assert rows(told("rslad", "absld"))["class"][:2] == ["rslad-s0", "absld-s0"]


def test_a_method_is_the_projects_and_with_a_folder_that_of_the_folder(
    project: Path, make: Callable[..., None], told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever one stands: no method is looked for in two places."""
    for method, worst in (("rslad", 2), ("absld", 4)):
        write_kept(project / "kept", RunKey(method, 1), {"pgd": counted(worst, 5, 5, 8)}, PROFILE)
    make("absld", {0: (1, 5, 5, 8)})
    monkeypatch.chdir(project / "kept")
    assert seeds_of(project, "rslad") == {}
    assert seeds_of(project, "absld") == {0: "absld-s0"}
    page = told("./rslad", "./absld", "--attack", "pgd")
    assert rows(page)["class"][:2] == ["rslad-s1", "absld-s1"]


def test_the_same_method_from_two_places_is_named_as_it_was_typed(
    project: Path, make: Callable[..., None], told: Callable[..., str]
) -> None:
    for seed in (0, 1):
        verdicts = {"clean": counted(9, 9, 9, 9), "pgd": counted(4, 5, 5, 8)}
        write_kept(project / "kept", RunKey("absld", seed), verdicts, PROFILE)
    make("absld", dict.fromkeys((0, 1), (2, 5, 5, 8)))
    page = told("absld", "kept/absld", "--attack", "pgd")
    assert page.startswith("kept/absld against ABSLD: ")
    assert "Does kept/absld raise the worst class of ABSLD" in page
    assert "`kept/absld` less `absld`" in page


def test_with_one_seed_in_common_the_two_students_are_compared(
    make: Callable[..., None], told: Callable[..., str]
) -> None:
    make("rslad", {0: (2, 5, 5, 8), 1: (3, 5, 5, 8)})
    make("absld", {1: (9, 5, 5, 8), 2: (0, 5, 5, 8)})
    found = rows(told("rslad", "absld"))
    assert found["class"][:2] == ["rslad-s1", "absld-s1"]
    assert found["cat"][:3] == ["30.0", "90.0", "+60.0"]


def test_seeds_that_were_measured_otherwise_are_refused(
    project: Path, make: Callable[..., None], told: Callable[..., str]
) -> None:
    for method in ("rslad", "absld"):
        make(method, {0: (2, 5, 5, 8), 1: (3, 5, 5, 8)})
    for method in ("rslad", "absld"):  # as a pair they are alike
        path = project / f"runs/{method}-s1/evaluation/evaluation.json"
        evaluation = read_json(path)
        evaluation["attacks"]["pgd"]["settings"]["steps"] = 10
        write_json(path, evaluation)
    assert "rslad-s0 met PGD-20 with steps 20, rslad-s1 with steps 10" in told("rslad", "absld", code=2)


def test_methods_that_share_no_seed_and_more_than_two_are_refused(
    make: Callable[..., None], told: Callable[..., str]
) -> None:
    for method, seeds in (("rslad", (0, 1)), ("absld", (2, 3)), ("trades", (0, 1))):
        make(method, dict.fromkeys(seeds, (2, 5, 5, 8)))
    assert "no seed in common (rslad has 0, 1 and absld has 2, 3)" in told("rslad", "absld", code=2)
    assert "two can be compared over their seeds" in told("rslad", "absld", "trades", code=2)


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_csv_has_a_line_for_each_number_of_each_run(
    project: Path, make: Callable[..., None], told: Callable[..., str]
) -> None:
    make("rslad", {0: (2, 5, 5, 8), 1: (3, 5, 5, 8)})
    make("absld", {0: (4, 5, 5, 0)})
    assert told("rslad", "absld-s0", "--csv", "all.csv") == "csv       all.csv\n"
    with (project / "all.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 2 * (len(CLASSES) + 6), "runs, attacks, classes and measures"
    assert tuple(lines[0]) == HEADER
    found = {(line["run"], line["attack"], line["name"]): line for line in lines}
    cat = found["rslad-s1", "pgd", "cat"]
    assert (cat["method"], cat["seed"], cat["n"], float(cat["value"])) == ("rslad", "1", "40", 0.3)
    assert (float(cat["lower"]), float(cat["upper"])) == pytest.approx((0.1078, 0.6032), abs=5e-5), (
        "Wilson's, of 3 / 10"
    )
    nsd = found["absld-s0", "pgd", "nsd"]
    of = (0.4, 0.5, 0.5, 0)
    assert float(nsd["value"]) == pytest.approx(np.std(of) / np.mean(of))
    assert nsd["lower"] == nsd["upper"] == ""
    assert float(found["rslad-s1", "pgd", "micro"]["value"]) == 21 / 40
    told("rslad-s0", "--csv", "all.csv", "--attack", "pgd")
    assert len((project / "all.csv").read_text().splitlines()) == 1 + len(CLASSES) + 6, "an older table is replaced"


def test_csv_tells_a_class_from_a_measure_of_the_same_name(project: Path, told: Callable[..., str]) -> None:
    write_made(project, RunKey("absld", 0), {"pgd": counted(4, 5, 5, 8)}, ["average", "worst", "dog", "ship"])
    told("absld-s0", "--csv", "all.csv")
    with (project / "all.csv").open(newline="", encoding="utf-8") as file:
        value = {(line["kind"], line["name"]): float(line["value"]) for line in csv.DictReader(file)}
    assert (value["class", "average"], value["class", "worst"]) == (0.4, 0.5)
    assert (value["measure", "average"], value["measure", "worst"]) == (0.55, 0.4)


def test_csv_takes_no_other_file_s_place_and_no_runs_that_are_unlike(
    project: Path, make: Callable[..., None], told: Callable[..., str]
) -> None:
    make("rslad", {0: (2, 5, 5, 8)})
    make("absld", {0: (2, 5, 5, 8)})
    (project / "mine.csv").write_text("run,time\n")
    assert "mine.csv: it is there already and no such table" in told("rslad", "absld", "--csv", "mine.csv", code=2)
    assert (project / "mine.csv").read_text() == "run,time\n"
    assert "leave out --to" in told("--to", "paper", "--csv", "new.csv", code=2)
    path = project / "runs/absld-s0/evaluation/evaluation.json"
    write_json(path, read_json(path) | {"provenance": {"data_sha256": "00"}})
    assert "other test images" in told("rslad", "absld", "--csv", "new.csv", code=2)
    assert not (project / "new.csv").exists()
    assert "params.yaml/new.csv cannot be written" in told("rslad", "--csv", "params.yaml/new.csv", code=2)
