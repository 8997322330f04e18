"""The data of `absld evaluate`: when they are fetched, with real DVC, and that whoever trains is in nobody's way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from absld.errors import InputError
from pipeline import dvc
from pipeline.evaluate import Model, _are_fetched, run
from pipeline.settings import edited
from stages.contracts import FETCH_DATA
from stages.opening import listing, open_stage

ROOT = Path(__file__).parents[1]
OUTS = list(FETCH_DATA.writes.values())
DVC_YAML = f"""
stages:
  fetch_data: {{cmd: 'echo >> fetched; mkdir -p data/dataset; for out in {" ".join(OUTS)}; do echo $out > $out; done',
    deps: [code/fetch_data.sha256], params: [data], outs: [{", ".join(OUTS)}]}}
  train: {{cmd: 'touch begun; sleep 100', deps: [{OUTS[0]}], outs: [trained]}}
"""


def listed(root: Path, *settings: str) -> None:
    """The list of code that all of DVC's decisions begin with, after params.yaml was changed."""
    params = root / "params.yaml"
    params.write_text(edited(params.read_text(encoding="utf-8"), settings), encoding="utf-8")
    stage = open_stage(FETCH_DATA, root)
    stage.reads["code"].write_text(listing(stage.code, stage.resolved))


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose data are fetched; to evaluate a model leaves a file."""
    root = tmp_path_factory.mktemp("fetched") / "project"
    for name in ("stages", "code", ".dvc"):
        (root / name).mkdir(parents=True)
    for name in ("__init__", "fetch_data"):
        (root / "stages" / f"{name}.py").touch()
    (root / "stages/evaluate_model.py").write_text("open('attacked', 'w').close()\n")
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    (root / "dvc.yaml").write_text(DVC_YAML)
    shutil.copy(ROOT / "params.yaml", root)
    listed(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(root.with_name("site")))
        assert dvc.repro(root, ["fetch_data"]).code == 0
    return root


@pytest.fixture
def project(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = Path(shutil.copytree(fetched, tmp_path / "project"))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def training(project: Path) -> Iterator[None]:
    """Meanwhile DVC makes the stage that reads the data."""
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "train"]
    process = subprocess.Popen(command, cwd=project, env=dvc.environment(), start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (project / "begun").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.usefixtures("training")
def test_only_data_that_are_there_are_evaluated_while_others_train(project: Path) -> None:
    model = Model(**{field.name: None for field in fields(Model)} | {"weights": Path("dvc.yaml"), "attacks": ()})
    assert run(project, model) == 0
    (project / "attacked").unlink()
    listed(project, "data.validation_per_class=20")
    with pytest.raises(InputError, match="another command uses this project's files"):
        run(project, model)
    assert not (project / "attacked").exists()
    assert (project / "fetched").read_text().count("\n") == 1


def changed_params(root: Path) -> None:
    (root / "params.yaml").write_text(edited((root / "params.yaml").read_text(), ["data.split_seed=1"]))


def changed_file(root: Path) -> None:
    (root / OUTS[-1]).write_text("another\n")


def no_file(root: Path) -> None:
    (root / OUTS[-1]).unlink()


def listed_but_not_fetched(root: Path) -> None:
    listed(root, "data.split_seed=1")


def no_record(root: Path) -> None:
    (root / "dvc.lock").unlink()


def half_a_record(root: Path) -> None:
    record = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(record[: len(record) // 2])


@pytest.mark.parametrize(
    "change", [changed_params, changed_file, no_file, listed_but_not_fetched, no_record, half_a_record]
)
def test_dvc_is_asked_unless_all_is_as_it_recorded(change: Callable[[Path], None], project: Path) -> None:
    assert _are_fetched(project)
    change(project)
    assert not _are_fetched(project)
