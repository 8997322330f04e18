"""MLflow while a student is trained: its run is found again after a resume and never left RUNNING.

    with training(root, identity(stage)) as live:
        for run in fit(...):
            live.log(run.rows)

The files are the truth. Where MLflow is missing or fails, one line says so and the training goes on: `absld publish`
mirrors the files later.
"""

import math
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from absld.records.history import Row
from absld.watch.epochs import last_epoch, log_epochs
from absld.watch.git import commit_and_dirty
from absld.watch.identity import Identity, identity
from absld.watch.names import ClassNames
from absld.watch.runs import PARENT, Status, describe, find_or_create, mark_stale, set_status
from absld.watch.store import experiment_id, locked, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["Identity", "Live", "identity", "training"]

EVERY = 15.0
"""Seconds between two calls of MLflow: of several short epochs it takes the values at half the price."""


@contextmanager
def training(root: Path, who: Identity, every: float = EVERY) -> Iterator["Live"]:
    """Mirror a training as it goes on, `every` so many seconds.

    Its run ends FINISHED, KILLED when it was told to stop, or FAILED.
    """
    live = Live(root, who, every)
    try:
        live.begin()
        yield live
    except (KeyboardInterrupt, SystemExit):
        live.end("KILLED")
        raise
    except BaseException:
        live.end("FAILED")
        raise
    live.end("FINISHED")


class Live:
    """A run that is being trained. Without MLflow every method does nothing."""

    def __init__(self, root: Path, who: Identity, every: float) -> None:
        self._root, self._who, self._every = root, who, every
        self._client: MlflowClient | None = None
        self._runs: list[str] = []
        """The run and its parent, once they are there."""
        self._logged = 0
        self._rows: Sequence[Row] = ()
        self._sent = -math.inf

    def begin(self) -> None:
        """Find or make the run and its parent and mark them RUNNING."""
        with self._or_without():
            try:
                self._client = client = open_store(self._root)
            except ImportError:
                print("MLflow is not installed: nothing is mirrored", flush=True)
                return
            with locked(self._root):
                parent, run = place(client, self._root, self._who)
            self._runs = [run.info.run_id, parent.info.run_id]
            for run_id in self._runs:
                set_status(client, run_id, "RUNNING")
            describe(client, run, self._who.params, {**self._who.tags, **_here(self._root)})
            self._logged = last_epoch(client, run.info.run_id)

    def log(self, rows: Sequence[Row]) -> None:
        """Mirror the epochs of a history, in the order of their epochs, that are not there yet; soon if not now."""
        self._rows = rows
        if time.monotonic() - self._sent >= self._every:
            self._send()

    def end(self, status: Status) -> None:
        """Say how it ended."""
        self._send()
        if self._client is None:
            return
        with self._or_without():
            for run_id in self._runs:
                set_status(self._client, run_id, status)

    def _send(self) -> None:
        new = list(takewhile(lambda row: row.epoch > self._logged, reversed(self._rows)))[::-1]
        if self._client is None or not new:
            return
        with self._or_without():
            self._logged = log_epochs(self._client, self._runs[0], new, ClassNames.of(new), self._logged)
        self._sent = time.monotonic()

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """A mirror that breaks must not cost the training: it is put away."""
        try:
            yield
        except Exception as error:
            self._client = None
            print(
                f"MLflow fails, the training goes on: {type(error).__name__}: {error}\n"
                "Nothing is lost: `absld publish` mirrors the files later.",
                flush=True,
            )


def place(client: "MlflowClient", root: Path, who: Identity) -> "tuple[Run, Run]":
    """The parent and the run of an identity. Call it `locked`, so that two processes make one of each."""
    experiment = experiment_id(client, root, who.experiment)
    mark_stale(client, experiment)
    parent = find_or_create(client, experiment, PARENT, who.pipeline)
    return parent, find_or_create(client, experiment, who.run, who.fingerprint, parent.info.run_id)


def _here(root: Path) -> dict[str, str]:
    commit, dirty = commit_and_dirty(root)
    code = {"commit": commit, "mlflow.source.git.commit": commit, "dirty": str(dirty).lower()} if commit else {}
    return {"host": socket.gethostname(), **code}
