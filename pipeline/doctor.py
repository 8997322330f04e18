"""Can the pipeline work here? A line for everything that matters, with what to do where it does not."""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from absld.errors import InputError
from absld.watch.git import commit_and_dirty, git
from absld.watch.store import database, tracking_uri
from pipeline import dvc, preflight, profiles

PACKAGES = ("absld", "torch", "torchvision", "dvc", "mlflow", "onnx", "onnxruntime", "pyautoattack")
ENOUGH_DISK = 10 * 2**30
"""Bytes: CIFAR-10 with the two teachers, its cache copy and a few runs."""
DISPENSABLE = "mlflow"
"""Without it runs are made all the same, and nobody can look at them in a browser."""


class Line(NamedTuple):
    """What was found out."""

    fine: bool
    text: str
    """Where something is not fine, with what to do."""
    stops: bool = False
    """Whether `absld repro` cannot work so; all else that is not fine is a warning."""


def examine(root: Path) -> Iterator[Line]:
    """Everything, in the order in which it can go wrong. A check that fails itself becomes a line."""
    checks: tuple[Callable[[Path], Iterator[Line]], ...] = (
        _versions, _parameters, _devices, _git, _dvc, _mlflow, _disk, _untracked,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check(root)
        except InputError as error:
            yield Line(False, str(error), stops=True)


def _versions(_: Path) -> Iterator[Line]:
    yield Line(True, f"Python {sys.version.split()[0]}")
    for package in PACKAGES:
        try:
            yield Line(True, f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Line(False, f"{package} is not installed: `make setup`", stops=package != DISPENSABLE)


def _parameters(root: Path) -> Iterator[Line]:
    profiles.configure(root)  # writes nothing, as nothing is to be changed
    yield Line(True, "params.yaml is in order, and what it names is there")


def _devices(root: Path) -> Iterator[Line]:
    found = preflight.devices(root)
    cards = ", ".join(found["cuda"]) or "no GPU; the CPU is used"
    yield Line(True, f"devices: {cards} ({found['threads']} threads)")
    if found["built_for_cuda"] and not found["cuda"] and shutil.which("nvidia-smi"):
        yield Line(False, "there is an NVIDIA driver, but torch sees no GPU: is the driver too old for this torch?")


def _git(root: Path) -> Iterator[Line]:
    if git(root, "rev-parse", "--git-dir") is None:
        if dvc.works_without_git(root):
            yield Line(True, "no git repository, as core.no_scm says: runs are not tied to a commit")
        else:
            mend = "`git init`, or `dvc config --local core.no_scm true`"
            yield Line(False, f"no git repository, and DVC does not work without one: {mend}", stops=True)
        return
    commit, dirty = commit_and_dirty(root)
    if commit is None:
        yield Line(False, "nothing is committed yet: runs are not tied to a commit; `git commit`")
    elif dirty:
        yield Line(False, f"commit {commit[:10]}, with changes that are not committed: runs are tagged dirty")
    else:
        yield Line(True, f"commit {commit[:10]}, clean")


def _dvc(root: Path) -> Iterator[Line]:
    changed = dvc.changed(root)
    if changed:
        yield Line(True, f"dvc: {len(changed)} stages differ from their last run; `absld status` names them")
    else:
        yield Line(True, "dvc: everything is up to date")


def _mlflow(root: Path) -> Iterator[Line]:
    file = database(root)
    if file is None:
        yield Line(True, f"MLflow: {tracking_uri(root)}")
    elif not file.is_file():
        yield Line(True, f"MLflow: {file} will be made")
    else:
        yield _database(file)


def _database(file: Path) -> Line:
    try:
        elsewhere = _artifacts_elsewhere(file)
    except sqlite3.Error as error:
        mend = "if no other command writes to it, move it away, then `absld publish` makes it anew from the files"
        return Line(False, f"MLflow: {file} cannot be read ({error}): {mend}")
    if elsewhere:
        mend = f"delete {file.name} and mlruns/, then `absld publish` makes them anew from the files"
        return Line(False, f"MLflow: its files are looked for in {elsewhere[0]}, so the project was moved: {mend}")
    return Line(True, f"MLflow: {file}")


def _artifacts_elsewhere(file: Path) -> list[str]:
    """MLflow finds artifacts by absolute paths: a project that was moved has lost them without a word."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("select artifact_location from experiments where experiment_id > 0").fetchall()
    here = (file.parent / "mlruns").as_uri()
    return [place for (place,) in rows if place.startswith("file:") and not place.startswith(here)]


def _disk(root: Path) -> Iterator[Line]:
    free = shutil.disk_usage(root).free
    fine, text = free > ENOUGH_DISK, f"disk: {free / 2**30:.0f} GiB free"
    yield Line(fine, text if fine else f"{text}: `dvc gc --workspace` removes what is not in use")


def _untracked(root: Path) -> Iterator[Line]:
    found = git(
        root, "ls-files", "--others", "--exclude-standard", "src", "stages", "pipeline", "params.yaml", "dvc.yaml"
    )
    if found:
        files = found.splitlines()
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        yield Line(False, f"not in git: {', '.join(files[:3])}{more}; other checkouts do not have them: `git add`")
