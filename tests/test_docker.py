"""The image, as far as it goes without an engine: a linter reads the Dockerfile, its install lines run in a clean place."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_it_is_built_in_two_steps_and_runs_as_nobody_special() -> None:
    build, run = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    assert "AS build" in build
    assert "pip install" not in run
    assert re.search(r"^USER 1000$", run, flags=re.M)
    assert 'ENTRYPOINT ["absld"]' in run


def test_nothing_that_the_pipeline_made_gets_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "data", "models", "runs", "reports", "mlflow.db*", ".dvc/cache"} <= set(ignored)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_install_lines_work_in_a_clean_place_without_git(tmp_path: Path) -> None:
    """The RUN lines of the build, in their order, with the two folders of the image moved to a temporary one."""
    project, environment = tmp_path / "project", tmp_path / "absld"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    build = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1]
    lines = [match.replace("\\\n", " ") for match in re.findall(r"^RUN ((?:.*\\\n)*.*)$", build, flags=re.M)]
    assert len(lines) == 3
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean["PATH"] = f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{os.defpath}"
    for line in lines:
        # compiling the bytecode costs minutes and is the same command without the flag
        command = line.replace("/opt/absld", str(environment)).replace("--compile-bytecode", "")
        done = subprocess.run(["bash", "-euc", command], cwd=project, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    absld = environment / "bin" / "absld"
    said = subprocess.run([absld, "params", "check"], cwd=project, env=clean, capture_output=True, text=True)
    assert "in order" in said.stdout, said.stderr
    made = subprocess.run([absld, "repro", "fetch_data"], cwd=project, env=clean, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (project / "data/dataset/card.json").is_file()
    assert not (project / ".git").exists()
