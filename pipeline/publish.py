"""The files of the pipeline into MLflow: what DVC restored from its cache was logged by nobody."""

import logging
from collections.abc import Container
from pathlib import Path

from absld.params.root import Params
from absld.records.files import read_json
from absld.records.layout import RunKey
from absld.watch.identity import identity
from absld.watch.replay import Files, Report, replay
from absld.watch.runs import mark_stale
from absld.watch.store import database, open_store


def publish(root: Path, params: Params, stale: Container[str]) -> list[str]:
    """Mirror every run whose files are up to date, and the report. Returns the keys of the runs that are not.

    Args:
        root: The project.
        params: Which runs there are.
        stale: Names of DVC's stages whose files are older than what they are made from: they are left out.

    Raises:
        ImportError: MLflow is not installed.
        mlflow.exceptions.MlflowException: the store cannot be used.

    """
    from stages.contracts import REPORT, TRAIN
    from stages.opening import listing, open_stage

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    runs, left_out = [], []
    for key in (RunKey(method, seed) for method in params.runs.methods for seed in params.runs.seeds):
        train = open_stage(TRAIN, root, method=key.method, seed=str(key.seed))
        code = train.reads["code"]
        made = all(path.is_file() for path in (*train.writes.values(), *train.reads.values()))
        if not made or _item(TRAIN.name, key) in stale or code.read_text() != listing(train.code, train.resolved):
            left_out.append(str(key))
            continue
        runs.append((identity(train), _files(root, key, stale)))
    if runs:
        replay(root, runs, None if REPORT.name in stale else _report(root, {who.run for who, _ in runs}))
    return left_out


def settle(root: Path) -> None:
    """Say KILLED in MLflow for stages that had to be killed and could not say so themselves."""
    file = database(root)
    if file is None or file.is_file():
        mark_stale(open_store(root))


def _files(root: Path, key: RunKey, stale: Container[str]) -> Files:
    from stages.contracts import EVALUATE, EXPORT, TRAIN

    def up_to_date(stage: str, path: str) -> Path | None:
        file = root / path.format(method=key.method, seed=key.seed)
        return file if _item(stage, key) not in stale and file.is_file() else None

    evaluation = up_to_date(EVALUATE.name, EVALUATE.writes["evaluation"])
    exported = {
        name: up_to_date(EXPORT.name, EXPORT.writes[name]) if evaluation is not None else None
        for name in ("student", "card", "card_text")
    }
    return Files(
        history=root / TRAIN.writes["history"].format(method=key.method, seed=key.seed),
        log=root / "logs" / str(key) / f"{TRAIN.name}.json",
        evaluation=evaluation,
        **exported,
    )


def _report(root: Path, runs: set[str]) -> Report | None:
    """The report, if it is about these runs."""
    from stages.contracts import REPORT

    summary, text, figures = (root / REPORT.writes[name] for name in ("summary", "summary_text", "figures"))
    return Report(summary, text, figures) if summary.is_file() and set(read_json(summary)["runs"]) == runs else None


def _item(stage: str, key: RunKey) -> str:
    """DVC's name of one item of a matrix."""
    return f"{stage}@{key.method}-{key.seed}"
