"""MLflow runs that belong to what made them: found by fingerprint, owned by a process, never left RUNNING."""

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
PARENT = "pipeline"


def find_or_create(
    client: "MlflowClient", experiment: str, name: str, fingerprint: str, parent: str | None = None
) -> "Run":
    """The run of that name and fingerprint; a new one only if there is none. Call it `store.locked`."""
    wanted = f"tags.`absld.fingerprint` = '{fingerprint}' AND tags.`absld.run` = '{name}'"
    found = client.search_runs([experiment], wanted, order_by=["attributes.start_time ASC"], max_results=1)
    if found:
        return found[0]
    tags = {"absld.fingerprint": fingerprint, "absld.run": name, "mlflow.source.name": "absld", **_this_process()}
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    return client.create_run(experiment, tags=tags, run_name=name)


def describe(client: "MlflowClient", run: "Run", params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Log what is not known of the run yet. Parameters are never logged twice: MLflow refuses to change them."""
    from mlflow.entities import Param, RunTag

    new = {key: value for key, value in flat(params).items() if key not in run.data.params}
    changed = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
    if new or changed:
        client.log_batch(
            run.info.run_id,
            params=[Param(key, value) for key, value in new.items()],
            tags=[RunTag(key, value) for key, value in changed.items()],
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow's parameters: ``{"attack": {"eps": 0.1}}`` is ``{"attack.eps": "0.1"}``."""
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return leaves


def set_status(client: "MlflowClient", run_id: str, status: Status) -> None:
    """Say how it stands with a run; saying the same again changes nothing."""
    from mlflow.entities import RunTag

    if status == "RUNNING":
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in _this_process().items()])
        client.update_run(run_id, status=status)
    elif client.get_run(run_id).info.status != status:
        client.set_terminated(run_id, status, end_time=int(time.time() * 1000))


def mark_stale(client: "MlflowClient", experiment: str | None = None) -> list[str]:
    """Mark runs of this machine KILLED whose process is gone: nobody else will. Returns their names.

    `experiment` None: in all experiments.
    """
    experiments = [experiment] if experiment else [known.experiment_id for known in client.search_experiments()]
    wanted = f"attributes.status = 'RUNNING' AND tags.`absld.host` = '{socket.gethostname()}'"
    stale = [run for run in client.search_runs(experiments, wanted) if not alive(run)]
    for run in stale:
        set_status(client, run.info.run_id, "KILLED")
    return [run.info.run_name for run in stale]


def alive(run: "Run") -> bool:
    """Whether the process that owns the run still runs on this machine. Numbers are reused, so its start counts too."""
    import psutil

    tags = run.data.tags
    try:
        started = psutil.Process(int(tags["absld.pid"])).create_time()
    except (KeyError, ValueError, psutil.NoSuchProcess):
        return False
    return bool(tags.get("absld.pid_started") == f"{started:.2f}")


def _this_process() -> dict[str, str]:
    import psutil

    started = psutil.Process().create_time()
    return {"absld.host": socket.gethostname(), "absld.pid": str(os.getpid()), "absld.pid_started": f"{started:.2f}"}
