"""What the files say, told to real MLflow on SQLite: once, whole, and as they are now."""

import math
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow_runs import (
    IN_TRAINING,
    WHO,
    an_evaluation,
    as_points,
    client_of,
    everything,
    history,
    new_project,
    outcome,
    points_of,
    runs_of,
    write_report,
    write_run,
)

from absld.records.files import write_json
from absld.records.history import read_history
from absld.watch.finals import metrics_of
from absld.watch.mlflow_mirror import training
from absld.watch.notes import note_of
from absld.watch.replay import Files, Report, replay
from absld.watch.store import tracking_uri

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, migrated, monkeypatch)


@pytest.fixture
def files(root: Path) -> Files:
    return write_run(root)


@pytest.fixture
def report(root: Path) -> Report:
    return write_report(root)


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
    assert names >= {
        "history.csv",
        "evaluation.json",
        "card.json",
        "card.md",
        "student.onnx",
        "classwise.json",
        "params.yaml",
    }
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


def test_a_run_that_another_machine_trains_is_left_alone(root: Path, files: Files) -> None:
    with training(root, WHO):
        for run in runs_of(root).values():
            client_of(root).set_tag(run.info.run_id, "absld.host", "another")
        replay(root, [(WHO, files)], None)
        assert {run.info.status for run in runs_of(root).values()} == {"RUNNING"}
        assert points_of(root, "absld-s0") == []


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
