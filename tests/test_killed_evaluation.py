"""kill -9 at five random points of a real evaluation: what is written in the end is what an undisturbed one writes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import SMALL, Project
from still_alive import descendants, killed_in_the_end, survivors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 600
KILLS = 5
CIFAR10 = (
    *SMALL,
    "data={source: image-folder, name: null, root: images, image_size: 32, channels: 3, validation_per_class: 10, train_per_class: null, split_seed: 0}",
    "evaluate.eps=8/255",
    "evaluate.attacks.cw.n=null",
    "evaluate.chunk=25",
    "evaluate.curves.n=20",
)


def trained(folder: Path, settings: tuple[str, ...], images: Callable[[Path], None] | None = None) -> Project:
    """A project with one trained student that nobody has attacked yet."""
    project = Project.new(folder, settings)
    if images is not None:
        images(project.folder / "images")
    project.absld("repro", "train@rslad-0")
    return project


def real_images(folder: Path) -> None:
    """CIFAR-10: 40 training images and 20 test images of each class."""
    parts = os.environ["ABSLD_TEST_DATA"]
    subprocess.run([sys.executable, Path(parts) / "unpack.py", folder.parent / "npz", "--format", "npz"], check=True)
    with np.load(folder.parent / "npz/cifar10.npz") as arrays:
        for part, n in (("train", 40), ("test", 20)):
            x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
            for label in range(10):
                place = folder / part / str(label)
                place.mkdir(parents=True)
                for number, pixels in enumerate(x[y == label][:n]):
                    Image.fromarray(pixels).save(place / f"{number}.png")


class Evaluation:
    """The stage `evaluate` as a process of its own."""

    def __init__(self, project: Project, process: "subprocess.Popen[str]") -> None:
        self.scratch = project.folder / ".absld/scratch"
        self.written = project.folder / "runs/rslad-s0/evaluation"
        self.process = process

    @classmethod
    @contextmanager
    def begun(cls, project: Project) -> Iterator["Evaluation"]:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.evaluate", "rslad", "0"],
            cwd=project.folder, env=project.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        with killed_in_the_end(process):
            yield cls(project, process)

    def chunks(self) -> dict[Path, int]:
        """The finished chunks, each with the time it was written, in nanoseconds."""
        return {path: path.stat().st_mtime_ns for path in self.scratch.rglob("*.npz")}

    def until(self, chunks: int) -> int:
        """Wait for so many finished chunks, or for the end. Returns how many were seen."""
        deadline, seen = time.monotonic() + SECONDS, 0
        while self.process.poll() is None and seen < chunks:
            assert time.monotonic() < deadline
            try:
                seen = max(seen, len(self.chunks()))
            except FileNotFoundError:  # it has ended, and takes its scratch folder away
                continue
            time.sleep(0.005)
        return seen

    def killed(self) -> None:
        """Nobody is asked to say goodbye, and the helpers are left to find out for themselves."""
        helpers = descendants(self.process)
        self.process.kill()
        self.process.communicate(timeout=60)
        assert self.process.returncode == -signal.SIGKILL
        assert not survivors(helpers, 60)

    def ended(self) -> dict[str, bytes]:
        """What it wrote."""
        said, _ = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, said
        assert not self.chunks()
        return {path.name: path.read_bytes() for path in self.written.iterdir() if path.suffix in (".json", ".npz")}


def survives_five_kills(project: Project) -> None:
    with Evaluation.begun(project) as undisturbed:
        chunks = undisturbed.until(sys.maxsize)
        expected = undisturbed.ended()
    assert set(expected) == {"evaluation.json", "verdicts.npz", "adversarial.npz"}
    assert chunks > 2 * KILLS
    for path in undisturbed.written.iterdir():
        path.unlink()
    points, before = random.Random(7), dict[Path, int]()
    for point in sorted(points.sample(range(int(0.7 * chunks)), KILLS)):
        with Evaluation.begun(project) as evaluation:
            evaluation.until(point)
            time.sleep(points.uniform(0, 0.2))
            evaluation.killed()
        kept = evaluation.chunks()
        assert len(kept) >= point
        assert before.items() <= kept.items()  # nothing that was finished is done again
        assert not list(evaluation.written.iterdir())
        before = kept
    with Evaluation.begun(project) as last:
        assert last.ended() == expected


def test_on_digits(tmp_path: Path) -> None:
    survives_five_kills(trained(tmp_path / "project", SMALL))


@pytest.mark.skipif(
    "ABSLD_TEST_DATA" not in os.environ,
    reason="ABSLD_TEST_DATA is not set: it names the folder that holds unpack.py and the parts of CIFAR-10",
)
def test_on_200_real_images(tmp_path: Path) -> None:
    project = trained(tmp_path / "project", CIFAR10, real_images)
    survives_five_kills(project)
    evaluation = (project.folder / "runs/rslad-s0/evaluation/evaluation.json").read_text()
    assert '"n": 200' in evaluation
