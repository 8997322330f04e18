"""MLflow's database and its pages: where it is, that it is ours, who is let in."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow_runs import WHO, new_project
from still_alive import descendants, killed_in_the_end, survivors

from absld.watch.mlflow_mirror import training
from absld.watch.names import ClassNames
from absld.watch.store import tracking_uri
from pipeline import doctor

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, migrated, monkeypatch)


@pytest.mark.slow
def test_two_first_starts_at_once_make_one_database(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from absld.watch.store import open_store
print(open_store(Path({str(tmp_path)!r})).search_experiments()[0].name)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    starts = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    assert [start.communicate(timeout=120)[0].strip() for start in starts] == ["Default", "Default"]
    assert [start.returncode for start in starts] == [0, 0]


def test_the_database_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///below/other.db")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/below/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////somewhere/other.db")
    assert tracking_uri(tmp_path) == "sqlite:////somewhere/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(tmp_path) == "http://mlflow:5000"


def test_the_doctor_sees_that_the_project_was_moved(root: Path) -> None:
    with training(root, WHO):
        pass
    assert [line.fine for line in doctor._mlflow(root)] == [True]
    moved = root.rename(root.parent / "elsewhere")
    [line] = doctor._mlflow(moved)
    assert not line.fine
    assert "a%20project/mlruns" in line.text


@pytest.mark.parametrize("content", [b"", b"no database" * 99], ids=["empty", "spoilt"])
def test_the_doctor_says_that_a_database_cannot_be_read(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(content)
    [line] = doctor._mlflow(tmp_path)
    assert (line.fine, line.stops) == (False, False)
    assert "mlflow.db cannot be read (" in line.text


def test_the_doctor_reads_a_database_whatever_its_folder_is_called(tmp_path: Path, migrated: Path) -> None:
    file = tmp_path / "50% of #1?" / "mlflow.db"
    file.parent.mkdir()
    shutil.copy(migrated, file)
    assert doctor._database(file).fine


def test_telemetry_is_off_before_mlflow_is_imported() -> None:
    code = "import absld.watch.store, os, sys; print('mlflow' in sys.modules, os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_DISABLE_TELEMETRY"}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert answer.stdout == "False true\n"


def test_class_names_are_stored_as_mlflow_takes_them() -> None:
    names = ClassNames(["cat", "a/b", "a(b", "..", "ü", "x" * 300])
    assert names.stored == {"cat": "cat", "a/b": "a_b", "a(b": "a_b_2", "..": "_", "ü": "ü", "x" * 300: "x" * 200}
    assert names.changed["a_b_2"] == "a(b"
    assert names.key("tau_adv", "a(b") == "tau_adv/a_b_2"
    assert names.key("train/loss", "") == "train/loss"


@pytest.mark.slow
def test_the_pages_are_served_on_this_machine_only_and_end_when_told(root: Path) -> None:
    (root / "dvc.yaml").touch()
    shutil.copy(ROOT / "params.yaml", root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "ui", "--port", str(port)]
    with killed_in_the_end(subprocess.Popen(command, cwd=root, env=environment)) as pages:
        deadline = time.monotonic() + 180
        while not answers(port):
            assert time.monotonic() < deadline and pages.poll() is None
            time.sleep(0.3)
        below = descendants(pages)
        addresses = set().union(*map(listens_at, below))
        pages.send_signal(signal.SIGINT)
        assert pages.wait(timeout=60) == 0
    assert addresses == {"127.0.0.1"}
    assert not survivors(below)


def listens_at(process: psutil.Process) -> set[str]:
    with suppress(psutil.NoSuchProcess):
        return {found.laddr.ip for found in process.net_connections() if found.status == "LISTEN"}
    return set()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False
