"""Models of MLflow's registry: one for each experiment, a version for each exported student that was promoted.

An alias such as `champion` points at one version. Who serves `models:/digits-tiny_resnet8@champion` gets that one.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from absld.records.files import sha256_of
from absld.watch.identity import Identity
from absld.watch.model import SHA256, logged_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

REFUSED = re.compile("[/:]")
"""Characters of an experiment's name that a model's may not have."""
VERSIONS = "mlflow.modelVersions"
"""The tag of a logged model from which MLflow's pages link to its versions."""


def model_name(who: Identity) -> str:
    """The registered model that a run belongs to, named after its experiment."""
    return REFUSED.sub("_", who.experiment)


def version_of(client: "MlflowClient", model: str, run: "Run", student: Path) -> "ModelVersion":
    """The version of a student's ONNX file; made from the model that the run logged if there is none yet.

    Call it `store.locked`, so that two processes make one.
    """
    from mlflow import MlflowException

    sha256, run_id = sha256_of(student), run.info.run_id
    for known in client.search_model_versions(f"run_id = '{run_id}'"):
        if known.name == model and known.tags.get(SHA256) == sha256:
            return known
    try:
        client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(model)
    logged = logged_model(client, run, student)
    tags = {"run": run.info.run_name, SHA256: sha256}
    source = logged.artifact_location  # a source `models:/<id>` would be looked for in MLflow's global store
    made = client.create_model_version(model, source, run_id, tags=tags, model_id=logged.model_id)
    links = json.loads(client.get_logged_model(logged.model_id).tags.get(VERSIONS, "[]"))
    if (model, str(made.version)) not in {(link["name"], str(link["version"])) for link in links}:  # a server links
        links.append({"name": model, "version": made.version})
        client.set_logged_model_tags(logged.model_id, {VERSIONS: json.dumps(links)})
    return made


def holder(client: "MlflowClient", model: str, alias: str) -> "ModelVersion | None":
    """The version that has the alias; the model must be there."""
    version = client.get_registered_model(model).aliases.get(alias)
    return None if version is None else client.get_model_version(model, version)


def describe_version(client: "MlflowClient", version: "ModelVersion", prefix: str, tags: Mapping[str, str]) -> None:
    """Tag a version; those that begin with `prefix` and are no longer said vanish."""
    wanted = {f"{prefix}{key}": value for key, value in tags.items()}
    for key in version.tags:
        if key.startswith(prefix) and key not in wanted:
            client.delete_model_version_tag(version.name, version.version, key)
    for key, value in wanted.items():
        client.set_model_version_tag(version.name, version.version, key, value)
