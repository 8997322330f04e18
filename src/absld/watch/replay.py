"""MLflow from the files: for stages that DVC restored from its cache, and for all that is known only at the end.

Doing it twice changes nothing: a run remembers, by sha256, which files it was told.
"""

import json
import math
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from absld.records.files import read_json, sha256_of
from absld.records.history import read_history
from absld.watch.epochs import log_epochs
from absld.watch.finals import (
    CHECK,
    VARIANT,
    metrics_of,
    metrics_of_summary,
    metrics_of_variants,
    table_of,
    tags_of_checks,
    tags_of_variants,
)
from absld.watch.identity import Identity
from absld.watch.mlflow_mirror import place
from absld.watch.model import logged_model
from absld.watch.names import ClassNames
from absld.watch.notes import note_of
from absld.watch.runs import alive, describe, set_status
from absld.watch.store import locked, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TOLD = "absld.told"
"""The tag that remembers: name of a file to its sha256."""


@dataclass(frozen=True)
class Files:
    """What lies on disk of a run. A file that is missing, or older than what it is made from, is None."""

    history: Path
    log: Path
    """logs/<key>/train.json, which may be missing."""
    evaluation: Path | None
    student: Path | None
    card: Path | None
    card_text: Path | None
    params: Path | None
    """params.yaml as others may see it, where all files are of what it says."""
    variants: Path | None
    """The folder of the smaller files."""


@dataclass(frozen=True)
class Report:
    """What lies on disk of the report."""

    summary: Path
    summary_text: Path
    figures: Path
    """A folder."""


def replay(root: Path, runs: Sequence[tuple[Identity, Files]], report: Report | None) -> None:
    """Mirror finished runs and the report.

    Raises:
        ImportError: MLflow is not installed.
        mlflow.exceptions.MlflowException: the store cannot be used.

    """
    client = open_store(root)
    parents: dict[str, Run] = {}
    for who, files in runs:
        with locked(root):
            parent, run = place(client, root, who)
        parents[parent.info.run_id] = parent
        if not _being_trained(run):
            _replay_run(client, run, who, files)
    for parent in parents.values():
        if not _being_trained(parent):
            set_status(client, parent.info.run_id, "FINISHED")
        if report is not None:
            _replay_report(client, parent, report)


def _being_trained(run: "Run") -> bool:
    """Whether another process is at it; of another machine's nobody here can tell whether it still lives."""
    tags, here = run.data.tags, socket.gethostname()
    elsewhere = tags.get("absld.host", here) != here
    return run.info.status == "RUNNING" and (elsewhere or (tags.get("absld.pid") != str(os.getpid()) and alive(run)))


def _replay_run(client: "MlflowClient", run: "Run", who: Identity, files: Files) -> None:
    run_id = run.info.run_id
    set_status(client, run_id, "FINISHED")  # first: being told to stop now must not leave it RUNNING
    rows = read_history(files.history)
    names = ClassNames.of(rows)
    describe(client, run, who.params, {**who.tags, **_provenance(files.log, who.fingerprint)})
    log_epochs(client, run_id, rows, names)
    paths = {"history.csv": files.history, "evaluation.json": files.evaluation, "card.json": files.card}
    paths |= {"card.md": files.card_text, "student.onnx": files.student, "params.yaml": files.params}
    paths |= _smaller(files.variants)
    for name, path in _untold(client, run, {name: path for name, path in paths.items() if path is not None}):
        if name == "evaluation.json":
            _tell_evaluation(client, run, path)
        if name == "card.json":
            _tell_variants(client, run, path)
        if name == "student.onnx":
            logged_model(client, run, path)
        if name == "card.md":
            _tell_note(client, run_id, path)
        client.log_artifact(run_id, str(path), str(Path(name).parent) if "/" in name else None)
    if names.changed:
        client.log_dict(run_id, names.changed, "class_names.json")


