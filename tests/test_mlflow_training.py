"""A training that is mirrored while it runs: nothing twice, nothing lost, nothing left RUNNING."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow_runs import IN_TRAINING, WHO, as_points, client_of, epoch, history, new_project, points_of, runs_of

from absld.watch.mlflow_mirror import training

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, migrated, monkeypatch)


def test_a_training_is_a_run_below_the_pipeline(root: Path) -> None:
    with training(root, WHO) as live:
        live.log([])
        assert {run.info.status for run in runs_of(root).values()} == {"RUNNING"}
        for number in (1, 2):
            live.log(history(number))
    runs = runs_of(root)
    assert set(runs) == {"pipeline", "absld-s0"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    run = runs["absld-s0"]
    assert run.data.tags["mlflow.parentRunId"] == runs["pipeline"].info.run_id
    assert run.data.tags["absld.fingerprint"] == WHO.fingerprint
    assert run.data.tags["dataset"] == "digits"
    assert run.data.params == {
        "method.name": "absld",
        "method.alpha": "0.8",
        "method.milestones": "[1, 2]",
        "seed": "0",
    }
    assert points_of(root, "absld-s0") == as_points(history(2))


def test_a_resumed_training_goes_on_in_its_run_and_logs_no_epoch_twice(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), training(root, WHO) as live:
        live.log(history(3))
        raise KeyboardInterrupt
    assert runs_of(root)["absld-s0"].info.status == "KILLED"
    with training(root, WHO) as live:
        live.log(history(2))  # the checkpoint was older than what MLflow knows
        live.log(history(5))
    assert runs_of(root)["absld-s0"].info.status == "FINISHED"
    assert points_of(root, "absld-s0") == as_points(history(5))


@pytest.mark.parametrize(("error", "status"), [(SystemExit(143), "KILLED"), (RuntimeError(), "FAILED")])
def test_how_it_ended_is_told_of_the_run_and_its_parent(root: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), training(root, WHO):
        raise error
    assert {run.info.status for run in runs_of(root).values()} == {status}


def test_one_call_an_epoch_and_one_for_several_that_are_short(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, metrics: Any = (), **more: Any) -> Any:
        calls.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **more)

    for every, expected in ((0, [5, 5, 5]), (3600, [5, 10])):
        calls.clear()
        with training(root, replace(WHO, fingerprint=str(every)), every) as live:
            monkeypatch.setattr(MlflowClient, "log_batch", counted)
            for number in (1, 2, 3):
                live.log(history(number))
            live.end("FINISHED")
            monkeypatch.undo()
        assert calls == expected


def test_an_epoch_that_does_not_fit_into_one_call_counts_once_it_is_whole(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(f"class {index}" for index in range(1100))
    log_batch, calls = MlflowClient.log_batch, []

    def broken(self: MlflowClient, run_id: str, metrics: Any = (), **more: Any) -> Any:
        calls.append([metric.key for metric in metrics])
        if len(calls) == 2:
            raise RuntimeError("the cable is out")
        return log_batch(self, run_id, metrics=metrics, **more)

    with training(root, WHO) as live:
        monkeypatch.setattr(MlflowClient, "log_batch", broken)
        live.log(epoch(1, many))
        monkeypatch.undo()
    assert [len(call) for call in calls] == [1000, 102]
    assert "train/loss" in calls[1]
    with training(root, WHO) as live:
        live.log(epoch(1, many))
    assert len(runs_of(root)["absld-s0"].data.metrics) == 1102


def test_a_run_whose_process_is_gone_is_marked_killed_by_the_next(root: Path) -> None:
    code = IN_TRAINING.format(root=str(root), run="rslad-s0", fingerprint="r", body="os.kill(os.getpid(), 9)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    assert {run.info.status for run in runs_of(root).values()} == {"RUNNING"}
    with training(root, WHO):
        statuses = {name: run.info.status for name, run in runs_of(root).items() if name.endswith("-s0")}
    assert statuses == {"rslad-s0": "KILLED", "absld-s0": "RUNNING"}


def test_a_number_that_another_process_has_now_does_not_keep_a_run_alive(root: Path) -> None:
    with training(root, WHO):
        pass
    client, run_id = client_of(root), runs_of(root)["absld-s0"].info.run_id
    client.update_run(run_id, status="RUNNING")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:  # it ends with its input
        client.set_tag(run_id, "absld.pid", str(other.pid))
        with training(root, replace(WHO, run="rslad-s0", fingerprint="r")):
            assert runs_of(root)["absld-s0"].info.status == "KILLED"


def test_other_parameters_are_another_run_and_other_data_another_experiment(root: Path) -> None:
    for who in (WHO, replace(WHO, fingerprint="a" * 64), replace(WHO, experiment="svhn-resnet18"), WHO):
        with training(root, who):
            pass
    client = client_of(root)
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    assert set(experiments) == {"Default", "digits-tiny_resnet16", "svhn-resnet18"}
    fingerprints = [
        run.data.tags["absld.fingerprint"][0] for run in client.search_runs([experiments["digits-tiny_resnet16"]])
    ]
    assert sorted(fingerprints) == ["a", "f", "p"]


def test_a_deleted_experiment_comes_back(root: Path) -> None:
    with training(root, WHO):
        pass
    client = client_of(root)
    client.delete_experiment(client.get_experiment_by_name(WHO.experiment).experiment_id)
    with training(root, WHO) as live:
        live.log(history(1))
    assert points_of(root, "absld-s0") == as_points(history(1))


def test_without_mlflow_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with training(tmp_path, WHO) as live:
        live.log(history(1))
    assert capsys.readouterr().out == "MLflow is not installed: nothing is mirrored\n"


def test_a_server_that_cannot_be_reached_costs_a_line_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with training(tmp_path, WHO) as live:
        live.log(history(1))
    said = capsys.readouterr().out
    assert said.startswith("MLflow fails, the training goes on")
    assert "`absld publish` mirrors the files later" in said
