"""The train stage with several processes: it starts them itself, ends with them, and goes on where they were."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from projects import SMALL, Project
from still_alive import command_of, killed_in_the_end, survivors

from absld.device import pick, processes_of
from absld.errors import InputError
from absld.params.yaml_file import read_yaml
from pipeline.settings import edited

pytestmark = pytest.mark.timeout(900)

LONG = "train.max_epochs=1000"
TWO = (*SMALL, "train.device=cpu", "train.processes=2", "teacher.method.trades.epochs=1", "methods.absld.epochs=1000")
SECONDS = 240


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a teacher that two processes have trained."""
    folder = tmp_path_factory.mktemp("together")
    new = Project.new(folder, TWO)
    for stage in ("fetch_data", "fetch_teacher"):
        subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=new.environment, check=True)
    return new


@pytest.fixture
def train(project: Project, tmp_path: Path) -> Iterator[Callable[..., "Training"]]:
    with ExitStack() as started:

        def start(*settings: str, command: tuple[str, ...] = ()) -> Training:
            params = project.folder / "params.yaml"
            params.write_text(edited(params.read_text(), settings))
            training = Training(project, tmp_path / "said", command)
            started.enter_context(killed_in_the_end(training.process))
            return training

        yield start


class Training:
    """`python -m stages.train absld 0` as it runs."""

    def __init__(self, project: Project, said: Path, command: tuple[str, ...]) -> None:
        self.folder, self.file = project.folder, said
        with said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command, "-m", "stages.train", "absld", "0"],
                cwd=project.folder, env=project.environment, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.file.read_text()

    def members(self) -> list[psutil.Process]:
        """Once all have begun and an epoch is safe."""
        deadline = time.monotonic() + SECONDS
        begun = time.time()
        while not any(path.stat().st_mtime > begun for path in self.folder.glob(".absld/scratch/*/checkpoint.pt")):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.1)
        children = psutil.Process(self.process.pid).children()
        members = [child for child in children if "stages.train" in command_of(child)]
        return sorted(members, key=lambda child: int(child.environ()["RANK"]))

    def end(self) -> int:
        return self.process.wait(SECONDS)


def gone(members: list[psutil.Process]) -> bool:
    return not survivors(members, 20)


@pytest.mark.slow
def test_the_teacher_says_that_two_have_trained_it(project: Project) -> None:
    log = json.loads((project.folder / "logs/pipeline/fetch_teacher.json").read_text())
    assert (log["exit_code"], log["processes"], log["engine"]) == (0, 2, "fast")


@pytest.mark.slow
def test_one_that_is_killed_ends_all_and_the_next_start_goes_on(
    project: Project, train: Callable[..., Training]
) -> None:
    first = train(LONG)
    members = first.members()
    assert len(members) == 2
    members[1].kill()
    assert first.end() == 1
    assert gone(members)
    told = "process 1 of 2, counted from 0, was killed by SIGKILL, so all have ended"
    assert told in first.said
    failure = json.loads((project.folder / ".absld/failure.json").read_text())
    assert (failure["stage"], failure["key"], failure["code"]) == ("train", "absld-s0", 1)
    assert told in failure["message"]

    again = train()
    members = again.members()
    again.process.send_signal(signal.SIGTERM)
    assert again.end() == 143
    assert gone(members)
    assert "absld-s0  epoch 0/" not in again.said

    more = train()
    members = more.members()
    more.process.send_signal(signal.SIGINT)
    assert more.end() == 130
    assert gone(members)


@pytest.mark.slow
def test_none_outlives_the_stage(train: Callable[..., Training]) -> None:
    training = train(LONG)
    members = training.members()
    training.process.kill()
    training.end()
    assert gone(members)


@pytest.mark.slow
def test_it_ends_with_all_outs_and_one_log(project: Project, train: Callable[..., Training]) -> None:
    training = train("train.max_epochs=2")
    assert training.end() == 0, training.said
    folder = project.folder
    state = json.loads((folder / "runs/absld-s0/train/state.json").read_text())
    assert (state["epochs"], state["train"]["processes"]) == (2, 2)
    assert (folder / "runs/absld-s0/train/best.safetensors").exists()
    assert json.loads((folder / "logs/absld-s0/train.json").read_text())["processes"] == 2
    assert training.said.count("epoch 2/2") == 1


@pytest.mark.slow
def test_what_torchrun_has_started_starts_nothing_itself(project: Project, train: Callable[..., Training]) -> None:
    """The number of processes is torchrun's then, and its run ends where the other has begun."""
    training = train(
        "train.max_epochs=1", "train.processes=1", command=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    )  # fmt: skip
    assert training.end() == 0, training.said
    assert json.loads((project.folder / "logs/absld-s0/train.json").read_text())["processes"] == 2
    assert training.said.count("epoch 1/1") == 1


@pytest.mark.slow
def test_a_batch_that_is_too_small_to_be_shared_is_refused(train: Callable[..., Training]) -> None:
    """1,137 images in batches of 568 leave one over."""
    training = train("train.processes=2", "methods.absld.optimiser.batch_size=568")
    assert training.end() == 2
    assert "train: train.processes: 2 processes cannot share a batch of 1" in training.said
    assert "Traceback" not in training.said


def test_auto_is_one_process_on_a_cpu() -> None:
    assert processes_of("auto", pick("cpu")) == 1
    assert processes_of(3, pick("cpu")) == 3


def test_each_process_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    gpu = torch.device("cuda")
    assert processes_of("auto", gpu) == 4
    assert processes_of(2, gpu) == 2
    with pytest.raises(InputError, match=r"train\.processes: 5: each takes a GPU, and torch finds 4"):
        processes_of(5, gpu)


def test_the_profiles_share_by_themselves(root: Path) -> None:
    for profile in root.glob("pipeline/profiles/*.yaml"):
        assert read_yaml(profile)["train"]["processes"] == "auto"


def test_the_script_for_slurm_is_a_script(root: Path) -> None:
    script = root / "docs/slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "torchrun" in text and "-m stages.train" in text
