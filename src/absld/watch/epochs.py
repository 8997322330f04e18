"""The one door through which epochs reach MLflow: live, after a resume and in a replay."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from absld.records.history import Row
from absld.watch.names import ClassNames

if TYPE_CHECKING:
    from mlflow import MlflowClient

MARK = "train/loss"
"""The quantity every epoch has. It is sent last, so that an epoch that has it is there completely."""
LARGEST_BATCH = 1000
"""Metrics that MLflow takes in one call."""


def log_epochs(
    client: "MlflowClient", run_id: str, rows: Iterable[Row], names: ClassNames, last: int | None = None
) -> int:
    """Log the epochs beyond the last one logged, in as few calls as MLflow takes.

    A metric's epochs go in one call where they can: MLflow looks up the newest value of each metric of a call, which
    costs as much as writing a value.

    Args:
        client: of the store.
        run_id: the run's.
        rows: of the history.
        names: the classes' names.
        last: the number of the last epoch that is logged; None: MLflow is asked.

    Returns:
        The number of the last epoch that is logged now.

    """
    if last is None:
        last = last_epoch(client, run_id)
    new = [row for row in rows if row.epoch > last]
    new.sort(key=lambda row: (row.quantity == MARK, row.key, row.epoch))
    for start in range(0, len(new), LARGEST_BATCH):
        _send(client, run_id, new[start : start + LARGEST_BATCH], names)
    return max((row.epoch for row in new), default=last)


def last_epoch(client: "MlflowClient", run_id: str) -> int:
    """The number of the last epoch that is there completely; 0: none."""
    return max((point.step for point in client.get_metric_history(run_id, MARK)), default=0)


def _send(client: "MlflowClient", run_id: str, rows: Sequence[Row], names: ClassNames) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [Metric(names.key(row.quantity, row.class_name), row.value, now, row.epoch) for row in rows]
    client.log_batch(run_id, metrics=points)
