"""`absld figure`: the numbers of the paper's Figures 2 to 5, and what is said where a run is missing."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_runs import CAT_DOG, files_of, run_of, write_run
from ruamel.yaml import YAML

from absld.errors import InputError
from absld.records.files import read_json, write_json
from absld.records.history import Row
from absld.records.layout import RunKey
from absld.report.inputs import Run
from absld.report.paper_figures import METHODS, Redrawn, redraw
from pipeline.settings import edited
from stages.contracts import REPORT

SVG = "{http://www.w3.org/2000/svg}"
ATTACK = {"eps": 8 / 255, "step": 2 / 255, "steps": 10, "start": "gaussian"}


def cells(drawn: Redrawn) -> dict[str, list[str]]:
    """Row to what it says of each method."""
    (group,) = drawn.table.groups
    return {line.head: [f"{cell.text} {cell.note}".strip() for cell in line.cells] for line in group.lines}


def texts(drawn: Redrawn, tag: str) -> list[str]:
    return [str(element.text) for element in ElementTree.fromstring(drawn.content).iter(f"{SVG}{tag}")]


def with_risks(run: Run, *epochs: tuple[Sequence[float], Sequence[float]]) -> Run:
    """The run with a history of (risk_adv, risk_clean), each by class."""
    rows = [
        Row(epoch, quantity, name, value)
        for epoch, risks in enumerate(epochs, start=1)
        for quantity, values in zip(("risk_adv", "risk_clean"), risks, strict=True)
        for name, value in zip(CAT_DOG, values, strict=True)
    ]
    state = {**run.state, "settings": {"attack": ATTACK}}
    return Run(run.key, rows, state, run.evaluation, run.card)


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_figure_3_is_the_pgd_accuracy_of_each_class_over_the_seeds() -> None:
    runs = [
        run_of(method, seed, correct)
        for method, seeds in {"absld": ([8, 7], [8, 6]), "rslad": ([9, 5], [8, 6])}.items()
        for seed, correct in enumerate(seeds)
    ]
    drawn = redraw(3, runs, "svg")
    assert list(drawn.table.columns) == ["RSLAD", "ABSLD"], "the paper's order, whatever the order of the runs"
    assert cells(drawn) == {
        "cat": ["85.0 80.0–90.0", "80.0 80.0–80.0"],
        "dog": ["55.0 50.0–60.0", "65.0 60.0–70.0"],
    }
    assert "dog, ABSLD: 65.0 % (60.0–70.0)" in texts(drawn, "title"), "what the bar says"
    caption = drawn.table.caption
    for said in ("pets, student resnet18", "eps 8/255", "PGD", "n = 20 test images", "Seeds 0, 1", "validation images"):
        assert said in caption, said
    assert "".join(caption.split()) in "".join("".join(texts(drawn, "text")).split()), "it is part of the figure"


def test_figure_2_adds_the_average() -> None:
    drawn = redraw(2, [run_of("sat_ssd", 0, [9, 5]), run_of("sat_dsd", 0, [9, 6])], "svg")
    found = cells(drawn)
    assert list(found) == ["cat", "dog", "Average"]
    assert [cell.split()[0] for cell in found["Average"]] == ["70.0", "75.0"]
    assert found["dog"][0] == "50.0 23.7–76.3", "one seed has Wilson's interval: 5 in 10, as textbooks print it"
    assert "one seed, 95 % interval" in drawn.table.caption


def test_figure_4_has_every_attack_three_times() -> None:
    runs = [run_of(name, 0, correct) for name, correct in (("absld", [8, 7]), ("rslad", [9, 5]), ("absld_adv", [9, 6]))]
    runs[0].evaluation["attacks"]["clean"]["n"] = 1000
    for run in runs[1:]:
        run.evaluation["attacks"]["clean"]["n"] = 1000
    drawn = redraw(4, runs, "svg")
    found = {name: [cell.split()[0] for cell in row] for name, row in cells(drawn).items()}
    assert list(drawn.table.columns) == ["RSLAD", "ABSLD, adv only", "ABSLD"]
    assert len(found) == 3 * 3
    assert found["AutoAttack, average"] == ["70.0", "75.0", "75.0"]
    assert found["AutoAttack, worst class"] == ["50.0", "60.0", "70.0"]
    assert found["AutoAttack, overall"] == ["60.0", "67.5", "72.5"]
    assert "Clean images, n = 1,000; PGD, n = 20; AutoAttack, n = 20" in drawn.table.caption


def test_figure_5_is_the_population_spread_of_each_epoch_over_its_mean() -> None:
    even, far, clean = [2.0, 2.0], [1.0, 3.0], [0.5, 1.5]
    runs = [
        with_risks(run_of("rslad", 0, [9, 5]), (far, clean), (far, clean), (far, clean)),
        with_risks(run_of("rslad", 1, [9, 5]), (even, clean), (far, clean), (far, clean)),
        with_risks(run_of("absld", 0, [9, 5]), (far, clean), (even, clean), (even, clean), (even, clean)),
    ]
    found = cells(redraw(5, runs, "svg"))
    assert found["adversarial, epoch 1"] == ["0.250 0.000–0.500", "0.500"], "sd of 1 and 3 is 1, their mean 2"
    assert found["adversarial, epoch 3"] == ["0.500", "0.000"], "the last epoch that all have"
    assert found["clean, epoch 2"] == ["0.500", "0.500"]
    caption = redraw(5, runs, "svg").table.caption
    assert "RSLAD and ABSLD trained against 10 steps of 2/255, gaussian start, L∞ eps 8/255" in caption
    assert "Seeds: RSLAD 0, 1; ABSLD 0." in caption


def test_a_seed_more_of_one_method_leaves_the_other_without_a_range() -> None:
    runs = [run_of("rslad", 0, [9, 5]), run_of("rslad", 1, [7, 5]), run_of("absld", 0, [8, 6])]
    drawn = redraw(3, runs, "svg")
    assert cells(drawn)["cat"] == ["80.0 70.0–90.0", "80.0"]
    assert "cat, ABSLD: 80.0 %" in texts(drawn, "title")


def test_of_very_many_classes_the_hardest_are_shown() -> None:
    classes = [f"c{number}" for number in range(100)]
    runs = [run_of(method, 0, [10] * 70 + [1] * 30, classes) for method in METHODS[3]]
    drawn = redraw(3, runs, "svg")
    assert list(cells(drawn)) == [f"c{number}" for number in range(70, 90)]
    assert "The 20 classes that are hardest for RSLAD" in drawn.table.caption


def test_epochs_that_the_test_images_chose_are_owned_up_to() -> None:
    runs = [run_of(method, 0, [9, 5]) for method in METHODS[3]]
    honest, chosen = (dict(runs[0].state, select_on=split) for split in ("validation", "test"))
    assert "test images" not in redraw(3, runs, "svg").table.caption.partition("Seed")[2].replace(
        "over the test images", ""
    )
    peeked = [Run(run.key, run.history, chosen, run.evaluation, run.card) for run in runs]
    assert "chosen on the test images" in redraw(3, peeked, "svg").table.caption
    assert honest["select_on"] == "validation"


def test_what_was_not_measured_is_named() -> None:
    runs = [run_of(method, 0, [9, 5]) for method in METHODS[3]]
    for run in runs:
        del run.evaluation["attacks"]["pgd"]
    with pytest.raises(InputError, match=r"evaluate\.attacks\.pgd"):
        redraw(3, runs, "svg")
    with pytest.raises(InputError, match="risk_adv"):
        redraw(5, runs, "svg")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_runs_give_the_same_bytes(kind: str) -> None:
    runs = [run_of(method, 0, [9, 5]) for method in METHODS[3]]
    one, other = (redraw(3, runs, kind).content for _ in range(2))  # type: ignore[arg-type]
    assert one == other
    assert not re.search(rb"\d{4}-\d\d-\d\d|/home|/tmp", one)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two seeds of RSLAD and one of ABSLD, which are all that its params.yaml names."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, tmp_path)
    yaml = YAML()
    params = yaml.load(tmp_path / "params.yaml")
    params["runs"]["methods"] = ["rslad", "absld"]
    yaml.dump(params, tmp_path / "params.yaml")
    for key in (RunKey("rslad", 0), RunKey("rslad", 1), RunKey("absld", 0)):
        write_run(tmp_path, key, epochs=4)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_figure_is_written_and_its_numbers_are_shown(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "runs" / "notes-s").mkdir()
    shutil.rmtree(files_of(project, RunKey("rslad", 1)).card.parent)
    assert absld("figure", "3") == 0
    said = capsys.readouterr().out
    assert said.endswith("rslad-s1 is not finished and left out\nfigure    reports/paper/figure-3.svg\n")
    measured = read_json(files_of(project, RunKey("absld", 0)).evaluation)["attacks"]["pgd"]["accuracy"]["per_class"]
    shown = {words[0]: words[3] for line in said.splitlines() if len(words := line.split()) == 5}
    assert shown == {name: f"{100 * value:.1f}" for name, value in measured.items()}
    ElementTree.parse(project / "reports/paper/figure-3.svg")
    assert absld("figure", "3", "--output", "params.yaml/3.svg") == 2
    assert capsys.readouterr().err.startswith("params.yaml/3.svg cannot be written")


@pytest.mark.parametrize(
    ("arguments", "path", "begins"),
    [
        (["--png"], "reports/paper/figure-5.png", b"\x89PNG"),
        (["--output", "mine/spread.png"], "mine/spread.png", b"\x89PNG"),
        (["-o", "spread.svg"], "spread.svg", b"<svg"),
    ],
)
def test_the_suffix_chooses(
    project: Path, absld: Callable[..., int], arguments: list[str], path: str, begins: bytes
) -> None:
    assert absld("figure", "5", *arguments) == 0
    assert (project / path).read_bytes().startswith(begins)


@pytest.mark.parametrize("arguments", [["-o", "spread.pdf"], ["--png", "-o", "spread.svg"]])
def test_another_suffix_is_refused(project: Path, absld: Callable[..., int], arguments: list[str]) -> None:
    assert absld("figure", "5", *arguments) == 2
    assert not (project / "spread.pdf").exists()


@pytest.mark.parametrize(
    ("number", "missing", "methods"),
    [
        ("2", "sat_ssd and sat_dsd", "rslad, absld, sat_ssd, sat_dsd"),
        ("4", "absld_adv", "rslad, absld, absld_adv"),
    ],
)
def test_a_missing_run_is_named_with_the_command_that_makes_it(
    project: Path,
    absld: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    number: str,
    missing: str,
    methods: str,
) -> None:
    assert absld("figure", number) == 2
    said = capsys.readouterr().err
    assert f"no finished run of {missing}." in said
    setting = f"runs.methods=[{methods}]"
    assert f'`absld repro --set "{setting}"`' in said
    written = YAML(typ="safe").load(edited((project / "params.yaml").read_text(encoding="utf-8"), [setting]))
    assert written["runs"]["methods"] == methods.split(", "), "the command does what it says"
    assert not (project / "reports").exists()


def test_a_run_that_params_name_already_only_has_to_be_made(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    files_of(project, RunKey("absld", 0)).evaluation.unlink()
    assert absld("figure", "3") == 2
    assert "no finished run of absld. To make what is missing: `absld repro`" in capsys.readouterr().err


def test_runs_that_were_measured_differently_stand_in_no_figure(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = files_of(project, RunKey("absld", 0)).evaluation
    evaluation = read_json(path)
    evaluation["attacks"]["pgd"]["settings"]["steps"] = 10
    write_json(path, evaluation)
    assert absld("figure", "3") == 2
    assert "absld-s0" in capsys.readouterr().err


def test_a_run_of_an_older_version_is_wrong_input(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = files_of(project, RunKey("absld", 0)).evaluation
    evaluation = read_json(path)
    del evaluation["curves"]
    write_json(path, evaluation)
    assert absld("figure", "3") == 2
    said = capsys.readouterr().err
    assert "runs/absld-s0/evaluation/evaluation.json has no curves" in said
    assert "Make absld-s0 again" in said


def test_there_is_no_figure_1(absld: Callable[..., int]) -> None:
    assert absld("figure", "1") == 2


def test_no_torch_is_needed(project: Path, root: Path) -> None:
    code = (
        "import sys; sys.argv = ['absld', 'figure', '3']\n"
        "from pipeline.cli import app\n"
        "app(standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'mlflow', 'dvc'} & set(sys.modules)) or 'matplotlib' not in sys.modules)"
    )
    environment = {"PYTHONPATH": f"{root / 'src'}:{root}"}
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_dvc_neither_sees_nor_removes_it(
    project: Path, absld: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the real outs of the stage `report`, through DVC itself."""
    outs = list(REPORT.writes.values())
    files = [out if Path(out).suffix else f"{out}/a.svg" for out in outs]
    command = f"mkdir -p {' '.join(str(Path(file).parent) for file in files)} && touch {' '.join(files)}"
    stage = {"cmd": command, "outs": outs, "deps": ["runs"]}
    (project / "dvc.yaml").write_text(json.dumps({"stages": {"report": stage}}))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project / "site"))

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    dvc("init", "--no-scm", "--quiet")
    dvc("repro", "--quiet")
    assert absld("figure", "3") == 0
    drawn = (project / "reports/paper/figure-3.svg").read_bytes()
    assert json.loads(dvc("status", "--json")) == {}
    dvc("repro", "--force", "--quiet")
    assert (project / "reports/paper/figure-3.svg").read_bytes() == drawn
