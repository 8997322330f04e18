"""Our runs beside the paper's tables: cells, differences in the settings, the command."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_runs import block

from absld.errors import InputError
from absld.params.load import load
from absld.params.root import Params
from absld.records.files import write_json
from absld.records.layout import RunKey
from pipeline.paper import comparison
from pipeline.paper.settings import Difference, Run, common, differences
from pipeline.paper.tables import read_paper
from pipeline.profiles import FOLDER

PAPER = read_paper()
ATTACKS = ("clean", "fgsm", "pgd", "cw", "aa")
DIGITS = [str(digit) for digit in range(10)]


# --- our runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile() -> Params:
    return load(FOLDER / "cifar10.yaml")


def evaluation_of(profile: Params, key: RunKey, low: Mapping[str, int], classes: Sequence[str]) -> dict[str, Any]:
    """Nine tenths of the classes have 900 correct images of 1,000, the first tenth as many as `low` says."""
    tenth = len(classes) // 10
    attacks = {}
    for attack, correct in low.items():
        settings = {} if attack == "clean" else getattr(profile.evaluate.attacks, attack).model_dump(exclude={"n"})
        attacks[attack] = block([correct] * tenth + [900] * 9 * tenth, 1000, classes, {**settings, "seed": 0})
    return {
        "method": key.method,
        "seed": key.seed,
        "dataset": "cifar10",
        "n": 1000 * len(classes),
        "classes": list(classes),
        "threat_model": {"norm": "Linf", "eps": 8 / 255, "eps_text": "8/255"},
        "attacks": attacks,
    }


def run_of(
    profile: Params,
    name: str,
    seed: int = 0,
    low: Mapping[str, int] | None = None,
    classes: Sequence[str] = DIGITS,
    **changed: Any,
) -> Run:
    """A run as the paper would have made it, but for what is `changed` in the settings of its method."""
    key = RunKey(name, seed)
    low = dict.fromkeys(ATTACKS, 500) if low is None else low
    method = getattr(profile.methods, name, None) or profile.methods.absld
    assert method is not None
    normalisation = getattr(method, "normalisation", None) or profile.student.normalisation
    settings = method.model_dump(exclude_none=True)
    settings |= changed
    train = profile.train.model_dump()
    state = {"epochs": settings["epochs"], "select_on": "test", "settings": settings, "train": train}
    card = {
        "student": {
            "architecture": "resnet18",
            "normalisation": None if normalisation is None else [normalisation.mean, normalisation.std],
        },
        "teacher": {"source": "RobustBench Zhang2019Theoretically: Zhang et al., ICML 2019"},
    }
    return Run(key, evaluation_of(profile, key, low, classes), state, card)


def write(root: Path, run: Run) -> Path:
    """A run's files, where the stages leave them."""
    folder = root / "runs" / str(run.key)
    write_json(folder / "evaluation" / "evaluation.json", run.evaluation)
    write_json(folder / "train" / "state.json", run.state)
    write_json(folder / "export" / "card.json", run.card)
    return folder


def test_a_cell_is_the_mean_over_the_seeds_beside_the_printed_number(profile: Params) -> None:
    runs = [run_of(profile, "absld", seed, {"pgd": low}) for seed, low in enumerate((300, 400))]
    row = comparison.row(PAPER, PAPER.table(1), "pgd", runs)
    assert (row.method, row.seeds) == ("absld", 2)
    assert {name: cell.ours for name, cell in row.cells.items()} == {
        "average": pytest.approx(0.845),  # 0.81 and a tenth of 0.3; 0.81 and a tenth of 0.4
        "worst": pytest.approx(0.35),
        "overall": pytest.approx(0.5975),
    }
    assert [cell.theirs for cell in row.cells.values()] == [0.545, 0.365, 0.455]
    assert row.cells["worst"].difference == pytest.approx(-0.015)
    assert not any(cell.finding for cell in row.cells.values())


def test_a_seed_without_an_attack_is_not_in_its_mean(profile: Params) -> None:
    runs = [run_of(profile, "absld", 0, {"clean": 500, "aa": 300}), run_of(profile, "absld", 1, {"clean": 500})]
    row = comparison.row(PAPER, PAPER.table(1), "aa", runs)
    assert (row.seeds, row.cells["worst"].ours) == (1, 0.3)
    alone = comparison.row(PAPER, PAPER.table(1), "aa", runs[1:])
    assert (alone.seeds, alone.cells["worst"].ours, alone.cells["worst"].difference) == (0, None, None)


