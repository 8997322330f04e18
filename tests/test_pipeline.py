"""The whole pipeline with real DVC, real MLflow, real AutoAttack: kills, cache hits, growing, editing. Minutes each."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from projects import Project, found
from still_alive import command_of, descendants, lives, survivors

from absld.records.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 600


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has run once."""
    project = Project.new(tmp_path_factory.mktemp("finished") / "project")
    project.said = project.absld("repro")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A finished project to change."""
    yield finished.copy(tmp_path / "project")


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_what_a_first_repro_leaves_and_says(finished: Project) -> None:
    said = finished.said
    for wanted in ("student.onnx", "summary.html", "absld ui", "Average", "Worst"):
        assert wanted in said
    git = subprocess.run(["git", "status", "--porcelain"], cwd=finished.folder, capture_output=True, text=True)
    assert git.stdout == "?? dvc.lock\n"
    assert "up to date" in finished.dvc("status")
    names = {run.info.run_name: run for run in finished.mlflow()}
    assert set(names) == {"rslad-s0", "absld-s0"}
    for run in names.values():
        assert run.info.status == "FINISHED"
        assert {"tau_adv/0" in run.data.metrics, "risk_adv/0" in run.data.metrics} <= {
            True,
            run.info.run_name == "absld-s0",
        }
        assert {"clean/3", "pgd/3", "aa/3", "summary/pgd_worst", "train/loss"} <= set(run.data.metrics)
    evaluation = json.loads((finished.folder / "runs/absld-s0/evaluation/evaluation.json").read_text())
    assert evaluation["attacks"]["aa"]["n"] == 20
    assert set(evaluation["attacks"]) == {"clean", "fgsm", "pgd", "cw", "aa"}
    assert "evaluation.json" in finished.dvc("metrics", "show", "--md")
    assert "history.csv" in finished.dvc("plots", "show", "--json")


def test_a_second_repro_does_nothing_and_says_so(project: Project) -> None:
    before = project.ran()
    begun = time.monotonic()
    assert "Nothing had to run" in project.absld("repro")
    assert time.monotonic() - begun < 60
    assert project.ran() == before


def test_plain_dvc_and_plain_python_work_too(project: Project) -> None:
    before, outs = project.ran(), project.outs()
    python = str(Path(sys.executable).parent)
    environment = {**project.environment, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "train@absld-0"],
        cwd=project.folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    assert changed(before, project.ran()) == {"absld-s0/train.json"}
    without = "import sys; sys.modules['mlflow'] = sys.modules['dvc'] = None; import runpy; sys.argv = ['train', 'rslad', '0']; runpy.run_module('stages.train', run_name='__main__')"
    alone = subprocess.run(
        [sys.executable, "-c", without], cwd=project.folder, env=environment, capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr
    assert "nothing is mirrored" in alone.stdout
    assert project.outs() == outs


KILLED = ("fetch_data", "fetch_teacher", "train", "evaluate", "export", "report")


def test_kill_9_in_every_stage_changes_no_byte(finished: Project, tmp_path: Path) -> None:
    project = Project.new(tmp_path / "project")
    for stage in KILLED:
        with project.running("repro") as process:
            child = stage_process(process, f"stages.{stage}")
            in_the_middle(project, stage, child)
        assert process.returncode == -signal.SIGKILL
    project.absld("repro")
    assert project.outs() == finished.outs()
    assert not list((project.folder / ".absld/scratch").glob("*"))
    assert all(run.info.status == "FINISHED" for run in project.mlflow())
    assert len(project.mlflow()) == 2
    history = read_history(project.folder / "runs/rslad-s0/train/history.csv")
    assert [row.epoch for row in history if row.key == "train/loss"] == [1, 2, 3]


def test_a_method_that_brings_a_network_survives_a_kill_while_that_is_trained(
    finished: Project, tmp_path: Path
) -> None:
    """FRL's start has a fingerprint of its own: neither a kill nor another setting of FRL trains it twice."""
    grown = ("repro", "train@frl-0", "--set", "runs.methods=[rslad, absld, frl]")
    whole, cut = finished.copy(tmp_path / "whole"), finished.copy(tmp_path / "cut")
    whole.absld(*grown)
    with cut.running(*grown) as process:
        stage_process(process, "stages.train")
        wait_for(process, cut.folder / ".absld/brought", "checkpoint.pt")
    assert process.returncode == -signal.SIGKILL
    assert not (cut.folder / "runs/frl-s0/train/state.json").exists()
    cut.absld("repro", "train@frl-0")
    assert cut.outs() == whole.outs()
    assert "src/absld/methods/sat.py" in (cut.folder / "code/frl.sha256").read_text()
    (start,) = (cut.folder / ".absld/brought").iterdir()
    weights, before = start / "weights.safetensors", cut.outs()
    made = weights.stat().st_mtime_ns
    cut.absld("repro", "train@frl-0", "--set", "methods.frl.beta=2")
    assert "runs/frl-s0/train/best.safetensors" in changed(before, cut.outs())
    assert [path.stat().st_mtime_ns for path in (cut.folder / ".absld/brought").rglob("*.safetensors")] == [made]


