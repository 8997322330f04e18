"""Where MLflow keeps its records, opened so that two first starts at once do not break the database."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from absld.records.files import replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
LOCK_SECONDS = 300


def tracking_uri(root: Path) -> str:
    """The environment's MLFLOW_TRACKING_URI, else the project's own database. SQLite paths are made absolute.

    A relative path would mean another database in every working directory.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        return uri
    return f"{SQLITE}{(root.resolve() / uri.removeprefix(SQLITE))}"


def database(root: Path) -> Path | None:
    """The SQLite file; None where the records lie elsewhere."""
    uri = tracking_uri(root)
    return Path(unquote(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One process of this project at a time: the first creates the tables, or the run, and the second finds them."""
    from filelock import FileLock

    folder = root / ".absld"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "mlflow.lock", timeout=LOCK_SECONDS):
        yield


def open_store(root: Path) -> "MlflowClient":
    """A client of the store; the database and its tables are made if there are none.

    Raises:
        ImportError: MLflow is not installed.
        mlflow.exceptions.MlflowException: the store cannot be reached, or an older MLflow made it.

    """
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow.store.db.utils"):  # a line for each of 50 migrations
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with locked(root):
        if (file := database(root)) is not None and not file.exists():
            _create(file, tracking_uri(root))
        client = MlflowClient(tracking_uri(root))
        client.search_experiments(max_results=1)
    return client


def _create(file: Path, uri: str) -> None:
    """Make the tables in a file apart, without waiting for the disk at each of 160 commits: seconds become one."""
    from mlflow import MlflowClient
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def without_waiting(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", without_waiting)
    try:
        with replacing(file) as part:
            MlflowClient(f"{uri.rpartition('/')[0]}/{part.name}").search_experiments(max_results=1)
    finally:
        event.remove(Engine, "connect", without_waiting)


def experiment_id(client: "MlflowClient", root: Path, name: str) -> str:
    """The experiment of that name, made if there is none and brought back if it was deleted. Call it `locked`."""
    found = client.get_experiment_by_name(name)
    if found is None:
        file = database(root)
        artifacts = (file.parent / "mlruns").as_uri() if file else None  # beside the database, wherever we were started
        return str(client.create_experiment(name, artifact_location=artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
