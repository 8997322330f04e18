"""A run of the pipeline: what it says, how it ends, that nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from shell_project import DVC_YAML, PARAMS, new_project
from still_alive import descendants, killed_in_the_end, lives, survivors

from pipeline import dvc, processes
from stages.finished import FINISHED

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, monkeypatch)


def test_stage_names_are_dvcs(project: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], capture_output=True, text=True
    )
    items = set(listed.stdout.split())
    assert items == {"one", "train@rslad-0", "train@absld-0"}
    assert set(dvc.stage_names(project)) == items | {"train"}


def test_dvc_yaml_may_have_anchors(project: Path) -> None:
    (project / "dvc.yaml").write_text(DVC_YAML + "  two: {cmd: &command 'true'}\n  three: {cmd: *command}\n")
    assert {"two", "three"} < set(dvc.stage_names(project))


def test_repro_runs_what_changed_and_says_so(
    project: Path, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert absld("repro", "one") == 0
    assert "Still out of date: train@rslad-0, train@absld-0" in capfd.readouterr().out

    assert absld("repro") == 0
    said = capfd.readouterr().out
    assert "1.5  train rslad-s0\n" in said
    assert "3.0  together" in said

    assert absld("repro") == 0
    assert "Nothing had to run" in capfd.readouterr().out

    assert absld("repro", "--set", "runs.seeds=[0, 1]") == 0
    said = capfd.readouterr().out
    assert "train absld-s1" in said
    assert "train absld-s0" not in said

    (project / "params.yaml").write_text(PARAMS.replace("max_epochs: null", "max_epochs: 1"), encoding="utf-8")
    assert absld("status") == 0
    assert "one\n    params.yaml: train.max_epochs modified" in capfd.readouterr().out


SAID = json.dumps({"stage": "one", "code": 2, "message": "no CUDA here"})


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 1), (f"mkdir -p .absld && echo '{SAID}' > .absld/failure.json; exit 2", 2), ("kill -9 $$", 1)],
)
def test_exit_codes_tell_input_from_failure(
    command: str, code: int, project: Path, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    stages = {"stages": {"one": {"cmd": command, "outs": ["one.txt"]}}}
    (project / "dvc.yaml").write_text(json.dumps(stages))
    (project / ".absld").mkdir()
    (project / ".absld" / "failure.json").write_text('{"stage": "old", "code": 2, "message": "of last time"}')
    assert absld("repro") == code
    said = capfd.readouterr().err
    assert "of last time" not in said
    assert ("no CUDA here" in said) == (code == 2)


STAGE_WITH_CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(300)"])  # as torchrun's workers do
open("started", "w").close()
try:
    time.sleep(300)
finally:
    open("goodbye", "w").close()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_stage_and_all_below_it(number: signal.Signals, code: int, project: Path) -> None:
    (project / "stage.py").write_text(STAGE_WITH_CHILD)
    stages = {"stages": {"one": {"cmd": f"{sys.executable} stage.py", "outs": ["one.txt"]}}}
    (project / "dvc.yaml").write_text(json.dumps(stages))
    with killed_in_the_end(start(project, "repro")) as wrapper:
        wait_for(lambda: (project / "started").exists() and len(descendants(wrapper)) >= 3)
        below = descendants(wrapper)
        wrapper.send_signal(number)
        assert wrapper.wait(timeout=60) == code
    assert (project / "goodbye").exists()
    assert survivors(below) == []


def test_what_ignores_the_signal_is_killed(project: Path) -> None:
    (project / "stage.sh").write_text("trap '' TERM\ntouch started\nwhile true; do sleep 0.1; done\n")
    code = """
import os
from pathlib import Path
from pipeline import processes
print(processes.run(["sh", "stage.sh"], cwd=Path(), env=os.environ, grace=0.5))
"""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=project)
    with killed_in_the_end(started) as wrapper:
        wait_for(lambda: (project / "started").exists())
        below = descendants(wrapper)
        wrapper.send_signal(signal.SIGTERM)
        said, _ = wrapper.communicate(timeout=60)
    assert "killed=True" in said
    assert survivors(below) == []


def test_a_stage_does_not_outlive_a_killed_dvc(project: Path) -> None:
    code = """
import os, signal, subprocess
child = subprocess.Popen(["sleep", "300"])
open("pid", "w").write(str(child.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = processes.run([sys.executable, "-c", code], cwd=project, env=os.environ)
    assert (ended.code, ended.told) == (-signal.SIGKILL, None)
    child = int((project / "pid").read_text())
    with suppress(psutil.NoSuchProcess):
        assert not lives(psutil.Process(child))


def start(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    code = "from pipeline.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=root, text=True)


def wait_for(condition: "object") -> None:
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_force_goes_on_from_nothing_but_keeps_the_work_of_what_is_not_needed(
    project: Path, absld: Callable[..., int]
) -> None:
    def work() -> list[str]:
        found = (project / ".absld").glob("*/*-0123")
        return sorted(path.relative_to(project / ".absld").as_posix() for path in found)

    for name in ("scratch/train-rslad-s0", "scratch/train-rslad-s00", "scratch/evaluate_model-mine", "brought/start"):
        (project / f".absld/{name}-0123").mkdir(parents=True)
    (project / ".absld/finished/train-rslad-s0-0123").mkdir(parents=True)
    (project / ".absld/scratch/fetch_teacher-pipeline-0123").mkdir(parents=True)
    assert absld("repro", "one", "train@rslad-0", "--force") == 0
    assert work() == ["brought/start-0123", "scratch/evaluate_model-mine-0123", "scratch/train-rslad-s00-0123"]
    assert absld("repro", "--force") == 0
    assert work() == ["scratch/evaluate_model-mine-0123"]


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ("fetch_data", {"fetch_teacher-pipeline", "train-rslad-s0", "train-absld-s0", "evaluate-rslad-s0"}),
        ("train@rslad-0", {"train-absld-s0", "evaluate-rslad-s0"}),
        ("evaluate@rslad-0", {"train-absld-s0"}),
        ("train", {"evaluate-rslad-s0"}),
        ("report", set()),
        ("one", {"fetch_teacher-pipeline", "train-rslad-s0", "train-absld-s0", "evaluate-rslad-s0"}),
    ],
)
def test_force_forgets_the_work_of_what_a_stage_needs(named: str, left: set[str], tmp_path: Path) -> None:
    for name in ("fetch_teacher-pipeline", "train-rslad-s0", "train-absld-s0", "evaluate-rslad-s0"):
        for folder in (dvc.SCRATCH, FINISHED):
            (tmp_path / folder / f"{name}-0123").mkdir(parents=True)
    dvc._forget(tmp_path, [named])
    for folder in (dvc.SCRATCH, FINISHED):
        assert {work.name.removesuffix("-0123") for work in (tmp_path / folder).iterdir()} == left
