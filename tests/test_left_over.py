"""A command that was killed leaves processes at work; the next one in the project ends them, and no others."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from shell_project import DVC_YAML, new_project
from still_alive import descendants, lives

from pipeline import dvc_files, processes

ROOT = Path(__file__).parents[1]
COMMAND = """
import os, time
from pathlib import Path
from pipeline import processes
processes.start(["sh", "-c", ": > begun; sleep 300; true"], cwd=Path(), env=os.environ)
time.sleep(300)
"""


@pytest.fixture
def command() -> Iterator[Callable[[Path], "subprocess.Popen[bytes]"]]:
    """Starts what starts something in a folder, as commands do; nothing of it is left in the end."""
    started: list[tuple[subprocess.Popen[bytes], list[psutil.Process]]] = []

    def start(folder: Path) -> "subprocess.Popen[bytes]":
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
        process = subprocess.Popen([sys.executable, "-c", COMMAND], cwd=folder, env=environment)
        deadline = time.monotonic() + 30
        while not (folder / "begun").exists() or len(descendants(process)) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        started.append((process, descendants(process)))
        return process

    yield start
    for process, family in started:
        process.kill()
        process.wait()
        for member in family:
            if lives(member):
                member.kill()


def kill(process: "subprocess.Popen[bytes]") -> None:
    """It is dead when this returns, but not yet waited for."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_only_what_a_killed_command_of_this_project_left_is_ended(
    command: Callable[[Path], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    killed, alive, elsewhere = command(here), command(here), command(there)
    left, kept = descendants(killed), [*descendants(alive), *descendants(elsewhere)]
    assert processes.end_left_over(here) == 0
    for process in (killed, elsewhere):
        kill(process)
    assert processes.end_left_over(here) == len(left) == 2  # killed but not yet waited for: it is no more
    assert not any(map(lives, left))
    assert len(kept) == 4 and all(map(lives, kept))
    assert processes.end_left_over(here) == 0


def test_who_took_the_number_of_a_killed_command_is_not_mistaken_for_it() -> None:
    own = psutil.Process()
    assert processes._lives_since(own.pid, time.time())
    assert not processes._lives_since(own.pid, own.create_time() - 1)
    assert not processes._lives_since(2**22 + 1, time.time())  # above the largest number of a process


def test_parents_are_told_before_their_children(
    command: Callable[[Path], "subprocess.Popen[bytes]"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = command(tmp_path / "here")
    family = [psutil.Process(process.pid), *descendants(process)]
    generations = [member.pid for member in sorted(family, key=lambda member: (member.create_time(), member.pid))]
    assert generations[0] == process.pid
    told = []
    monkeypatch.setattr(psutil.Process, "send_signal", lambda member, number: told.append((member.pid, number)))
    for _ in range(5):
        processes._send({psutil.Process(pid) for pid in reversed(generations)}, signal.SIGTERM)
    assert told == [(pid, signal.SIGTERM) for pid in generations] * 5


@pytest.mark.parametrize("torn", ["", '{"write": {"/here/runs/absld'])
def test_a_note_that_dvc_was_killed_at_does_not_stop_the_next_command(
    torn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == 0
    note = project / dvc_files.NOTE
    for arguments in (("status",), ("repro", "one", "--force")):
        note.write_text(torn)
        assert absld(*arguments) == 0
        assert json.loads(note.read_text())["write"] == {}


def test_what_a_killed_dvc_uses_is_free_though_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == 0
    with subprocess.Popen(["sleep", "300"]) as killed:
        kill(killed)
        (project / dvc_files.NOTE).write_text(used_by(killed.pid, project))
        assert absld("repro", "one", "--force") == 0


def test_a_number_that_was_given_away_again_uses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == 0
    note = project / dvc_files.NOTE
    note.write_text(used_by(os.getpid(), project))
    os.utime(note, (0, psutil.Process().create_time() - 60))
    assert absld("repro", "one", "--force") == 0


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_a_dvc_lock_that_dvc_was_killed_at_is_as_before(
    share: float, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == absld("status") == 0
    lock = project / "dvc.lock"
    whole = lock.read_text()
    if not kept:
        (project / dvc_files.KEPT_LOCK).unlink()
    torn = whole[: int(share * len(whole))]
    lock.write_text(torn)
    made = (project / "one.txt").stat().st_mtime_ns
    assert absld("repro", "one") == 0
    assert lock.read_text() == whole
    assert (project / "one.txt").stat().st_mtime_ns == made or not kept


def test_no_cut_of_a_dvc_lock_passes_for_whole_with_half_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    (project / "dvc.yaml").write_text(DVC_YAML.replace("  one:", "  fetch_data:"))
    assert absld("repro") == 0
    whole = (project / "dvc.lock").read_text()
    stages = YAML(typ="safe").load(whole)["stages"]
    assert len(stages) > 1 and dvc_files._is_whole(whole)
    found = [whole[:end] for end in range(len(whole)) if dvc_files._is_whole(whole[:end])]
    assert [len(YAML(typ="safe").load(cut)["stages"]) for cut in found] == list(range(1, len(stages)))
    for cut in found:
        assert YAML(typ="safe").load(cut)["stages"].items() <= stages.items()


def test_a_stage_that_makes_nothing_leaves_the_lock_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    (project / "dvc.yaml").write_text(DVC_YAML + "  notify:\n    cmd: 'true'\n    deps: [one.txt]\n")
    assert absld("repro", "one") == absld("status") == absld("repro", "notify") == 0
    lock = (project / "dvc.lock").read_text()
    assert "notify" in lock
    assert absld("status") == 0
    assert (project / "dvc.lock").read_text() == lock
    assert not (project / dvc_files.BROKEN_LOCK).exists()


def test_a_user_s_stage_may_need_a_file_of_a_server() -> None:
    lock = "schema: '2.0'\nstages: {%s: {cmd: x, deps: [{path: 's3://b/a', etag: '0-1', size: 3}], outs: []}}\n"
    assert dvc_files._is_whole(lock % "mine")
    assert not dvc_files._is_whole(lock % "train@absld-0")


@pytest.mark.parametrize("stages", ["text", "[]", "{one: text}", "{one: }", "{one: {cmd: x, outs: }}"])
def test_what_is_no_list_of_stages_is_not_whole(stages: str) -> None:
    assert not dvc_files._is_whole(f"schema: '2.0'\nstages: {stages}\n")


def test_a_dvc_lock_with_a_conflict_is_its_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == absld("status") == 0
    text = "<<<<<<< ours\n" + (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text)
    assert absld("status") == 2
    assert (project / "dvc.lock").read_text() == text


def test_what_another_dvc_uses_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == 0
    used = used_by(os.getpid(), project)
    (project / dvc_files.NOTE).write_text(used)
    (project / ".absld/scratch/train-rslad-s0-0123").mkdir(parents=True)
    assert absld("repro", "--force") == absld("repro", "one", "--force") == 2
    assert (project / ".absld/scratch/train-rslad-s0-0123").is_dir()
    assert "another command uses this project's files" in capfd.readouterr().err
    assert (project / dvc_files.NOTE).read_text() == used


def used_by(pid: int, project: Path) -> str:
    user = {"pid": pid, "cmd": "dvc repro"}
    return json.dumps({"write": {str(project / "one.txt"): user}, "read": {str(project / "two.txt"): [user]}})


def test_the_next_command_says_what_it_ended(
    command: Callable[[Path], "subprocess.Popen[bytes]"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    absld: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    project = new_project(tmp_path, monkeypatch)
    process = command(project)
    left = descendants(process)
    kill(process)
    assert absld("repro", "one") == 0
    assert "A command was killed here and left 2 processes at work" in capfd.readouterr().out
    assert not any(map(lives, left))
