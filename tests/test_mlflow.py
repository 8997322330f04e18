"""MLflow's mirror, against real MLflow on SQLite: nothing twice, nothing lost, nothing left RUNNING."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Run

from absld.params.load import load
from absld.params.root import Params
from absld.records.files import write_json
from absld.records.history import Row, read_history, write_history
from absld.records.layout import RunKey
from absld.watch.finals import metrics_of
from absld.watch.identity import Identity, identity
from absld.watch.mlflow_mirror import training
from absld.watch.names import ClassNames
from absld.watch.notes import note_of
from absld.watch.replay import Files, Report, replay
from absld.watch.store import open_store, tracking_uri
from pipeline import doctor
from pipeline.publish import mirror, publish

ROOT = Path(__file__).parent.parent
CLASSES = ("cat", "dog", "ship (big)")
WHO = Identity(
    experiment="digits-tiny_resnet16",
    run="absld-s0",
    fingerprint="f" * 64,
    pipeline="p" * 64,
    params={"method": {"name": "absld", "alpha": 0.8, "milestones": [1, 2]}, "seed": 0},
    tags={"dataset": "digits"},
)


IN_TRAINING = """
import os, sys
from pathlib import Path
from absld.watch.mlflow_mirror import Identity, training
with training(Path({root!r}), Identity("digits-tiny_resnet16", {run!r}, {fingerprint!r}, "p" * 64, {{}}, {{}})):
    {body}
