"""Work that a stage has finished outlives a DVC that could not record it, and nothing else."""

import shutil
import time
from pathlib import Path

import pytest
from projects import SMALL, Project

from absld.records.files import read_json
from stages.contracts import EVALUATE, EXPORT, TRAIN, Stage
from stages.finished import FINISHED, put_aside, take_up
from stages.opening import Opened, open_stage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name in ("src", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def opened(project: Path, stage: Stage = TRAIN, method: str = "rslad", seed: int = 0) -> Opened:
    return open_stage(stage, project, method=method, seed=str(seed))


def work(stage: Opened, text: str = "epoch 3") -> None:
    stage.scratch.mkdir(parents=True)
    (stage.scratch / "checkpoint.pt").write_text(text)


def test_a_stage_that_is_run_again_finds_its_finished_work(project: Path) -> None:
    train = opened(project)
    work(train)
    put_aside(train)
    assert not train.scratch.exists()
    take_up(again := opened(project))
    assert (again.scratch / "checkpoint.pt").read_text() == "epoch 3"
    assert not list((project / FINISHED).iterdir())


def test_unfinished_work_is_newer_than_finished(project: Path) -> None:
    train = opened(project)
    work(train)
    put_aside(train)
    work(train, "epoch 1")
    take_up(train)
    assert (train.scratch / "checkpoint.pt").read_text() == "epoch 1"
    put_aside(train)
    assert [path.read_text() for path in (project / FINISHED).rglob("*.pt")] == ["epoch 1"]


def test_a_stage_forgets_the_finished_work_of_those_before_it(project: Path) -> None:
    stages = [
        opened(project, TRAIN, "rslad", 1),
        opened(project, TRAIN, "rslad", 10),
        opened(project, EVALUATE, seed=1),
    ]
    for stage in stages:
        work(stage)
        put_aside(stage)
    take_up(opened(project, EVALUATE, seed=1))
    names = sorted(path.name.rpartition("-")[0] for path in (project / FINISHED).iterdir())
    assert names == ["train-rslad-s10"], "the evaluation has taken up its own"
    take_up(opened(project, EXPORT, seed=10))
    assert not list((project / FINISHED).iterdir())


def test_what_left_no_work_leaves_nothing(project: Path) -> None:
    take_up(train := opened(project))
    put_aside(train)
    assert not (project / ".absld").exists()


def test_other_settings_do_not_take_it_up(project: Path) -> None:
    train = opened(project)
    work(train)
    put_aside(train)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("max_epochs: null", "max_epochs: 2"))
    take_up(other := opened(project))
    assert not other.scratch.exists()
    assert other.scratch != train.scratch


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_that_dvc_could_not_record_is_not_made_again(tmp_path: Path) -> None:
    project = Project.new(tmp_path / "project", (*SMALL, "runs.methods=[rslad]"))
    with project.running("repro", "train@rslad-0") as process:
        deadline = time.monotonic() + 600
        while not list((project.folder / FINISHED).glob("train-*")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    assert "train@rslad-0" not in (project.folder / "dvc.lock").read_text()
    said = project.absld("repro", "train@rslad-0")
    assert "Running stage 'train@rslad-0'" in said
    assert resumed_after(project) == 3
    assert "train@rslad-0" in (project.folder / "dvc.lock").read_text()
    assert not list((project.folder / ".absld/scratch").glob("train-*"))
    project.absld("repro", "train@rslad-0", "--force")
    assert resumed_after(project) == 0


def resumed_after(project: Project) -> int:
    """The epoch that the last training began after."""
    return int(read_json(project.folder / "logs/rslad-s0/train.json")["resumed_after_epoch"])
