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


def log_epochs(client: "MlflowClient", run_id: str, rows: Iterable[Row], names: ClassNames) -> int:
    """Log the epochs beyond the last one logged, one call an epoch (or as few as MLflow takes).

    Returns:
        The number of the last epoch that is logged now.

    """
    last = last_epoch(client, run_id)
    new = sorted((row for row in rows if row.epoch > last), key=lambda row: (row.epoch, row.quantity == MARK))
    for start in range(0, len(new), LARGEST_BATCH):
        _send(client, run_id, new[start : start + LARGEST_BATCH], names)
    return new[-1].epoch if new else last


def last_epoch(client: "MlflowClient", run_id: str) -> int:
    """The number of the last epoch that is there completely; 0: none."""
    return max((point.step for point in client.get_metric_history(run_id, MARK)), default=0)


def _send(client: "MlflowClient", run_id: str, rows: Sequence[Row], names: ClassNames) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [Metric(names.key(row.quantity, row.class_name), row.value, now, row.epoch) for row in rows]
    client.log_batch(run_id, metrics=points)