def test_with_a_hundred_classes_worst_is_the_worst_tenth(profile: Params) -> None:
    run = run_of(profile, "absld", low={"pgd": 300}, classes=[f"c{number}" for number in range(100)])
    measured = run.evaluation["attacks"]["pgd"]["accuracy"]
    measured["worst"] = 0.1
    cells = comparison.row(PAPER, PAPER.table(3), "pgd", [run]).cells
    assert cells["worst"].ours == pytest.approx(0.3)
    assert cells["overall"].finding is not None  # 21.47 is printed


# --- what differs in the settings ----------------------------------------------------------------------------------


def told(runs: Sequence[Run], profile: Params) -> list[str] | None:
    found = differences(runs, profile, PAPER.select_on)
    return None if found is None else list(map(str, found))


def test_the_papers_own_settings_do_not_differ(profile: Params) -> None:
    for name in PAPER.table(1).rows:
        assert told([run_of(profile, name)], profile) == []


def test_every_difference_is_told_by_its_key(profile: Params) -> None:
    run = run_of(profile, "rslad", alpha=0.5, milestones=[20])
    run.state["settings"]["attack"] = {**run.state["settings"]["attack"], "eps": 4 / 255, "start": "none"}
    run = replace(run, state={**run.state, "epochs": 30, "select_on": "validation"})
    run.evaluation["threat_model"]["eps"] = 0.1
    run.evaluation["attacks"]["cw"]["settings"]["steps"] = 10
    run.card["student"]["normalisation"] = [[0.5], [0.25]]
    run.card["teacher"]["source"] = "trained here"
    run.state["train"]["augmentation"]["crop_padding"] = 2
    assert sorted(told([run], profile) or []) == [
        "alpha: 0.5, the paper's 0.833333",
        "attack.eps: 4/255, the paper's 8/255",
        "attack.start: none, the paper's gaussian",
        "epochs: 30, the paper's 300",
        "evaluate.attacks.cw.steps: 10, the paper's 30",
        "evaluate.eps: 0.1, the paper's 8/255",
        "milestones: [20], the paper's [215, 260, 285]",
        "student.normalisation.mean: [0.5], the paper's null",
        "student.normalisation.std: [0.25], the paper's null",
        "teacher: trained here, the paper's RobustBench Zhang2019Theoretically",
        "train.augmentation.crop_padding: 2, the paper's 4",
        "train.select_on: validation, the published codes' test",
    ]


def test_only_who_learns_from_the_teacher_differs_by_it(profile: Params) -> None:
    run = run_of(profile, "trades")
    run.card["teacher"]["source"] = "trained here"
    assert told([run], profile) == []


def test_seeds_that_were_set_otherwise_are_told_apart(profile: Params) -> None:
    runs = [run_of(profile, "absld", 0), run_of(profile, "absld", 1, tau_max=3.0)]
    assert told(runs, profile) == ["tau_max: 5 or 3, the paper's 5"]


def test_a_method_that_the_profile_lacks_is_not_compared(profile: Params) -> None:
    run = run_of(profile, "absld")
    methods = profile.methods.model_copy(update={"absld": None})
    assert told([run], profile.model_copy(update={"methods": methods})) is None


