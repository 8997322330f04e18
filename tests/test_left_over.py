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
from shell_project import new_project

from pipeline import processes, rwlock

ROOT = Path(__file__).parents[1]
COMMAND = """
import os, time
from pathlib import Path
from pipeline import processes
processes.start(["sh", "-c", "touch begun; sleep 300; true"], cwd=Path(), env=os.environ)
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
        while not (folder / "begun").exists() or len(below(process)) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        started.append((process, below(process)))
        return process

    yield start
    for process, family in started:
        process.kill()
        process.wait()
        for member in family:
            if lives(member):
                member.kill()


def below(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """It is dead when this returns, but not yet waited for."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_only_what_a_killed_command_of_this_project_left_is_ended(
    command: Callable[[Path], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    killed, alive, elsewhere = command(here), command(here), command(there)
    left, kept = below(killed), [*below(alive), *below(elsewhere)]
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
    generations = [process.pid, *(member.pid for member in below(process))]
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
    note = project / rwlock.NOTE
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
        (project / rwlock.NOTE).write_text(used_by(killed.pid, project))
        assert absld("repro", "one", "--force") == 0


def test_what_another_dvc_uses_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    project = new_project(tmp_path, monkeypatch)
    assert absld("repro", "one") == 0
    used = used_by(os.getpid(), project)
    (project / rwlock.NOTE).write_text(used)
    assert absld("repro", "one", "--force") == 2
    assert "another command uses this project's files" in capfd.readouterr().err
    assert (project / rwlock.NOTE).read_text() == used


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
    left = below(process)
    kill(process)
    assert absld("repro", "one") == 0
    assert "A command was killed here and left 2 processes at work" in capfd.readouterr().out
    assert not any(map(lives, left))
