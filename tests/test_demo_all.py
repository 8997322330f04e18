"""What `make demo-all` promises: twelve methods in one `absld repro`, each trained enough to be judged."""

import json
import re
from pathlib import Path

import pytest
from projects import Project

from absld.records.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[1]
QUICK = ("evaluate.attacks.fgsm=null", "evaluate.attacks.cw=null", "evaluate.attacks.aa=null")
"""PGD alone: AutoAttack on the same students is what `make demo-all` has besides."""


def twelve() -> list[str]:
    (line,) = re.findall(r"^TWELVE := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    return str(line).split(", ")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all twelve have run."""
    project = Project.new(tmp_path_factory.mktemp("demo_all") / "project", settings=QUICK)
    project.absld("repro", "--set", f"runs.methods=[{', '.join(twelve())}]", seconds=2300)
    return project.folder


def test_the_papers_methods_are_among_them() -> None:
    paper = {"natural", "sat", "trades", "rslad", "adaad", "frl", "bat", "cfa", "fair_ard", "fair_rslad", "absld"}
    assert set(twelve()) == paper | {"absld_adv"}


@pytest.mark.parametrize("method", twelve())
def test_every_robust_method_is_robust(demo: Path, method: str) -> None:
    found = json.loads((demo / f"runs/{method}-s0/evaluation/evaluation.json").read_text())["attacks"]
    assert found["clean"]["accuracy"]["average"] > 0.9
    robust = found["pgd"]["accuracy"]["average"]
    assert robust < 0.4 if method == "natural" else robust > 0.5


def test_the_report_shows_all_twelve(demo: Path) -> None:
    summary = json.loads((demo / "reports/summary.json").read_text())
    assert list(summary["methods"]) == twelve()
    for name in ("cfa", "fair_ard", "fair_rslad", "frl", "absld"):
        assert (demo / f"reports/figures/state_{name}.svg").is_file()


def test_a_class_that_resists_less_weighs_more(demo: Path) -> None:
    rows = [row for row in read_history(demo / "runs/fair_rslad-s0/train/history.csv") if row.class_name]
    last = max(row.epoch for row in rows)
    at = {(row.epoch, row.quantity, row.class_name): row.value for row in rows}
    names = sorted({row.class_name for row in rows})
    kappa = {name: at[last - 1, "kappa", name] for name in names}
    weight = {name: at[last, "weight", name] for name in names}
    assert weight[min(names, key=kappa.__getitem__)] == max(weight.values())
    assert weight[max(names, key=kappa.__getitem__)] == min(weight.values())