def test_what_every_method_has_is_told_once() -> None:
    one, two, three = (Difference(key, "1", "2") for key in "abc")
    assert common({"rslad": [one, two], "absld": [three, one]}) == [one]
    assert common({"rslad": [one, two]}) == []


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_the_page_has_every_cell_its_marks_and_what_differs(
    project: Path, profile: Params, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        write(project, run_of(profile, "fair_ard", seed, epochs=30))
    capped = run_of(profile, "bat", low=dict.fromkeys(ATTACKS, 100))
    capped.evaluation["attacks"]["aa"]["n"] = 1000
    write(project, capped)
    write(project, run_of(profile, "absld_adv"))
    assert absld("compare", "--to", "paper") == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    rows = section(page, "Clean images")
    assert rows["Fair-ARD"] == "2 86.00 83.81 +2.19 50.00 69.40 −19.40 68.00 76.76a −8.76"
    assert rows["ABSLD, adv"] == "1 86.00 – – 50.00 – – 68.00 – –"
    assert list(rows) == ["BAT", "Fair-ARD", "ABSLD, adv"]  # the paper's first, in its order; long names wrap
    rows = section(page, "PGD-20")
    assert rows["Fair-ARD"] == "2 86.00 50.91b +35.09 50.00 29.90b +20.10 68.00 40.41b +27.59"
    rows = section(page, "AutoAttack, n = 1,000 of 10,000 or 10,000 of 10,000 test images")
    assert rows["BAT"] == "1 82.00 48.18c +33.82 10.00 20.70c −10.70 46.00 34.44c +11.56"
    lines = page.splitlines()
    assert "a  76.76 is printed; (83.81 + 69.40) / 2 is 76.61." in lines
    assert [line[:3] for line in lines if re.match("[a-z]  ", line)] == ["a  ", "b  ", "c  "]
    assert "Not in the paper's table: ABSLD, adv only" in lines
    assert "without a run here: Natural; SAT; TRADES; RSLAD; AdaAD; FRL; CFA; ABSLD" in " ".join(page.split())
    settings = lines[lines.index("Settings that differ from the paper's") :]
    assert settings[-3:] == ["  Fair-ARD", f"    epochs: 30, the paper's {epochs(profile)}", "  nothing: BAT"]


def section(page: str, title: str) -> dict[str, str]:
    """The rows under an attack: method to seeds and nine numbers."""
    lines = page.splitlines()
    after = lines[lines.index(title) + 1 :]
    rows = (re.fullmatch(r"(.+?) +(\S+(?: +\S+){9})", line.rstrip()) for line in after[: after.index("")])
    return {found[1]: " ".join(found[2].split()) for found in rows if found}


def epochs(profile: Params) -> int:
    assert profile.methods.fair_ard is not None
    return profile.methods.fair_ard.epochs


def test_one_attack_of_one_run(
    project: Path, profile: Params, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(project, run_of(profile, "absld"))
    write(project, run_of(profile, "rslad"))
    assert absld("compare", "--to", "paper", str(folder), "--attack", "cw") == 0
    page = capsys.readouterr().out
    assert list(section(page, "CW-30")) == ["ABSLD"]
    assert "PGD-20" not in page


def test_runs_that_no_table_is_about_are_refused_unless_one_is_named(
    project: Path, profile: Params, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(profile, "absld")
    run.card["student"]["architecture"] = "tiny_resnet8"
    write(project, replace(run, evaluation={**run.evaluation, "dataset": "digits"}))
    assert absld("compare", "--to", "paper") == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "these runs are digits with tiny_resnet8, and the paper has Table 1 (cifar10 with resnet18)" in refused.err
    assert "--table 1" in refused.err
    assert absld("compare", "--to", "paper", "--table", "3") == 0
    page = capsys.readouterr().out
    assert "Ours is digits with tiny_resnet8: other data or another network" in page
    assert "Worst is the mean of the worst tenth of the classes, in ours the worst class" in " ".join(page.split())
    assert "    data.source: digits, the paper's cifar100" in page.splitlines()
    assert "    student.architecture: tiny_resnet8, the paper's resnet18" in page.splitlines()
    assert section(page, "CW-30")["ABSLD"].split()[-2] == "17.00b"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--table", "1"], "add --to paper"),
        (["--to", "paper", "--table", "5"], "the paper has Table 1"),
        (["--to", "paper", "--attack", "square"], "choose from clean, fgsm, pgd, cw, aa"),
        (["--to", "paper", "absld-s7"], "Evaluated are: absld-s0"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    project: Path,
    profile: Params,
    absld: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    wrong: str,
) -> None:
    write(project, run_of(profile, "absld"))
    assert absld("compare", *arguments) == 2
    assert wrong in capsys.readouterr().err


def test_runs_of_two_networks_a_run_twice_and_one_without_its_card_are_refused(project: Path, profile: Params) -> None:
    one, other = run_of(profile, "absld"), run_of(profile, "rslad")
    other.card["student"]["architecture"] = "mobilenet_v2"
    folder = write(project, one)
    write(project, other)
    with pytest.raises(InputError, match=r"cifar10 with resnet18: absld-s0; cifar10 with mobilenet_v2: rslad-s0"):
        comparison.read_runs(project, ["absld-s0", "rslad-s0"])
    again = write(project / "elsewhere", one)
    with pytest.raises(InputError, match="absld-s0 was given twice"):
        comparison.read_runs(project, ["absld-s0", str(again)])
    assert len(comparison.read_runs(project, ["absld-s0", str(folder)])) == 1
    (folder / "export" / "card.json").unlink()
    with pytest.raises(InputError, match=r"card\.json is missing.*absld repro"):
        comparison.read_runs(project, ["absld-s0"])
