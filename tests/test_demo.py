"""What `make demo` promises: the profile digits, whole, and what a student without a defence does under the same attacks."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from projects import Project
from scipy.stats import spearmanr

from absld.data.augmentation import batches
from absld.data.dataset import Split, read_split
from absld.data.fetch import fetch
from absld.evaluation.evaluate import evaluate
from absld.networks.zoo import Spec, build
from absld.params.load import load
from absld.params.root import Params
from absld.records.history import read_history
from absld.training.schedule import Schedule
from stages.contracts import CARD, DATA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[1]
RUNS = ("rslad-s0", "absld-s0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the demo has run."""
    project = Project.new(tmp_path_factory.mktemp("demo") / "project", settings=())
    project.absld("repro", "--profile", "digits", seconds=1200)
    return project


@pytest.fixture(scope="module")
def demo(project: Project) -> Path:
    """Its folder."""
    return project.folder


def evaluation(demo: Path, run: str) -> Any:
    return json.loads((demo / "runs" / run / "evaluation/evaluation.json").read_text())


@pytest.mark.parametrize("run", RUNS)
def test_the_students_are_accurate_and_robust(demo: Path, run: str) -> None:
    found = evaluation(demo, run)
    attacks = {name: block["accuracy"]["average"] for name, block in found["attacks"].items()}
    assert all(block["n"] == 360 for block in found["attacks"].values())
    assert found["threat_model"]["eps"] == 0.1
    assert attacks["clean"] >= 0.95
    assert attacks["aa"] >= 0.60
    noise = 2 * (0.25 / 360) ** 0.5
    order = [attacks[name] for name in ("clean", "fgsm", "pgd", "aa")]
    assert all(weaker >= stronger - noise for weaker, stronger in itertools.pairwise(order))
    assert all(check["passed"] for check in found["checks"].values())


def test_compare_says_in_words_what_is_significant(project: Project) -> None:
    said = project.absld("compare", *RUNS)
    assert "AutoAttack, L∞ eps 0.1, n = 360" in " ".join(said.split())
    assert "significant" in said


def test_a_harder_class_has_a_lower_temperature(demo: Path) -> None:
    rows = read_history(demo / "runs/absld-s0/train/history.csv")
    names = sorted({row.class_name for row in rows if row.quantity == "tau_adv"})
    risk = [np.mean([r.value for r in rows if r.quantity == "risk_adv" and r.class_name == name]) for name in names]
    last = max(row.epoch for row in rows)
    tau = [
        next(r.value for r in rows if (r.epoch, r.quantity, r.class_name) == (last, "tau_adv", name)) for name in names
    ]
    assert len(names) == 10
    assert spearmanr(risk, tau).statistic < 0


def test_a_student_trained_on_clean_images_alone_is_not_robust(tmp_path: Path) -> None:
    params = load(ROOT / "params.yaml")
    paths = {name: tmp_path / path for name, path in {**DATA, **CARD}.items()}
    fetch(params.data, ROOT, paths)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build(Spec("tiny_resnet8", 10, 1, 8, None))
    train(network, read_split(paths["train_x"], paths["train_y"]), params)
    test = read_split(paths["test_x"], paths["test_y"])
    classes = [str(digit) for digit in range(10)]
    found = evaluate(network, network, test, classes, params.evaluate).attacks
    assert found["clean"]["accuracy"]["average"] >= 0.95
    assert found["aa"]["accuracy"]["average"] <= 0.15


def train(network: torch.nn.Module, split: Split, params: Params) -> None:
    """Cross-entropy on clean images, with the schedule and the augmentation that the students have."""
    recipe, generator = params.methods.rslad, torch.Generator().manual_seed(0)
    schedule = Schedule(tuple(recipe.milestones), recipe.decay)
    x, y = torch.from_numpy(split.x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(split.y.copy())
    optimiser = torch.optim.SGD(network.parameters(), lr=recipe.optimiser.lr, momentum=0.9, weight_decay=2e-4)
    for epoch in range(1, recipe.epochs + 1):
        for group in optimiser.param_groups:
            group["lr"] = recipe.optimiser.lr * schedule.before(epoch)
        for images, labels in batches(x, y, recipe.optimiser.batch_size, params.train.augmentation, generator):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimiser.step()
    network.eval().requires_grad_(False)
