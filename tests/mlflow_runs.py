"""A run as the stages leave it, invented, and what MLflow knows of a project. For the tests of the mirror."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from absld.records.files import write_json
from absld.records.history import Row, write_history
from absld.watch.identity import Identity
from absld.watch.replay import Files, Report
from absld.watch.store import tracking_uri

CLASSES = ("cat", "dog", "ship (big)")
WHO = Identity(
    experiment="digits-tiny_resnet16",
    run="absld-s0",
    fingerprint="f" * 64,
    pipeline="p" * 64,
    params={"method": {"name": "absld", "alpha": 0.8, "milestones": [1, 2]}, "seed": 0},
    tags={"dataset": "digits"},
)
IN_TRAINING = """
import os, sys
from pathlib import Path
from absld.watch.mlflow_mirror import Identity, training
with training(Path({root!r}), Identity("digits-tiny_resnet16", {run!r}, {fingerprint!r}, "p" * 64, {{}}, {{}})):
    {body}
"""
"""A process that trains `run` and does `body` meanwhile."""


def new_project(folder: Path, migrated: Path, patch: pytest.MonkeyPatch) -> Path:
    """An empty project with an MLflow database of its own, whatever the environment says."""
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = folder / "a project"
    root.mkdir()
    shutil.copy(migrated, root / "mlflow.db")
    return root


def epoch(number: int, classes: tuple[str, ...] = CLASSES) -> list[Row]:
    return [
        Row(number, "train/loss", "", 1 / number),
        Row(number, "validation/pgd_worst", "", 0.1 * number),
        *(Row(number, "tau_adv", name, number + index / 10) for index, name in enumerate(classes)),
    ]


def history(epochs: int) -> list[Row]:
    return [row for number in range(1, epochs + 1) for row in epoch(number)]


def outcome(*by_class: float) -> dict[str, Any]:
    average, worst = sum(by_class) / len(by_class), min(by_class)
    spread = math.sqrt(sum((value - average) ** 2 for value in by_class) / len(by_class))
    measures = {"average": average, "worst": worst, "worst10": worst, "overall": (average + worst) / 2}
    accuracy = {**measures, "nsd": spread / average if average else None}
    return {"accuracy": {**accuracy, "per_class": dict(zip(CLASSES, by_class, strict=True))}, "n": 30}


def an_evaluation(red: tuple[str, ...] = (), **attacks: Any) -> dict[str, Any]:
    names = ("attack_order", "deterministic", *red)
    return {
        "run": "absld-s0",
        "dataset": "digits",
        "classes": list(CLASSES),
        "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
        "attacks": {"clean": outcome(1.0, 0.5, 0.75), **attacks},
        "last": {"clean": outcome(1.0, 0.5, 0.5)},
        "checks": {name: {"passed": name not in red, "detail": "as it is"} for name in names},
    }


def an_onnx_file(path: Path) -> None:
    """logits = x flattened, times a matrix; the batch is dynamic."""
    weights = np.arange(768, dtype=np.float32).reshape(256, 3)  # small ones are never kept outside of the file
    make = onnx.helper
    graph = make.make_graph(
        [make.make_node("Flatten", ["x"], ["flat"]), make.make_node("MatMul", ["flat", "w"], ["logits"])],
        "student",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=10), path)


def write_run(root: Path) -> Files:
    folder = root / "runs" / "absld-s0"
    folder.mkdir(parents=True)
    found = Files(
        history=folder / "history.csv",
        log=folder / "train.json",
        evaluation=folder / "evaluation.json",
        student=folder / "student.onnx",
        card=folder / "card.json",
        card_text=folder / "card.md",
        params=root / "params.yaml",
        variants=folder / "variants",
    )
    write_history(found.history, history(3))
    write_json(
        found.log, {"fingerprint": WHO.fingerprint, "commit": "abc", "dirty": True, "device": "cpu", "host": "here"}
    )
    write_json(folder / "evaluation.json", an_evaluation(pgd=outcome(0.5, 0.25, 0.75)))
    an_onnx_file(folder / "student.onnx")
    write_json(folder / "card.json", {"run": "absld-s0"})
    (folder / "card.md").write_text("# absld-s0\n")
    (root / "params.yaml").write_text("runs: {methods: [absld], seeds: [0]}\n")
    write_json(folder / "variants/variants.json", {"fp16": None, "int8": None})
    return found


def write_report(root: Path) -> Report:
    figures = root / "reports" / "figures"
    figures.mkdir(parents=True)
    (figures / "bars.svg").write_text("<svg/>")
    (root / "reports" / "summary.md").write_text("# All\n")
    mean = {
        name: {"mean": value} for name, value in (("average", 0.5), ("worst", 0.25), ("overall", 0.375), ("nsd", None))
    }
    write_json(root / "reports" / "summary.json", {"methods": {"absld": {"pgd": mean}}, "runs": {"absld-s0": {}}})
    return Report(root / "reports" / "summary.json", root / "reports" / "summary.md", figures)


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(root))


def runs_of(root: Path) -> dict[str, Run]:
    """Every run of the project, deleted ones not; names are unique in these tests."""
    client = client_of(root)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def points_of(root: Path, run: str) -> list[tuple[str, int, float]]:
    """Every point of every metric of a run."""
    found = runs_of(root)[run]
    return sorted(
        (key, point.step, point.value)
        for key in found.data.metrics
        for point in client_of(root).get_metric_history(found.info.run_id, key)
    )


def as_points(rows: list[Row]) -> list[tuple[str, int, float]]:
    return sorted((row.key.replace("(", "_").replace(")", "_"), row.epoch, row.value) for row in rows)


def everything(root: Path) -> dict[str, Any]:
    """All that MLflow knows of a project, but for its own clock."""
    client = client_of(root)
    state: dict[str, Any] = {}
    for name, run in runs_of(root).items():
        run_id = run.info.run_id
        histories = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
        state[name] = {
            "id": run_id,
            "status": (run.info.status, run.info.end_time),
            "tags": run.data.tags,
            "params": run.data.params,
            "points": {
                key: [(p.step, repr(p.value), p.timestamp) for p in points] for key, points in histories.items()
            },
            "artifacts": sorted((file.path, file.file_size) for file in client.list_artifacts(run_id)),
            "models": [model.model_id for model in run.outputs.model_outputs] if run.outputs else [],
        }
    return state
