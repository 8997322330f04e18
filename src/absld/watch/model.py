"""The exported student as a model of MLflow, with the signature that serving checks its inputs against."""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.records.files import sha256_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

NAME = "student"
SHA256 = "absld.sha256"
"""The tag that says which file a logged model, or a version in the registry, was made of."""
NEEDS = ("mlflow", "numpy", "onnx", "onnxruntime")


def logged_model(client: "MlflowClient", run: "Run", path: Path) -> "LoggedModel":
    """The run's model that was made of this very ONNX file; logged now if there is none."""
    wanted = f"tags.`{SHA256}` = '{sha256_of(path)}'"
    for model in client.search_logged_models([run.info.experiment_id], wanted):
        if model.source_run_id == run.info.run_id and model.status == "READY":
            return model
    return log_model(client, run, path)


def log_model(client: "MlflowClient", run: "Run", path: Path) -> "LoggedModel":
    """Log an ONNX file as the run's model, without touching MLflow's global state."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    params, tags = client.get_run(run.info.run_id).data.params, {SHA256: sha256_of(path)}
    logged = client.create_logged_model(run.info.experiment_id, NAME, run.info.run_id, tags=tags, params=params)
    about = Model(artifact_path=logged.artifact_location, run_id=run.info.run_id, model_id=logged.model_id)
    with tempfile.TemporaryDirectory() as folder:
        _save(path, folder, about)
        client.log_model_artifacts(logged.model_id, folder)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, "READY")


def _save(path: Path, folder: str, about: Any) -> None:
    import mlflow.onnx
    import onnx

    network = onnx.load(path)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # MLflow's, about its own type hints
        mlflow.onnx.save_model(
            network,
            folder,
            mlflow_model=about,
            signature=signature(network),
            pip_requirements=[f"{package}=={version(package)}" for package in NEEDS],
            save_as_external_data=False,  # otherwise the weights lie in a second file
            onnx_execution_providers=["CPUExecutionProvider"],
        )


def signature(network: Any) -> Any:
    """Names and shapes of an ONNX model's inputs and outputs; a dynamic axis is -1. All are float32."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(values: Any) -> Any:
        axes = {value.name: value.type.tensor_type.shape.dim for value in values}
        shapes = {name: tuple(dim.dim_value or -1 for dim in dims) for name, dims in axes.items()}
        return Schema([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in shapes.items()])

    return ModelSignature(inputs=schema(network.graph.input), outputs=schema(network.graph.output))