def _replay_report(client: "MlflowClient", parent: "Run", report: Report) -> None:
    figures = {f"figures/{path.name}": path for path in sorted(report.figures.glob("*.svg"))}
    paths = {"summary.json": report.summary, "summary.md": report.summary_text, **figures}
    for name, path in _untold(client, parent, paths):
        if name == "summary.json":
            _tell_metrics(client, parent, metrics_of_summary(read_json(path)), gone=())
        if name == "summary.md":
            _tell_note(client, parent.info.run_id, path)
        client.log_artifact(parent.info.run_id, str(path), "figures" if name in figures else None)


def _untold(client: "MlflowClient", run: "Run", paths: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """The files that the run was not told of yet. Each is remembered once the caller is done with it."""
    told = json.loads(run.data.tags.get(TOLD, "{}"))
    for name, path in paths.items():
        sha256 = sha256_of(path)[:16]
        if told.get(name) != sha256:
            yield name, path
            told[name] = sha256
            client.set_tag(run.info.run_id, TOLD, json.dumps(told, sort_keys=True))


def _tell_evaluation(client: "MlflowClient", run: "Run", path: Path) -> None:
    evaluation = read_json(path)
    _tell_metrics(
        client, run, metrics_of(evaluation), gone=("clean/", "fgsm/", "pgd/", "cw/", "aa/", "summary/", "last/")
    )
    tags = {
        "eps": evaluation["threat_model"]["eps_text"],
        "mlflow.loggedArtifacts": json.dumps([{"path": "classwise.json", "type": "table"}]),
        **tags_of_checks(evaluation),
    }
    _tell_tags(client, run, tags, CHECK)
    with tempfile.TemporaryDirectory() as folder:  # written whole: log_table would add rows to those that are there
        table = Path(folder) / "classwise.json"
        table.write_text(json.dumps(table_of(evaluation)), encoding="utf-8")
        client.log_artifact(run.info.run_id, str(table))


def _smaller(folder: Path | None) -> dict[str, Path]:
    return {f"variants/{path.name}": path for path in sorted(folder.iterdir())} if folder else {}


def _tell_variants(client: "MlflowClient", run: "Run", path: Path) -> None:
    """The numbers of the smaller files, which the card has side by side."""
    variants = read_json(path).get("variants")
    _tell_metrics(client, run, metrics_of_variants(variants), gone=("variants/",))
    _tell_tags(client, run, tags_of_variants(variants), VARIANT)


def _tell_tags(client: "MlflowClient", run: "Run", tags: Mapping[str, str], prefix: str) -> None:
    """Set tags; those that begin with `prefix` and are no longer said vanish."""
    for key in run.data.tags:
        if key.startswith(prefix) and key not in tags:
            client.delete_tag(run.info.run_id, key)
    describe(client, run, {}, tags)


def _tell_metrics(client: "MlflowClient", run: "Run", metrics: Mapping[str, float], gone: tuple[str, ...]) -> None:
    """Log final numbers. What was measured before under a prefix in `gone` and no longer is becomes NaN."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    lost = {key: math.nan for key in run.data.metrics if gone and key.startswith(gone) and key not in metrics}
    points = [Metric(key, value, now, 0) for key, value in {**metrics, **lost}.items()]
    for start in range(0, len(points), 1000):
        client.log_batch(run.info.run_id, metrics=points[start : start + 1000])


def _tell_note(client: "MlflowClient", run_id: str, path: Path) -> None:
    """The description on the run's page."""
    client.set_tag(run_id, "mlflow.note.content", note_of(path.read_text(encoding="utf-8"), path.name))


def _provenance(log: Path, fingerprint: str) -> dict[str, str]:
    """Commit and machine, if the log is that of this very result: DVC may have restored another one."""
    if not log.is_file() or (said := read_json(log)).get("fingerprint") != fingerprint:
        return {}
    known = {
        "commit": said["commit"],
        "dirty": str(said["dirty"]).lower(),
        "device": said["device"],
        "host": said["host"],
    }
    return {key: value for key, value in known.items() if value is not None}