"""


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "a project"
    root.mkdir()
    shutil.copy(migrated, root / "mlflow.db")
    return root


def epoch(number: int, classes: tuple[str, ...] = CLASSES) -> list[Row]:
    return [
        Row(number, "train/loss", "", 1 / number),
        Row(number, "validation/pgd_worst", "", 0.1 * number),
        *(Row(number, "tau_adv", name, number + index / 10) for index, name in enumerate(classes)),
    ]


def history(epochs: int) -> list[Row]:
    return [row for number in range(1, epochs + 1) for row in epoch(number)]


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(root))


def runs_of(root: Path) -> dict[str, Run]:
    """Every run of the project, deleted ones not; names are unique in these tests."""
    client = client_of(root)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def points_of(root: Path, run: str) -> list[tuple[str, int, float]]:
    """Every point of every metric of a run."""
    found = runs_of(root)[run]
    return sorted(
        (key, point.step, point.value)
        for key in found.data.metrics
        for point in client_of(root).get_metric_history(found.info.run_id, key)
    )


def as_points(rows: list[Row]) -> list[tuple[str, int, float]]:
    return sorted((row.key.replace("(", "_").replace(")", "_"), row.epoch, row.value) for row in rows)


# training


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
    client.set_tag(run_id, "absld.pid", str(os.getppid()))
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


# the store


@pytest.mark.slow
def test_two_first_starts_at_once_make_one_database(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from absld.watch.store import open_store
print(open_store(Path({str(tmp_path)!r})).search_experiments()[0].name)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    starts = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    assert [start.communicate(timeout=120)[0].strip() for start in starts] == ["Default", "Default"]
    assert [start.returncode for start in starts] == [0, 0]


def test_the_database_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///below/other.db")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/below/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////somewhere/other.db")
    assert tracking_uri(tmp_path) == "sqlite:////somewhere/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(tmp_path) == "http://mlflow:5000"


def test_the_doctor_sees_that_the_project_was_moved(root: Path) -> None:
    with training(root, WHO):
        pass
    assert [line.fine for line in doctor._mlflow(root)] == [True]
    moved = root.rename(root.parent / "elsewhere")
    [line] = doctor._mlflow(moved)
    assert not line.fine
    assert "a%20project/mlruns" in line.text


def test_telemetry_is_off_before_mlflow_is_imported() -> None:
    code = "import absld.watch.store, os, sys; print('mlflow' in sys.modules, os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_DISABLE_TELEMETRY"}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert answer.stdout == "False true\n"


def test_class_names_are_stored_as_mlflow_takes_them() -> None:
    names = ClassNames(["cat", "a/b", "a(b", "..", "ü", "x" * 300])
    assert names.stored == {"cat": "cat", "a/b": "a_b", "a(b": "a_b_2", "..": "_", "ü": "ü", "x" * 300: "x" * 200}
    assert names.changed["a_b_2"] == "a(b"
    assert names.key("tau_adv", "a(b") == "tau_adv/a_b_2"
    assert names.key("train/loss", "") == "train/loss"


# replaying files


def outcome(*by_class: float) -> dict[str, Any]:
    average, worst = sum(by_class) / len(by_class), min(by_class)
    spread = math.sqrt(sum((value - average) ** 2 for value in by_class) / len(by_class))
    measures = {"average": average, "worst": worst, "worst10": worst, "overall": (average + worst) / 2}
    accuracy = {**measures, "nsd": spread / average if average else None}
    return {"accuracy": {**accuracy, "per_class": dict(zip(CLASSES, by_class, strict=True))}, "n": 30}


def an_evaluation(red: tuple[str, ...] = (), **attacks: Any) -> dict[str, Any]:
    names = ("attack_order", "deterministic", *red)
    return {
        "run": "absld-s0",
        "dataset": "digits",
        "classes": list(CLASSES),
        "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
        "attacks": {"clean": outcome(1.0, 0.5, 0.75), **attacks},
        "last": {"clean": outcome(1.0, 0.5, 0.5)},
        "checks": {name: {"passed": name not in red, "detail": "as it is"} for name in names},
    }


def an_onnx_file(path: Path) -> None:
    """logits = x flattened, times a matrix; the batch is dynamic."""
    weights = np.arange(768, dtype=np.float32).reshape(256, 3)  # small ones are never kept outside of the file
    make = onnx.helper
    graph = make.make_graph(
        [make.make_node("Flatten", ["x"], ["flat"]), make.make_node("MatMul", ["flat", "w"], ["logits"])],
        "student",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture
def files(root: Path) -> Files:
    folder = root / "runs" / "absld-s0"
    folder.mkdir(parents=True)
    found = Files(
        history=folder / "history.csv",
        log=folder / "train.json",
        evaluation=folder / "evaluation.json",
        student=folder / "student.onnx",
        card=folder / "card.json",
        card_text=folder / "card.md",
        variants=folder / "variants",
    )
    write_history(found.history, history(3))
    write_json(
        found.log, {"fingerprint": WHO.fingerprint, "commit": "abc", "dirty": True, "device": "cpu", "host": "here"}
    )
    write_json(folder / "evaluation.json", an_evaluation(pgd=outcome(0.5, 0.25, 0.75)))
    an_onnx_file(folder / "student.onnx")
    write_json(folder / "card.json", {"run": "absld-s0"})
    (folder / "card.md").write_text("# absld-s0\n")
    write_json(folder / "variants/variants.json", {"fp16": None, "int8": None})
    return found


@pytest.fixture
def report(root: Path) -> Report:
    figures = root / "reports" / "figures"
    figures.mkdir(parents=True)
    (figures / "bars.svg").write_text("<svg/>")
    (root / "reports" / "summary.md").write_text("# All\n")
    mean = {
        name: {"mean": value} for name, value in (("average", 0.5), ("worst", 0.25), ("overall", 0.375), ("nsd", None))
    }
    write_json(root / "reports" / "summary.json", {"methods": {"absld": {"pgd": mean}}, "runs": {"absld-s0": {}}})
    return Report(root / "reports" / "summary.json", root / "reports" / "summary.md", figures)


def everything(root: Path) -> dict[str, Any]:
    """All that MLflow knows of a project, but for its own clock."""
    client = client_of(root)
    state: dict[str, Any] = {}
    for name, run in runs_of(root).items():
        run_id = run.info.run_id
        histories = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
        state[name] = {
            "id": run_id,
            "status": (run.info.status, run.info.end_time),
            "tags": run.data.tags,
            "params": run.data.params,
            "points": {
                key: [(p.step, repr(p.value), p.timestamp) for p in points] for key, points in histories.items()
            },
            "artifacts": sorted((file.path, file.file_size) for file in client.list_artifacts(run_id)),
            "models": [model.model_id for model in run.outputs.model_outputs] if run.outputs else [],
        }
    return state


def test_a_replay_tells_mlflow_all_that_the_files_say(root: Path, files: Files, report: Report) -> None:
    replay(root, [(WHO, files)], report)
    runs = runs_of(root)
    run, parent = runs["absld-s0"], runs["pipeline"]
    assert (run.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    metrics = run.data.metrics
    assert (metrics["pgd/cat"], metrics["pgd/ship _big_"], metrics["clean/dog"]) == (0.5, 0.75, 0.5)
    assert (metrics["summary/pgd_average"], metrics["summary/pgd_worst"], metrics["summary/pgd_overall"]) == (
        0.5,
        0.25,
        0.375,
    )
    assert metrics["summary/pgd_nsd"] == pytest.approx(math.sqrt(1 / 24) / 0.5)  # sqrt((0 + 1/16 + 1/16) / 3) / average
    assert metrics["last/clean_worst"] == 0.5
    assert [point for point in points_of(root, "absld-s0") if point[1]] == as_points(history(3))
    assert run.data.tags["commit"] == "abc"
    assert run.data.tags["mlflow.note.content"] == "# absld-s0\n"
    assert parent.data.metrics == {"absld/pgd_average": 0.5, "absld/pgd_worst": 0.25, "absld/pgd_overall": 0.375}
    client = client_of(root)
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names >= {"history.csv", "evaluation.json", "card.json", "card.md", "student.onnx", "classwise.json"}
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "figures")] == ["figures/bars.svg"]
    assert list((root / "mlruns").iterdir())  # beside the database


def test_doing_it_twice_changes_nothing(root: Path, files: Files, report: Report) -> None:
    replay(root, [(WHO, files)], report)
    once = everything(root)
    replay(root, [(WHO, files)], report)
    assert everything(root) == once


def test_a_replay_after_the_live_mirror_adds_only_what_is_new(root: Path, files: Files) -> None:
    with training(root, WHO) as live:
        live.log(history(2))
    replay(root, [(WHO, files)], None)
    assert [point for point in points_of(root, "absld-s0") if point[1]] == as_points(history(3))
    assert read_history(files.history) == history(3)


def test_a_run_that_is_being_trained_is_left_alone(root: Path, files: Files) -> None:
    body = "print('here', flush=True); sys.stdin.read()"
    code = IN_TRAINING.format(root=str(root), run="absld-s0", fingerprint=WHO.fingerprint, body=body)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        replay(root, [(WHO, files)], None)
        statuses = {run.info.status for run in runs_of(root).values()}
        points = points_of(root, "absld-s0")
        other.communicate("")
    assert (statuses, points) == ({"RUNNING"}, [])


def test_what_is_measured_anew_replaces_the_old_and_what_is_no_longer_measured_is_nan(root: Path, files: Files) -> None:
    assert files.evaluation is not None
    replay(root, [(WHO, files)], None)
    write_json(files.evaluation, an_evaluation(fgsm=outcome(0.5, 0.5, 0.5)))
    replay(root, [(WHO, files)], None)
    metrics = runs_of(root)["absld-s0"].data.metrics
    assert metrics["fgsm/cat"] == 0.5
    assert math.isnan(metrics["pgd/cat"])
    assert math.isnan(metrics["summary/pgd_worst"])
    assert metrics["tau_adv/cat"] == 3.0


def test_a_red_check_is_a_tag_until_it_is_no_longer_made(root: Path, files: Files) -> None:
    def tags() -> dict[str, str]:
        return {key: text for key, text in runs_of(root)["absld-s0"].data.tags.items() if key.startswith("check.")}

    assert files.evaluation is not None
    write_json(files.evaluation, an_evaluation(red=("transfer", "deterministic")))
    replay(root, [(WHO, files)], None)
    assert tags() == {
        "check.attack_order": "passed",
        "check.deterministic": "failed",
        "check.transfer": "failed",
    }
    write_json(files.evaluation, an_evaluation())
    replay(root, [(WHO, files)], None)
    assert tags() == {"check.attack_order": "passed", "check.deterministic": "passed"}


def test_smaller_files_are_mirrored_with_their_numbers_until_there_are_none(root: Path, files: Files) -> None:
    def known() -> tuple[dict[str, float], dict[str, str]]:
        data = runs_of(root)["absld-s0"].data
        return (
            {key: value for key, value in data.metrics.items() if key.startswith("variants/")},
            {key: text for key, text in data.tags.items() if key.startswith("variant.")},
        )

    assert files.card is not None and files.variants is not None
    whole = {"clean_average": 0.9, "clean_worst": 0.75, "stored": 0.5, "square": None}
    variants = {
        "images": {"clean": 300, "stored": 60, "square": 0},
        "fp32": {"file": "student.onnx", "bytes": 9, "accuracy": whole},
        "fp16": {"bytes": 5, "accuracy": {**whole, "stored": 0.625}, "kept": True, "reason": "close"},
        "int8": {"bytes": 3, "accuracy": {**whole, "clean_worst": 0.25}, "kept": False, "reason": "clean by 0.5"},
    }
    write_json(files.card, {"run": "absld-s0", "variants": variants})
    (files.variants / "student_fp16.onnx").write_bytes(b"small")
    replay(root, [(WHO, files)], None)
    metrics, tags = known()
    assert len(metrics) == 3 * 4
    assert (metrics["variants/fp32_stored"], metrics["variants/fp16_stored"]) == (0.5, 0.625)
    assert (metrics["variants/int8_clean_worst"], metrics["variants/int8_bytes"]) == (0.25, 3)
    assert tags == {"variant.fp16": "kept", "variant.int8": "left out: clean by 0.5"}
    run_id = runs_of(root)["absld-s0"].info.run_id
    there = [file.path for file in client_of(root).list_artifacts(run_id, "variants")]
    assert there == ["variants/student_fp16.onnx", "variants/variants.json"]
    once = everything(root)
    replay(root, [(WHO, files)], None)
    assert everything(root) == once

    write_json(files.card, {"run": "absld-s0", "variants": None})
    replay(root, [(WHO, files)], None)
    metrics, tags = known()
    assert all(math.isnan(value) for value in metrics.values())
    assert tags == {}


def test_a_page_that_is_too_long_is_shortened_and_says_so(root: Path, files: Files) -> None:
    assert files.card_text is not None
    page = "# absld-s0\n\n" + "".join(f"line {number}\n" for number in range(2000))
    files.card_text.write_text(page)
    replay(root, [(WHO, files)], None)
    note = runs_of(root)["absld-s0"].data.tags["mlflow.note.content"]
    kept, _, said = note.partition("\n\n**Shortened: ")
    assert said == "MLflow holds 8,000 characters here. The whole page is the artifact `card.md` of this run.**"
    assert 7900 < len(note) <= 8000
    assert page.startswith(kept + "\n"), "cut between two lines"


@given(st.lists(st.sampled_from(["word " * 40, "```", "", "| a | b |"]), max_size=400))
def test_a_note_fits_and_its_sentence_is_in_no_listing(lines: list[str]) -> None:
    page = "\n".join(lines)
    if page.count("```") % 2:
        page += "\n```"
    note = note_of(page, "card.md")
    assert len(note) <= 8000
    assert note == page or note.partition("**Shortened")[0].count("```") % 2 == 0


def test_the_table_by_class_is_one_mlflow_can_show(root: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.evaluation is not None
    for pgd in (outcome(0.5, 0.25, 0.75), outcome(0.25, 0.25, 0.25)):
        write_json(files.evaluation, an_evaluation(pgd=pgd))
        replay(root, [(WHO, files)], None)
    run = runs_of(root)["absld-s0"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(root))  # load_table asks MLflow's global store
    table = client_of(root).load_table(experiment_of(root), "classwise.json", [run.info.run_id])
    assert list(table.columns) == ["run", "class", "clean", "pgd"]
    assert table.values.tolist() == [
        ["absld-s0", "cat", 1.0, 0.25],
        ["absld-s0", "dog", 0.5, 0.25],
        ["absld-s0", "ship (big)", 0.75, 0.25],
    ]


def experiment_of(root: Path) -> str:
    return str(client_of(root).get_experiment_by_name(WHO.experiment).experiment_id)


def test_the_model_that_is_served_is_the_onnx_file(root: Path, files: Files) -> None:
    assert files.student is not None
    replay(root, [(WHO, files)], None)
    from mlflow.pyfunc import load_model  # warns when it is imported first; log_model keeps that from the user

    run = runs_of(root)["absld-s0"]
    [output] = run.outputs.model_outputs
    logged = client_of(root).get_logged_model(output.model_id)
    assert logged.name == "student"
    assert logged.params["method.alpha"] == "0.8"
    saved = Path(urllib.request.url2pathname(logged.artifact_location.removeprefix("file://")))
    assert (saved / "model.onnx").stat().st_size > 768 * 4  # one file, the weights in it
    model = load_model(logged.artifact_location)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 1, 16, 16)
    x = np.arange(1280, dtype=np.float32).reshape(5, 1, 16, 16) / 1280
    session = onnxruntime.InferenceSession(files.student, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(model.predict(x)["logits"], session.run(None, {"x": x})[0])
    with pytest.raises(Exception, match="float64"):
        model.predict(x.astype(np.float64))


def test_a_hundred_classes_are_summed_up_by_the_worst_tenth() -> None:
    classes = [f"c{index}" for index in range(100)]
    accuracy = {"average": 0.5, "worst": 0.0, "worst10": 0.1, "overall": 0.3, "nsd": None}
    one = {"accuracy": {**accuracy, "per_class": dict.fromkeys(classes, 0.5)}}
    metrics = metrics_of({"classes": classes, "attacks": {"pgd": one}, "last": {}})
    assert metrics["summary/pgd_worst10"] == 0.1
    assert "summary/pgd_nsd" not in metrics
    assert len(metrics) == 100 + 4


# who is who


@dataclass(frozen=True)
class Train:
    """What the mirror asks of an opened train stage."""

    root: Path
    run: RunKey
    params: Params
    reads: dict[str, Path]
    fingerprint: str = "f"


@pytest.fixture
def train(root: Path) -> Iterator[Train]:
    reads = {name: root / f"{name}.json" for name in ("card", "teacher", "teacher_card")}
    write_json(reads["card"], {"name": "digits", "sha256": "d"})
    write_json(reads["teacher"], "weights")
    write_json(reads["teacher_card"], {"architecture": "tiny_resnet32"})
    yield Train(root, RunKey("absld", 0), load(ROOT / "params.yaml"), reads)


def test_the_identity_is_made_of_what_the_result_is_made_of(train: Train) -> None:
    who = identity(train)
    assert (who.experiment, who.run, who.fingerprint) == ("digits-tiny_resnet8", "absld-s0", "f")
    assert who.tags == {"dataset": "digits", "teacher": "tiny_resnet32", "select_on": "validation"}
    assert who.params["method"]["name"] == "absld"
    assert who.params["method"]["alpha"] == 5 / 6
    assert identity(replace(train, run=RunKey("rslad", 7))).pipeline == who.pipeline
    write_json(train.reads["teacher"], "other weights")
    assert identity(train).pipeline != who.pipeline


def test_selection_on_the_test_set_is_tagged(train: Train) -> None:
    chosen = train.params.train.model_copy(update={"select_on": "test"})
    params = train.params.model_copy(update={"train": chosen})
    assert identity(replace(train, params=params)).tags["test-selected"] == "true"
    assert "test-selected" not in identity(train).tags


def test_names_of_params_fit_mlflow(train: Train) -> None:
    with training(train.root, identity(train)):
        pass
    params = runs_of(train.root)["absld-s0"].data.params
    assert float(params["method.alpha"]) == 5 / 6
    assert json.loads(params["method.milestones"]) == load(ROOT / "params.yaml").methods.absld.milestones
    assert params["train.max_epochs"] == "null"
    assert params["student.architecture"] == "tiny_resnet8"


# publishing a project


@pytest.fixture
def finished(root: Path, files: Files, report: Report) -> Path:
    """A project whose two runs are done, as the stages leave it."""
    from stages.code import listing
    from stages.contracts import TRAIN
    from stages.opening import open_stage

    for name in ("src", "stages"):
        (root / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", root)
    made_by_hand = root / "runs" / "absld-s0"
    for method in ("rslad", "absld"):
        stage = open_stage(TRAIN, root, method=method, seed="0")
        for path in (*stage.reads.values(), *stage.writes.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("bytes")
        stage.reads["code"].write_text(listing(stage.code, stage.resolved))
        write_history(stage.writes["history"], history(2))
        for folder, names in (
            ("evaluation", ["evaluation.json"]),
            ("export", ["student.onnx", "card.json", "card.md"]),
        ):
            for name in names:
                target = root / "runs" / f"{method}-s0" / folder / name
                target.parent.mkdir(exist_ok=True)
                shutil.copy(made_by_hand / name, target)
    write_json(root / "data/dataset/card.json", {"name": "digits"})
    write_json(root / "models/teacher/card.json", {"architecture": "tiny_resnet32"})
    summary = json.loads(report.summary.read_text())
    write_json(report.summary, {**summary, "runs": {"rslad-s0": {}, "absld-s0": {}}})
    (root / "reports" / "summary.html").write_text("<html>")
    return root


def test_publish_finds_every_run_of_the_project_and_the_run_that_was_trained_live(finished: Path) -> None:
    from stages.contracts import TRAIN
    from stages.opening import open_stage

    params = load(finished / "params.yaml")
    with training(finished, identity(open_stage(TRAIN, finished, method="absld", seed="0"))) as live:
        live.log(history(1))
    assert publish(finished, params, ()) == []
    once = everything(finished)
    assert set(once) == {"pipeline", "rslad-s0", "absld-s0"}
    assert [key for key, points in once["absld-s0"]["points"].items() if len(points) != 2 and "tau" in key] == []
    assert "aa" not in once["pipeline"]["points"]
    assert "absld/pgd_worst" in once["pipeline"]["points"]
    assert publish(finished, params, ()) == []
    assert everything(finished) == once


def test_what_is_out_of_date_is_not_published(finished: Path) -> None:
    params = load(finished / "params.yaml")
    with (finished / "code" / "rslad.sha256").open("a") as code:
        code.write("changed  src/absld/methods/rslad.py\n")
    assert publish(finished, params, {"evaluate@absld-0"}) == ["rslad-s0"]
    runs = runs_of(finished)
    assert set(runs) == {"pipeline", "absld-s0"}
    assert "tau_adv/cat" in runs["absld-s0"].data.metrics
    assert "pgd/cat" not in runs["absld-s0"].data.metrics
    assert runs["pipeline"].data.metrics == {}  # the report is about two runs
    assert publish(finished, params, {"train@absld-0"}) == ["rslad-s0", "absld-s0"]


def test_a_mirror_that_breaks_costs_a_repro_a_line(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mirror(finished, load(finished / "params.yaml"), ())
    assert "Nothing is lost" in capsys.readouterr().out


def test_mlflow_is_not_asked_again_unless_something_has_changed(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("pipeline.publish.publish", lambda *_: (asked.append(1), open_store(finished)))
    params = load(finished / "params.yaml")
    for expected, change in (
        (1, lambda: None),
        (1, lambda: None),
        (2, lambda: (finished / "runs/absld-s0/evaluation/evaluation.json").touch()),
        (3, lambda: (finished / "mlflow.db").unlink()),
        (3, lambda: None),
    ):
        change()
        mirror(finished, params, ())
        assert len(asked) == expected
    for expected in (4, 5):  # what is out of date now is published when it is made
        mirror(finished, params, {"report"})
        assert len(asked) == expected


@pytest.mark.slow
def test_the_pages_are_served_on_this_machine_only_and_end_when_told(root: Path) -> None:
    (root / "dvc.yaml").touch()
    shutil.copy(ROOT / "params.yaml", root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "ui", "--port", str(port)]
    with subprocess.Popen(command, cwd=root, env=environment) as pages:
        deadline = time.monotonic() + 90
        while not answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        below = psutil.Process(pages.pid).children(recursive=True)
        addresses = {
            found.laddr.ip for process in below for found in process.net_connections() if found.status == "LISTEN"
        }
        pages.send_signal(signal.SIGINT)
        assert pages.wait(timeout=30) == 0
    assert addresses == {"127.0.0.1"}
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False