def test_a_sweep_killed_in_the_middle_and_started_again_changes_no_byte(finished: Project, tmp_path: Path) -> None:
    project = Project.new(tmp_path / "project")
    with project.running("sweep", "--workers", "2") as process:
        wait_for(process, project.folder / ".absld/scratch", "train-*/checkpoint.pt")
    assert process.returncode == -signal.SIGKILL
    said = project.absld("sweep", "--workers", "2")
    assert "runs to make; worker 1, worker 2" in said
    assert project.outs() == finished.outs()
    assert "up to date" in project.dvc("status")
    assert not list((project.folder / ".absld/scratch").glob("*"))
    assert {run.info.run_name: run.info.status for run in project.mlflow()} == dict.fromkeys(
        ("rslad-s0", "absld-s0"), "FINISHED"
    )


def wait_for(process: "subprocess.Popen[str]", folder: Path, name: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        if found(folder, name):
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} did not appear in {folder}")


def in_the_middle(project: Project, stage: str, child: psutil.Process) -> None:
    """Long enough after the start that work has begun: for what resumes, once something is kept."""
    kept = {"fetch_teacher": "checkpoint.pt", "train": "checkpoint.pt", "evaluate": "*.npz"}.get(stage)
    deadline = time.monotonic() + 120
    while kept and lives(child) and time.monotonic() < deadline:
        if found(project.folder / ".absld/scratch", kept):
            return
        time.sleep(0.02)
    time.sleep(1)


def stage_process(process: "subprocess.Popen[str]", module: str) -> psutil.Process:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        for child in descendants(process):
            if module in command_of(child):
                return child
        time.sleep(0.02)
    raise AssertionError(f"{module} did not start")


def test_sigterm_leaves_no_process_and_no_run_marked_running(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project")
    with project.running("repro", "--set", "methods.absld.alpha=0.5") as process:
        stage_process(process, "stages.train")
        wait_for(process, project.folder / ".absld/scratch", "checkpoint.pt")
        family = descendants(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert not survivors(family, 20)
    assert {run.info.status for run in project.mlflow()} <= {"KILLED", "FINISHED"}
    assert "KILLED" in {run.info.status for run in project.mlflow()}


def test_another_value_is_another_run_and_the_old_one_comes_back_from_the_cache(project: Project) -> None:
    first, history = project.outs(), project.folder / "runs/absld-s0/train/history.csv"
    text = (project.folder / "params.yaml").read_text()
    project.absld("repro")
    before = project.ran()
    project.absld("repro", "--set", "methods.absld.beta=0.3")
    ran = changed(before, project.ran())
    assert ran == {
        "absld/code.json",
        "absld-s0/train.json",
        "absld-s0/evaluate.json",
        "absld-s0/export.json",
        "pipeline/report.json",
    }
    epochs = [row.epoch for row in read_history(history) if row.key == "train/loss"]
    assert epochs == [1, 2, 3]  # from the beginning, never from the old checkpoint
    assert (
        max(abs(row.value - 1) for row in read_history(history) if row.quantity == "tau_adv" and row.epoch == 2) > 0.25
    )
    names = [run.info.run_name for run in project.mlflow()]
    assert sorted(names) == ["absld-s0", "absld-s0", "rslad-s0"]

    before = project.ran()
    (project.folder / "params.yaml").write_text(text)
    project.absld("repro")
    assert "absld-s0/train.json" not in changed(before, project.ran())
    assert project.outs() == first
    assert sorted(run.info.run_name for run in project.mlflow()) == sorted(names)
    again = project.mlflow()
    project.absld("publish")
    assert len(project.mlflow()) == len(again)


def test_growing_runs_what_is_new_and_shrinking_leaves_no_trace(project: Project) -> None:
    before, outs = project.ran(), project.outs()
    project.absld("repro", "--set", "runs.methods=[rslad, absld, trades]")
    assert changed(before, project.ran()) == {
        "trades/code.json", "trades-s0/train.json", "trades-s0/evaluate.json", "trades-s0/export.json",
        "pipeline/code_of_stages.json", "pipeline/report.json",
    }  # fmt: skip
    report = project.folder / "reports/summary.html"
    assert "trades-s0" in report.read_text() or "TRADES" in report.read_text()
    project.absld("repro", "--set", "runs.methods=[rslad, absld]")
    assert {name: sha for name, sha in project.outs().items() if "trades" not in name} == outs


def test_an_edit_remakes_exactly_what_executes_it(project: Project) -> None:
    before = project.ran()
    for name in ("rslad", "absld"):
        with (project.folder / f"src/absld/methods/{name}.py").open("a") as file:
            file.write("\nEDITED = True\n")
        project.absld("repro")
        ran = changed(before, project.ran())
        other = {"rslad": "absld", "absld": "rslad"}[name]
        assert f"{name}-s0/train.json" in ran
        assert f"{other}-s0/train.json" not in ran
        assert "pipeline/fetch_teacher.json" not in ran
        before = project.ran()
    with (project.folder / "src/absld/watch/progress.py").open("a") as file:
        file.write("\nEDITED = True\n")
    project.absld("repro")
    assert {Path(name).name for name in changed(before, project.ran())} == {"code.json", "code_of_stages.json"}


def test_a_failing_stage_says_why_and_costs_nothing(project: Project) -> None:
    outs, params = project.outs(), (project.folder / "params.yaml").read_text()
    said = project.absld("repro", "--set", "methods.absld.attack.eps=8", code=2)
    assert "did you mean 8/255?" in said
    said = project.absld("repro", "--set", "data.validation_per_class=500", code=2)
    assert "data.validation_per_class" in said
    assert (project.folder / "params.yaml").read_text() == params
    assert project.outs() == outs
    assert "Nothing had to run" in project.absld("repro")
