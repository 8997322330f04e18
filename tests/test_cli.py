"""The command line: what it shows, what it refuses, how it starts."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from filelock import Timeout
from mlflow import MlflowException
from shell_project import PARAMS, git, new_project
from sqlalchemy.exc import DatabaseError
from typer.testing import CliRunner

from absld.errors import InputError
from absld.evaluation.overrides import NAMES
from absld.params.networks import Architecture
from pipeline import compare, doctor, evaluations, profiles, server
from pipeline.cli import app
from pipeline.commands_of_models import ARCH, ATTACK
from pipeline.pairing import Measured
from pipeline.project import find_root

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, monkeypatch)


# the project


def test_the_root_is_found_from_below(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with pytest.raises(InputError, match="not inside a project"):
        find_root(below)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(InputError, match=r"no params\.yaml"):
        find_root(below)
    (tmp_path / "params.yaml").touch()
    assert find_root(below) == tmp_path


# showing


def evaluation(run: str, by_class: dict[str, float], *, eps: str = "0.1", half: float = 0.01) -> dict[str, object]:
    average, worst = sum(by_class.values()) / len(by_class), min(by_class.values())
    accuracy = {
        "average": average,
        "worst": worst,
        "overall": (average + worst) / 2,
        "nsd": None,
        "per_class": by_class,
    }
    intervals = {name: [value - half, value + half] for name, value in by_class.items()}
    whole = {key: [value - half, value + half] for key, value in accuracy.items() if isinstance(value, float)}
    outcome = {"accuracy": accuracy, "interval95": {**whole, "per_class": intervals}, "n": 20}
    return {
        "run": run,
        "dataset": "digits",
        "classes": list(by_class),
        "threat_model": {"eps_text": eps},
        "attacks": {"pgd": outcome},
    }


def test_compare_shows_classes_and_marks_differences_that_are_real(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for run, worst in (("rslad-s0", 0.25), ("absld-s0", 0.5)):
        path = project / "runs" / run / "evaluation" / "evaluation.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(evaluation(run, {"cat": worst, "dog": 0.755})))
    assert absld("compare", "rslad-s0", "absld-s0") == 0
    rows = {line[:12].strip(): line[12:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["cat"] == ["25.0", "50.0", "+25.0*"]
    assert rows["dog"] == ["75.5", "75.5", "0.0"]
    assert rows["Overall"] == ["37.6", "56.4", "+18.8*"]  # ((25 + 75.5)/2 + 25)/2, ((50 + 75.5)/2 + 50)/2
    assert rows["NSD"] == ["–", "–", "–"]


def test_compare_shows_names_in_brackets(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    told = evaluation("[mine]", {"[old]": 0.25, "[/new]": 0.5}) | {"dataset": "[/pets]"}
    (project / "a.json").write_text(json.dumps(told))
    assert absld("compare", "a.json") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert [row for row in rows if row[-1:] in (["[mine]"], ["25.0"], ["50.0"])][:3] == [
        ["class", "[mine]"],
        ["[old]", "25.0"],
        ["[/new]", "50.0"],
    ]
    assert "[/pets]: PGD" in out


def test_compare_refuses_what_cannot_be_compared(project: Path) -> None:
    with pytest.raises(InputError, match="none yet"):
        evaluations.read_evaluation(project, "absld-s0")
    one, other = (
        Measured(run, project / run, evaluation(run, {"cat": 0.5}, eps=eps))
        for run, eps in (("a", "0.1"), ("b", "8/255"))
    )
    with pytest.raises(InputError, match="classes or eps"):
        compare.table([one, other], None)
    with pytest.raises(InputError, match="choose from pgd"):
        compare.table([one, one], "aa")


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (PARAMS, "JSON"), ("\xff", "JSON"), ("", "JSON"), ("3", "JSON"), ("[]", "run"),
        (json.dumps(evaluation("a", {"cat": 0.5})).replace("attacks", "attack"), "attacks"),
    ],
)  # fmt: skip
def test_compare_names_a_file_that_is_no_evaluation(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str], text: str, lacks: str
) -> None:
    (project / "a.json").write_text(text, encoding="latin-1" if text == "\xff" else "utf-8")
    assert absld("compare", "a.json", "a.json") == 2
    said = capsys.readouterr().err
    assert f"a.json is no evaluation, it has no {lacks}: name a run or its evaluation.json" in " ".join(said.split())
    assert "Traceback" not in said


def test_a_schema_that_cannot_be_written_is_told(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("params", "schema", "params.yaml/x") == 2
    assert capsys.readouterr().err.startswith("params.yaml/x cannot be written: name another place")


def test_params_check_names_the_line(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("params", "check") == 0
    assert "in order" in capsys.readouterr().out
    text = PARAMS.replace("select_on:", "selekt_on:")
    (project / "params.yaml").write_text(text, encoding="utf-8")
    line = 1 + text[: text.index("selekt_on")].count("\n")
    assert absld("params", "check") == 2
    assert f"params.yaml:{line}:3 train.selekt_on: unknown key, did you mean 'select_on'" in capsys.readouterr().err


def test_params_show_gives_fractions_as_numbers(
    absld: Callable[..., int], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("params", "show") == 0
    said = capsys.readouterr().out.splitlines()
    assert "methods.absld.alpha: 5/6  = 0.833333" in said
    assert "train.max_epochs: null" in said


def test_the_doctor_sees_what_is_wrong(project: Path) -> None:
    shutil.copytree(ROOT / "stages", project / "stages")
    lines = list(doctor.examine(project))
    found = {line.text: line.fine for line in lines}
    assert any(text.startswith("devices: ") and fine for text, fine in found.items())
    assert any("nothing is committed" in text and not fine for text, fine in found.items())
    assert any(text.startswith("not in git: ") and not fine for text, fine in found.items())
    assert not any(line.stops for line in lines), "all that is wrong are warnings"
    (project / "params.yaml").write_text("data: {}\n")
    assert any("source" in line.text and line.stops for line in doctor.examine(project))


def test_the_doctor_is_content_with_a_profile_that_is_not_committed(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "stages", project / "stages")
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    assert absld("profile", "use", "cifar10") == 0
    assert absld("doctor") == 0
    assert "warn  commit" in capsys.readouterr().out
    (project / "dvc.yaml").write_text("stages: no\n")
    assert absld("doctor") == 1
    assert "FAIL  dvc status fails" in capsys.readouterr().out


def test_the_doctor_accepts_that_there_is_no_git_where_dvc_does(project: Path) -> None:
    shutil.rmtree(project / ".git")
    [line] = doctor._git(project)
    assert line.stops
    with (project / ".dvc" / "config.local").open("w") as file:
        file.write("[core]\n    no_scm = true\n")
    [line] = doctor._git(project)
    assert line.fine
    [line] = doctor._dvc(project)
    assert line.fine


def test_a_taken_port_is_the_users_to_choose_again(project: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match="is taken"):
            server.serve(project, taken.getsockname()[1])


def test_a_port_that_is_not_taken_is_not_called_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HOST", "192.0.2.1")  # an address of documentation: no machine's
    with pytest.raises(InputError, match="port 5000 cannot be used: Cannot assign requested address"):
        server.serve(project, 5000)


# MLflow


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("No module named 'mlflow'"), "MLflow is not installed"),
        (MlflowException("an older MLflow made it"), "MLflow refuses: an older MLflow made it"),
        (DatabaseError(None, None, OSError("file is not a database")), "file is not a database"),
        (Timeout("mlflow.lock"), "another command has been writing to MLflow"),
    ],
)
def test_publish_says_what_mlflow_ended_in(
    error: Exception,
    said: str,
    project: Path,
    absld: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def publish(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.publish.publish", publish)
    if isinstance(error, ImportError):
        monkeypatch.setitem(sys.modules, "mlflow", None)
    assert absld("publish") == 2
    assert said in capsys.readouterr().err


# starting up


def test_the_command_line_starts_light() -> None:
    code = "import sys, pipeline.cli; print({'torch', 'mlflow', 'dvc', 'pydantic', 'ruamel'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


def test_help_names_values_and_no_types_of_python() -> None:
    width = {"COLUMNS": "200"}
    for command in ("", *(name.split() for name in COMMANDS)):
        said = CliRunner().invoke(app, [*command, "--help"], env=width).output
        found = re.findall(r"<[^>]*>", said)
        assert not found, (command, found)
        assert "Usage" in said


COMMANDS = (
    "repro", "status", "sweep", "compare", "figure", "evaluate", "predict", "keep", "publish", "promote", "ui", "doctor",
    "params check", "params show", "params schema", "profile list", "profile use",
)  # fmt: skip


def test_help_of_evaluate_names_every_architecture_and_attack() -> None:
    for names, said in ((get_args(Architecture), ARCH), (NAMES, ATTACK)):
        assert set(names) <= set(re.findall(r"\w+", said))


def test_the_profiles_are_listed_from_the_one_to_begin_with(
    absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("profile", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(profiles.names())
    assert re.match(r"digits +2 x 1 runs  Digits of 8x8", lines[0])
    assert any(re.match(r"fashion-mnist-cpu-seeds +4 x 3 runs  Fashion", line) for line in lines)
    assert len({line.index(" runs  ") for line in lines}) == 1


def test_help_is_there_at_once(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(tmp_path),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(4):
        begun = time.monotonic()
        code = "from pipeline.cli import main; main()"
        answer = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, env=environment)
        seconds.append(time.monotonic() - begun)
        assert "absld repro --profile cifar10" in answer.stdout
    assert min(seconds) < 1.5  # half a second on a quiet machine
