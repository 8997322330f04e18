"""Runs with verdicts, invented, as their stages leave them and as `absld keep` keeps them. For the tests of the results."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report_runs import SETTINGS, block, teacher, write_run

from absld.data.card import write_card
from absld.evaluation.arrays import write_npz
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.report.inputs import RunFiles
from pipeline.kept import FILES, MADE, PARAMS
from pipeline.results.page import FOLDER, PAGE
from pipeline.results.reading import Results, read_results

CLASSES = ["cat", "dog", "fox_red", "ship"]
LIFT = {"rslad": 0.0, "absld": 0.1, "absld_product": 0.08, "absld_adv": 0.06, "fair_rslad": 0.04}
"""What a method adds to the hardest class."""
LOSS = {"clean": 0.05, "fgsm": 0.3, "pgd": 0.4, "cw": 0.42, "aa": 0.45}
MADE_AT = {
    "commit": "0123456789abcdef",
    "changed": [],
    "absld": "0.1.0",
    "torch": "2.15.0",
    "python": "3.11.7",
    "device": "cpu",
    "cpus": 2,
    "seconds": {"train": 61.2, "evaluate": 30.0},
}

PROFILE = Path(__file__).parents[1] / "pipeline/profiles/fashion-mnist.yaml"
WALKS = ("clean", "fgsm", "pgd", "cw")
MARKERS = "<!-- results: clothes -->\nold\n<!-- /results: clothes -->\n"

Verdicts = Mapping[str, NDArray[np.bool_]]


def read(folder: Path) -> Results:
    """What is kept there, which must be something."""
    results = read_results(folder)
    assert results is not None
    return results


def invented(key: RunKey, attacks: Sequence[str], per_class: int = 40, classes: Sequence[str] = CLASSES) -> Verdicts:
    """Images that are hard for one student are hard for the others; the first class is hard, AutoAttack meets half."""
    difficulty = np.random.default_rng(0).random((len(classes), per_class))
    noise = np.random.default_rng([key.seed, *key.method.encode()]).normal(0, 0.05, (len(classes), per_class))
    hardness = np.linspace(0.35, 0, len(classes))[:, None] * (1 - LIFT.get(key.method, 0.05) / 0.35)
    found = {attack: difficulty + noise < 1 - LOSS[attack] - hardness for attack in attacks}
    return {attack: (of[:, : per_class // 2] if attack == "aa" else of).ravel() for attack, of in found.items()}


def write_made(root: Path, key: RunKey, verdicts: Verdicts, classes: Sequence[str] = CLASSES) -> RunFiles:
    """The files of a run; `verdicts` of each attack, class by class, of the first images of each class if of fewer."""
    files = write_run(root, key, list(classes), epochs=4)
    y = np.arange(len(classes)).repeat(max(map(len, verdicts.values())) // len(classes))
    arrays: dict[str, NDArray[Any]] = {"y": y}
    blocks = {}
    for attack, survived in verdicts.items():
        total = len(survived) // len(classes)
        if len(survived) < len(y):
            arrays[f"{attack}_index"] = (np.arange(len(y)).reshape(len(classes), -1)[:, :total]).ravel()
        arrays[attack] = survived
        correct = survived.reshape(len(classes), total).sum(axis=1).tolist()
        blocks[attack] = block(correct, total, classes, dict(SETTINGS[attack]))
    evaluation = read_json(files.evaluation) | {
        "n": len(y),
        "attacks": blocks,
        "provenance": {"data_sha256": "ab" * 32},
    }
    write_json(files.evaluation, evaluation)
    write_npz(files.evaluation.with_name("verdicts.npz"), arrays)
    told = {"teacher": {"source": "trained here"}, "provenance": {"absld": "0.1.0"}}
    card = read_json(files.card)
    write_json(files.card, {**card, **told, "data": {**card["data"], "sha256": {"test_x.npy": "cd" * 32}}})
    return files


def write_kept(folder: Path, key: RunKey, verdicts: Verdicts, params: Path, **made: Any) -> Path:
    """The same as `absld keep` leaves it, with its folder's data.json and teacher.json."""
    scratch = folder.parent / "scratch"
    write_made(scratch, key, verdicts)
    place = folder / str(key)
    place.mkdir(parents=True, exist_ok=True)
    for name, path in FILES.items():
        shutil.copy(scratch / path.format(method=key.method, seed=key.seed), place / name)
    shutil.copy(params, place / PARAMS)
    write_json(place / MADE, {"run": str(key), **MADE_AT, **made})
    write_cards(folder / "data.json", folder / "teacher.json")
    shutil.rmtree(scratch)
    return place


def write_cards(data: Path, of_teacher: Path) -> None:
    """The cards of the data and of the teacher."""
    from report_runs import card

    write_card(data, card(CLASSES))
    write_json(data, read_json(data) | {"sha256": {"test_x.npy": "cd" * 32}})
    write_json(of_teacher, {"normalisation": None, "sha256": None, **teacher(CLASSES)})


def counted(*correct: int, of: int = 10) -> NDArray[np.bool_]:
    """So many right of each class, the first ones."""
    return np.concatenate([np.arange(of) < count for count in correct])


def new_project(root: Path) -> Path:
    """Where the runs of a data set are kept, in a project whose page has a place for them."""
    (root / FOLDER).mkdir(parents=True)
    (root / PAGE).write_text(f"# By hand\n\n{MARKERS}\nand after\n", encoding="utf-8")
    return root / FOLDER / "clothes"


def write_many(folder: Path) -> None:
    """Three methods with two seeds and AutoAttack, two with one seed and without."""
    for method in ("rslad", "absld", "absld_product"):
        for seed in (0, 1):
            write_kept(folder, RunKey(method, seed), invented(RunKey(method, seed), (*WALKS, "aa")), PROFILE)
    for method in ("absld_adv", "natural"):
        write_kept(folder, RunKey(method, 0), invented(RunKey(method, 0), WALKS), PROFILE)
