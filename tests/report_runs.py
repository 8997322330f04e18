"""Runs as the stages leave them, invented: hard classes are hard, absld lifts them. For the tests of the report."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from absld.data.card import Card, write_card
from absld.records.files import write_json
from absld.records.history import Row, write_history
from absld.records.layout import RunKey
from absld.report.inputs import Run, RunFiles

CAT_DOG = ("cat", "dog")
DIGITS = [str(digit) for digit in range(10)]
LOSS_OF = {"clean": 0.0, "fgsm": 0.17, "pgd": 0.22, "cw": 0.24, "aa": 0.26}
SEEDED = {"seed": 0, "chunk": 512}
SETTINGS: dict[str, dict[str, Any]] = {
    "clean": SEEDED,
    "fgsm": {"steps": 1, "step": 0.1, "start": "none", **SEEDED},
    "pgd": {"steps": 20, "step": 0.025, "start": "uniform", **SEEDED},
    "cw": {"steps": 30, "step": 0.025, "start": "uniform", "kappa": 50.0, **SEEDED},
    "aa": {"version": "standard", "standard": True, "implementation": "pyautoattack 0.2.0", "targets": 9, **SEEDED},
}
STRENGTH = {"absld": 0.55, "rslad": 1.0, "trades": 1.15, "adaad": 0.9}
"""How much a method suffers from a hard class."""
CHECKS = {
    "attack_order": "clean 0.9700, fgsm 0.8123, pgd 0.7600, aa 0.7312",
    "square_beats_apgd": "Square broke 0 of 360 images after the gradient attacks; up to 2 are no sign of masking",
    "deterministic": "0 of 360 images had other logits in a second pass",
    "gradient_not_zero": "0 of 360 images have a gradient of zero",
    "huge_eps": "PGD with eps 0.5 leaves 0 of 360 images",
    "transfer": "the teacher's examples fool 31 images, the student's own 97 of 360",
    "logit_scale": "PGD on logits of unit deviation lowers the average from 0.7600 to 0.7590",
}
"""What the evaluation looks at in itself, and what it says of a sound network."""
TRAIN = {"validation": {"eps": 0.1, "step": 0.025, "steps": 7, "start": "uniform"}}
"""The part of train/state.json that all methods share."""
EPS = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2)
STEPS = (1, 2, 5, 10, 20, 50)
STATES = {
    "absld": ("tau_adv", "tau_clean"),
    "absld_adv": ("tau_adv", "tau_clean"),
    "fair_ard": ("weight",),
    "fair_rslad": ("weight",),
    "frl": ("lambda_clean", "lambda_boundary", "lambda_margin"),
    "cfa": ("radius", "beta"),
}
"""What a method keeps by class. iad keeps one number, natural has no attack to have a risk under."""
TWELVE = [
    "natural",
    "sat",
    "trades",
    "rslad",
    "adaad",
    "frl",
    "bat",
    "cfa",
    "fair_ard",
    "fair_rslad",
    "absld",
    "absld_adv",
]


def block(correct: Sequence[int], total: int, classes: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """One attack's block of evaluation.json, from the definitions of docs/files.md."""
    per_class = [count / total for count in correct]
    average, worst = fmean(per_class), min(per_class)
    worst10 = fmean(sorted(per_class)[: max(1, len(classes) // 10)])
    values = {
        "average": average,
        "micro": sum(correct) / (total * len(classes)),
        "worst": worst,
        "worst10": worst10,
        "overall": (average + (worst if len(classes) < 100 else worst10)) / 2,
    }
    nsd = pstdev(per_class) / average if average else None
    return {
        "accuracy": {**values, "nsd": nsd, "per_class": dict(zip(classes, per_class, strict=True))},
        "interval95": {
            **{name: wilson(value, total) for name, value in values.items()},
            "per_class": {name: wilson(value, total) for name, value in zip(classes, per_class, strict=True)},
        },
        "n": total * len(classes),
        "settings": settings,
        "confusion": confusion(correct, total, classes),
    }


def confusion(correct: Sequence[int], total: int, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Of what is wrong half is taken for the next class, the rest for the two after it; zeros are left out."""
    found = {}
    for place, (name, right) in enumerate(zip(classes, correct, strict=True)):
        others = [*classes[place + 1 :], *classes[:place]][:3]
        shares = [*(-(-(total - right) * part // 6) for part in (3, 2)), total][: len(others)]
        row = {name: right}
        for other, share in zip(others, [*shares[:-1], total], strict=True):
            row[other] = min(share, total - sum(row.values()))
        found[name] = {predicted: count for predicted, count in row.items() if count}
    return found


def curves(suffers: float, n: int) -> dict[str, list[dict[str, Any]]]:
    """Accuracy that falls with the radius, and a little with the number of steps."""

    def point(loss: float) -> dict[str, Any]:
        average = 0.97 * math.exp(-2 * loss * (0.6 + 0.4 * suffers))
        return {"average": average, "worst": max(0.0, average - 2.2 * suffers * loss), "n": n}

    return {
        "eps": [
            {"value": eps, "text": f"{eps:g}", **point((eps / 0.2) ** 1.4), "settings": walk(eps=eps, step=eps / 4)}
            for eps in EPS
        ],
        "steps": [
            {"value": steps, **point(0.38 * (1 - 0.5 / steps)), "settings": walk(steps=steps)} for steps in STEPS
        ],
    }


def walk(**changed: float) -> dict[str, Any]:
    """PGD as evaluation.json describes it."""
    return {"eps": 0.1, "step": 0.025, "steps": 20, "start": "uniform", **changed}


def counted(classes: Sequence[str], total: int) -> dict[str, Any]:
    """How many images there are of each class: three times as many to train on as to test."""
    counts = {"train": 3 * total, "validation": total, "test": total}
    return {"counts": {split: dict.fromkeys(classes, n) for split, n in counts.items()}}


def wilson(share: float, n: int, z: float = 1.96) -> list[float]:
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))]


def files_of(root: Path, key: RunKey) -> RunFiles:
    folder = root / "runs" / str(key)
    return RunFiles(
        folder / "train" / "history.csv",
        folder / "train" / "state.json",
        folder / "evaluation" / "evaluation.json",
        folder / "export" / "card.json",
    )


def run_of(method: str, seed: int, correct: Sequence[int], classes: Sequence[str] = CAT_DOG, total: int = 10) -> Run:
    """A run without files and history that has so many correct images of each class, whatever the attack."""
    blocks = {attack: block(correct, total, classes, {}) for attack in ("clean", "pgd", "aa")}
    evaluation = {
        "dataset": "pets",
        "classes": list(classes),
        "threat_model": {"norm": "Linf", "eps": 8 / 255, "eps_text": "8/255"},
        "attacks": blocks,
        "last": {name: blocks[name] for name in ("clean", "pgd")},
        "checks": {"deterministic": {"passed": True, "detail": "fine"}},
        "curves": None,
    }
    card = {
        "student": {"architecture": "resnet18", "parameters": 7},
        "file": {"name": "student.onnx", "bytes": 9, "sha256": "ab" * 32},
        "parity": {"images": 1, "labels_tolerated": 0, "max_difference": 0.0},
        "data": counted(classes, total),
    }
    state = {"best_epoch": 2, "epochs": 3, "select_on": "validation", "state": {}, "settings": {}, "train": TRAIN}
    return Run(RunKey(method, seed), [], state, evaluation, card)


def write_run(root: Path, key: RunKey, classes: Sequence[str] = DIGITS, epochs: int = 6, total: int = 36) -> RunFiles:
    """All that the report reads of one run."""
    files = files_of(root, key)
    draw = np.random.default_rng([key.seed, *key.method.encode()])
    hardness = np.sin(np.arange(len(classes)) * 2.1) ** 2
    suffers = STRENGTH.get(key.method, 1.0)
    accuracy = {}
    for attack, loss in LOSS_OF.items():
        share = 0.97 - loss * (0.6 + 1.3 * suffers * hardness) - 0.05 * hardness + draw.normal(0, 0.015, len(classes))
        if key.method == "natural" and attack != "clean":
            share = np.zeros(len(classes))
        correct = np.clip(np.round(share * total), 0, total).astype(int).tolist()
        accuracy[attack] = block(correct, total, classes, dict(SETTINGS[attack]))
    accuracy["aa"]["settings"]["parts"] = {"square": accuracy["aa"]["accuracy"]["average"]}
    best = max(1, epochs - 3 - key.seed % 3)
    write_json(
        files.evaluation,
        {
            "run": str(key),
            "method": key.method,
            "seed": key.seed,
            "dataset": "digits",
            "n": total * len(classes),
            "classes": list(classes),
            "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
            "attacks": accuracy,
            "last": {name: accuracy[name] for name in ("clean", "pgd")},
            "checks": {name: {"passed": True, "detail": detail} for name, detail in CHECKS.items()},
            "curves": curves(suffers * (1 + 0.02 * key.seed), 5 * len(classes)),
            "provenance": {},
        },
    )
    rows = list(_history(key, classes, hardness, suffers, epochs, draw))
    state = {"method": key.method, "seed": key.seed, "epochs": epochs, "best_epoch": best, "select_on": "validation"}
    last: dict[str, Any] = {name: {} for name in STATES.get(key.method, ())}
    for row in rows:
        if row.quantity in last:
            last[row.quantity][row.class_name] = row.value
    if key.method == "iad":
        last["introspection"] = 0.1
    attack = {"eps": 0.1, "step": 0.025, "steps": 10, "start": "gaussian"}
    settings = {"epochs": epochs} if key.method == "natural" else {"epochs": epochs, "attack": attack}
    write_json(files.state, {**state, "state": last, "settings": settings, "train": TRAIN})
    onnx = {"name": "student.onnx", "bytes": 1_234_567, "sha256": f"{key.seed:064x}"}
    parity = {"images": 2000, "labels_tolerated": 0, "max_difference": 2.5e-6, "sets": {}}
    student = {"architecture": "tiny_resnet16", "parameters": 77_850}
    about = {"run": str(key), "file": onnx, "student": student, "parity": parity, "data": counted(classes, total)}
    write_json(files.card, about)
    write_history(files.history, rows)
    return files


def _history(key: RunKey, classes: Sequence[str], hardness: Any, suffers: float, epochs: int, draw: Any) -> Any:
    state = {name: np.full(len(classes), 0.0 if "lambda" in name else 1.0) for name in STATES.get(key.method, ())}
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        base = 0.5 + 1.6 * (1 - done) ** 2
        wide = suffers * (0.5 + 0.6 * done) if key.method != "absld" else 0.5 - 0.25 * done
        risk_adv = base * (1 + wide * (hardness - hardness.mean())) + draw.normal(0, 0.01, len(classes))
        risk_clean = 0.4 * base * (1 + 1.4 * wide * (hardness - hardness.mean())) + draw.normal(0, 0.004, len(classes))
        pgd = 0.75 - 0.5 * (1 - done) ** 3 - 0.25 * suffers * hardness + draw.normal(0, 0.015, len(classes))
        clean = 0.97 - 0.45 * (1 - done) ** 4 - 0.05 * hardness + draw.normal(0, 0.004, len(classes))
        if key.method == "natural":
            pgd = np.zeros(len(classes))
        for name, value in {
            "train/loss": base,
            "validation/clean_average": clean.mean(),
            "validation/clean_worst": clean.min(),
            "validation/pgd_average": pgd.mean(),
            "validation/pgd_worst": pgd.min(),
        }.items():
            yield Row(epoch, name, "", float(value))
        if key.method == "cfa":
            yield Row(epoch, "averaging/accepted", "", float(epoch > 1))
        if key.method == "iad":
            yield Row(epoch, "state/introspection", "", 0.1)
        by_class = (
            {"risk_adv": risk_adv, "risk_clean": risk_clean} if key.method != "natural" else {"risk_clean": risk_clean}
        )
        for name, values in state.items():
            risk = risk_clean if name.endswith("clean") else risk_adv
            if (key.method, name) != ("absld_adv", "tau_clean"):
                gap = risk - risk.mean()
                values -= 0.1 * (1 if done < 0.75 else 0.1) * gap / abs(gap).max()
                values.clip(0.5 if "tau" in name else -1, 5, out=values)
        for name, values in (by_class | state).items():
            yield from (Row(epoch, name, each, float(value)) for each, value in zip(classes, values, strict=True))


def card(classes: Sequence[str] = DIGITS, total: int = 36) -> Card:
    return Card(
        name="digits",
        classes=list(classes),
        class_names="the digits",
        channels=1,
        size=8,
        counts={split: dict.fromkeys(classes, total) for split in ("train", "validation", "test")},
        sha256={},
        source="scikit-learn's copy of the UCI handwritten digits.",
        licence="CC BY 4.0",
        validation="stratified",
        folder_sha256=None,
    )


def teacher(classes: Sequence[str] = DIGITS, total: int = 36) -> dict[str, Any]:
    accuracy = {
        attack: block([round(share * total)] * len(classes), total, classes, SETTINGS[attack])
        for attack, share in (("clean", 0.95), ("pgd", 0.75))
    }
    return {
        "architecture": "tiny_resnet32",
        "parameters": 699_000,
        "source": "trained here",
        "licence": "that of the data",
        "accuracy": accuracy,
    }


def write_data(root: Path, classes: Sequence[str] = DIGITS) -> None:
    write_card(root / "data" / "dataset" / "card.json", card(classes))
    write_json(root / "models" / "teacher" / "card.json", teacher(classes))
