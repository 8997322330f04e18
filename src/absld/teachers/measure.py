"""How robust a teacher is, before anything is distilled from it."""

from typing import Any

from torch import nn

from absld.attacks.linf_walk import LinfWalk
from absld.data.card import Card
from absld.data.dataset import Split
from absld.evaluation.measure import measure
from absld.evaluation.refusals import naming
from absld.evaluation.telling import OnProgress, silent
from absld.records.numbers import number_text
from absld.statistics.intervals import intervals95
from absld.statistics.metrics import accuracies

STEPS, SEED, CHUNK = 20, 0, 512


def measure_teacher(
    model: nn.Module, split: Split, card: Card, eps: float, on_progress: OnProgress = silent
) -> dict[str, Any]:
    """Clean and PGD-20 accuracy by class, as blocks of evaluation.json; the step is a quarter of `eps`."""
    walk = LinfWalk(eps=eps, step=eps / 4, steps=STEPS, start="uniform")
    with naming("the teacher"):
        tables = measure(model, split, len(card.classes), walk, seed=SEED, chunk=CHUNK, on_progress=on_progress)
    settings: dict[str, dict[str, Any]] = {
        "clean": {},
        "pgd": {"eps": eps, "eps_text": number_text(eps), "steps": STEPS, "step": walk.step, "start": walk.start},
    }
    return {
        attack: {
            "accuracy": accuracies(table, card.classes),
            "interval95": intervals95(table, card.classes, SEED),
            "n": int(table.total.sum()),
            "settings": {**settings[attack], "seed": SEED, "chunk": CHUNK},
        }
        for attack, table in tables.items()
    }
