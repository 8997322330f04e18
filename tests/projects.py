"""A copy of this project in a folder of its own, with its own DVC cache and MLflow database."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from still_alive import killed_in_the_end

from absld.records.files import sha256_of
from pipeline.settings import edited

ROOT = Path(__file__).parents[1]
SMALL = (
    "teacher.method.trades.epochs=2",
    "teacher.method.trades.milestones=[1]",
    "train.max_epochs=3",
    "methods.rslad.attack.steps=3",
    "methods.absld.attack.steps=3",
    "methods.trades.attack.steps=3",
    "train.validation.steps=3",
    "evaluate.attacks.aa.n=20",
    "evaluate.attacks.cw.n=50",
    "evaluate.chunk=64",
    "evaluate.keep=20",
)
OUTS = ("data", "models", "runs", "reports", "code")


class Project:
    """A copy of this project in a folder of its own, with a small configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        """What the first `absld repro` printed."""

    @classmethod
    def new(cls, folder: Path, settings: Sequence[str] = SMALL) -> "Project":
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, set(listed) - {"dvc.lock"}):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        params = folder / "params.yaml"
        params.write_text(edited(params.read_text(), settings))
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Begin"]):
            subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *command], cwd=folder, check=True)
        return cls(folder)

    def copy(self, folder: Path) -> "Project":
        shutil.copytree(self.folder, folder, symlinks=True)
        for database in folder.glob("mlflow.db*"):  # its artifact paths are absolute
            database.unlink()
        shutil.rmtree(folder / "mlruns", ignore_errors=True)
        return Project(folder)

    @property
    def environment(self) -> dict[str, str]:
        paths = os.pathsep.join(map(str, (self.folder / "src", self.folder)))
        site = str(self.folder.parent / f"{self.folder.name}-site")
        return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": site}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def running(self, *arguments: str) -> "AbstractContextManager[subprocess.Popen[str]]":
        """A command at work; where the block ends first, it is killed with all that it started."""
        return killed_in_the_end(self.start(*arguments))

    def absld(self, *arguments: str, code: int = 0, seconds: float = 840) -> str:
        with self.running(*arguments) as process:
            output, _ = process.communicate(timeout=seconds)
        assert process.returncode == code, output
        return output

    def dvc(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def outs(self) -> dict[str, str]:
        files = (path for out in OUTS for path in (self.folder / out).rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): sha256_of(path) for path in files if path.name != ".gitignore"
        }

    def ran(self) -> dict[str, str]:
        """Every stage's log, by name; it changes when the stage runs."""
        return {path.relative_to(self.folder / "logs").as_posix(): sha256_of(path) for path in self.logs()}

    def logs(self) -> list[Path]:
        return list((self.folder / "logs").rglob("*.json"))

    def mlflow(self) -> list[Any]:
        """All runs but the parents."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return [run for run in client.search_runs(ids) if run.info.run_name != "pipeline"]


def found(folder: Path, pattern: str) -> list[Path]:
    """The files below; none at a moment at which a stage takes its folder away."""
    with suppress(FileNotFoundError):
        return list(folder.rglob(pattern))
    return []
