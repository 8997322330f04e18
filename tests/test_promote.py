"""Promotions, against MLflow's real registry on SQLite: records, holders, exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gated_evaluations import NONE, evaluation
from mlflow import MlflowClient, MlflowException

from absld.errors import InputError
from absld.params.load import load
from absld.records.files import sha256_of, write_json
from absld.records.history import Row, write_history
from absld.watch.store import tracking_uri
from pipeline import promote
from pipeline.settings import edited

ROOT = Path(__file__).parents[1]
MODEL = "digits-tiny_resnet8"


def an_onnx_file(path: Path, doc: str) -> None:
    make, image = onnx.helper, [onnx.TensorProto.FLOAT, ["batch", 4]]
    graph = make.make_graph(
        [make.make_node("Identity", ["images"], ["logits"])],
        "student",
        [make.make_tensor_value_info("images", *image)],
        [make.make_tensor_value_info("logits", *image)],
    )
    opset = [make.make_opsetid("", 18)]
    onnx.save(make.make_model(graph, opset_imports=opset, ir_version=10, doc_string=doc), path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose two runs are done, as the stages leave it; under git and DVC, to which no stage is known."""
    from stages.contracts import EVALUATE, EXPORT, FETCH_DATA, FETCH_TEACHER, TRAIN
    from stages.opening import listing, open_stage

    folder = tmp_path_factory.mktemp("finished")
    root = folder / "project"
    (root / ".dvc").mkdir(parents=True)
    for name in ("src", "stages"):  # a copy: whoever edits the code while the tests run would make the runs stale
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (root / name).symlink_to(folder / name)
    gates = "{min_clean_average: 0.8, min_aa_average: 0.5, min_aa_worst: 0.4, max_aa_nsd: null, checks: true}"
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    settings = ["runs.methods=[rslad, absld]", "runs.seeds=[0]", f"export.gates={gates}"]
    (root / "params.yaml").write_text(edited(params, settings), encoding="utf-8")
    (root / "dvc.yaml").write_text("stages: {}\n")
    for arguments in (["init", "-q"], ["config", "user.name", "Ada"], ["config", "user.email", "ada@example.org"]):
        subprocess.run(["git", "-C", str(root), *arguments], check=True)
    for method in ("rslad", "absld"):
        for stage in (FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE, EXPORT):
            opened = open_stage(stage, root, **({"method": method, "seed": "0"} if stage.axes else {}))
            for path in (*opened.reads.values(), *opened.writes.values()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")
            opened.reads["code"].write_text(listing(opened.code, opened.resolved))
        run = root / "runs" / f"{method}-s0"
        write_history(run / "train" / "history.csv", [Row(1, "train/loss", "", 1.0)])
        write_json(run / "evaluation" / "evaluation.json", {**evaluation(), "run": run.name})
        an_onnx_file(run / "export" / "student.onnx", method)
    write_json(root / "data/dataset/card.json", {"name": "digits"})
    write_json(root / "models/teacher/card.json", {"architecture": "tiny_resnet32"})
    return root


@pytest.fixture
def project(tmp_path: Path, finished: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project, with an MLflow that knows nothing of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "a project"
    shutil.copytree(finished, root, symlinks=True)
    shutil.copy(migrated, root / "mlflow.db")
    monkeypatch.chdir(root)
    return root


def lines(root: Path) -> list[dict[str, Any]]:
    record = root / promote.RECORD
    return [json.loads(line) for line in record.read_text().splitlines()] if record.is_file() else []


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(root))


def registry(root: Path) -> dict[str, Any]:
    """Aliases and versions with their tags, by model."""
    client = client_of(root)
    return {
        model.name: (
            {alias: int(version) for alias, version in model.aliases.items()},
            {int(version.version): version.tags for version in client.search_model_versions(f"name = '{model.name}'")},
        )
        for model in client.search_registered_models()
    }


def candidate(root: Path, run: str) -> promote.Candidate:
    return promote.candidate(root, load(root / "params.yaml"), run, {})


def fails_autoattack(root: Path, run: str) -> None:
    write_json(
        root / "runs" / run / "evaluation" / "evaluation.json",
        {**evaluation(red={"transfer": "it fools 9 more"}, average=0.25, worst=0.0), "run": run},
    )


def test_the_alias_moves_and_both_records_say_who_when_why_and_from_whom(
    project: Path, absld: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("promote", "rslad-s0") == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert rows["min_aa_worst"] == ["min_aa_worst", "AutoAttack,", "worst", "40.0", "30.0–50.0", "≥", "40.0", "passed"]
    assert rows["checks"][-4:] == ["0", "≤", "0", "passed"]
    assert f"champion of {MODEL} is rslad-s0, version 1; before: nobody" in said
    assert absld("promote", "absld-s0", "--reason", "fairer: wörst") == 0
    assert f"champion of {MODEL} is absld-s0, version 2; before: rslad-s0, version 1" in capsys.readouterr().out

    first, second = lines(project)
    assert (first["previous"], first["reason"], first["run"]) == (None, None, "rslad-s0")
    assert (second["previous"], second["reason"]) == ({"run": "rslad-s0", "version": 1}, "fairer: wörst")
    assert (second["who"], second["forced"], second["failed"]) == ("Ada <ada@example.org>", False, [])
    assert second["student_sha256"] == sha256_of(project / "runs/absld-s0/export/student.onnx")
    assert second["gates"][1] == {"gate": "min_aa_average", "value": 0.6, "limit": 0.5, "passed": True}
    assert first["when"] <= second["when"]
    aliases, versions = registry(project)[MODEL]
    assert aliases == {"champion": 2}
    tags = versions[2]
    assert (tags["run"], tags["champion.who"], tags["champion.previous"]) == (
        "absld-s0",
        second["who"],
        "rslad-s0, version 1",
    )
    assert (tags["champion.reason"], tags["champion.forced"]) == ("fairer: wörst", "no")
    assert tags["champion.gate.min_aa_average"] == "passed: 0.6, limit 0.5"
    assert tags["champion.when"] == second["when"]

    from mlflow.pyfunc import load_model  # warns when it is imported first; log_model keeps that from the user

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(project))
    x = np.array([[1, 2, 3, 4]], dtype=np.float32)
    np.testing.assert_array_equal(load_model(f"models:/{MODEL}@champion").predict(x)["logits"], x)

    before = registry(project), (project / promote.RECORD).read_bytes()
    assert "already: nothing was changed" in promote.promote(candidate(project, "absld-s0"), "champion", "again")
    assert (registry(project), (project / promote.RECORD).read_bytes()) == before


def test_a_gate_that_fails_is_told_with_its_numbers_and_force_is_recorded(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    fails_autoattack(project, "absld-s0")
    assert absld("promote", "absld-s0") == 1
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "absld-s0 is not promoted:",
        "  min_aa_average: 25 is below 50",
        "  min_aa_worst: 0 is below 40",
        "  checks: transfer is red: it fools 9 more",
    ]
    assert told.out.count("failed") == 3
    assert absld("promote", "absld-s0", "--force", "--dry-run") == 0
    assert (registry(project), lines(project)) == ({}, [])

    assert absld("promote", "absld-s0", "--force", "--alias", "challenger") == 0
    [line] = lines(project)
    assert (line["alias"], line["forced"], line["failed"]) == (
        "challenger",
        True,
        ["min_aa_average", "min_aa_worst", "checks"],
    )
    assert line["gates"][2]["problem"] == "0 is below 40"
    aliases, versions = registry(project)[MODEL]
    assert aliases == {"challenger": 1}
    assert versions[1]["challenger.forced"] == "past min_aa_average, min_aa_worst, checks"
    assert versions[1]["challenger.gate.min_aa_worst"] == "failed: 0 is below 40"
    assert versions[1]["challenger.gate.min_clean_average"] == "passed: 0.9, limit 0.8"


def test_what_cannot_be_promoted_is_wrong_input(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "fat-s0": "'fat-s0' is no run of params.yaml: there are rslad-s0, absld-s0",
        "absld-s0 --alias latest": "--alias 'latest'",
        "absld-s0 --alias v2": "--alias 'v2'",
        "absld-s0 --alias the.best": "--alias 'the.best'",
        "absld-s0 --force": "evaluate@absld-0: ",
    }
    (project / "dvc.yaml").write_text(
        "stages: {evaluate: {matrix: {method: [absld], seed: [0]}, cmd: 'true', params: [evaluate.eps]}}\n"
    )
    for arguments, message in wrong.items():
        assert absld("promote", *arguments.split()) == 2
        assert message in capsys.readouterr().err
    assert (registry(project), lines(project)) == ({}, [])


def test_code_that_changed_since_makes_a_run_stale_though_dvc_has_not_looked_yet(project: Path) -> None:
    assert candidate(project, "absld-s0").failed == []
    with (project / "code" / "evaluate.sha256").open("a") as code:
        code.write("changed  src/absld/attacks/autoattack.py\n")
    with pytest.raises(InputError, match=r"evaluate@absld-0: .*code"):
        candidate(project, "absld-s0")
    with pytest.raises(InputError, match=r"fetch_data: params.yaml: data modified"):
        promote.candidate(
            project, load(project / "params.yaml"), "rslad-s0", {"fetch_data": ["params.yaml: data modified"]}
        )


def test_a_student_that_was_exported_anew_is_a_version_of_its_own(project: Path) -> None:
    params, student = load(project / "params.yaml"), project / "runs/absld-s0/export/student.onnx"
    chosen = candidate(project, "absld-s0")
    promote.promote(chosen, "champion", "first")
    assert "champion.gate.min_aa_average" in registry(project)[MODEL][1][1]
    first = student.read_bytes()
    an_onnx_file(student, "opset 20")
    assert "version 2; before: absld-s0, version 1" in promote.promote(chosen, "champion", None)
    student.write_bytes(first)
    fewer = params.model_copy(update={"export": params.export.model_copy(update={"gates": NONE})})
    back = promote.candidate(project, fewer, "absld-s0", {})
    assert "version 1; before: absld-s0, version 2" in promote.promote(back, "champion", None)
    aliases, versions = registry(project)[MODEL]
    assert (aliases, len(versions)) == ({"champion": 1}, 2)
    assert not {key for key in versions[1] if key.startswith(("champion.gate", "champion.reason"))}
    assert [(line["version"], line["previous"] and line["previous"]["version"]) for line in lines(project)] == [
        (1, None),
        (2, 1),
        (1, 2),
    ]
    [experiment] = [found for found in client_of(project).search_experiments() if found.name == MODEL]
    logged = client_of(project).search_logged_models([experiment.experiment_id])
    linked = [json.loads(model.tags["mlflow.modelVersions"]) for model in logged]
    assert sorted(link["version"] for [link] in linked) == [1, 2]


def test_what_the_registry_refuses_is_not_recorded(
    project: Path, absld: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: object) -> None:
        raise MlflowException("the disk is full")

    (project / promote.RECORD).write_text('{"alias": "before"}\n')
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refuses)
    assert absld("promote", "absld-s0") == 2
    assert "MLflow refuses: the disk is full" in capsys.readouterr().err
    assert lines(project) == [{"alias": "before"}]
    versions = client_of(project).search_model_versions(f"name = '{MODEL}'")
    assert versions and not any(key.startswith("champion.") for version in versions for key in version.tags)
    assert [path.name for path in project.iterdir() if "promotions" in path.name] == [promote.RECORD]


def test_tags_that_could_not_be_written_are_written_by_the_next_promotion(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_tag = MlflowClient.set_model_version_tag

    def breaks(client: MlflowClient, name: str, version: str, key: str, value: str) -> None:
        if key == "champion.who":
            raise MlflowException("the connection broke")
        set_tag(client, name, version, key, value)

    chosen = candidate(project, "absld-s0")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", breaks)
        with pytest.raises(MlflowException, match="the connection broke"):
            promote.promote(chosen, "champion", "fairer")
    [line] = lines(project)
    said = promote.promote(chosen, "champion", "not recorded")
    assert said.endswith("version 1, already: its tags were completed, nothing else was changed")
    aliases, versions = registry(project)[MODEL]
    assert (aliases, lines(project)) == ({"champion": 1}, [line])
    assert (versions[1]["champion.when"], versions[1]["champion.reason"]) == (line["when"], "fairer")
    assert versions[1]["champion.gate.min_aa_average"] == "passed: 0.6, limit 0.5"
    assert promote.promote(chosen, "champion", None).endswith("already: nothing was changed")


@pytest.mark.parametrize("before", [None, "rslad-s0"])
def test_a_promotion_that_broke_off_behind_the_registry_is_recorded_by_the_next(
    before: str | None, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias = MlflowClient.set_registered_model_alias

    def breaks(client: MlflowClient, name: str, alias: str, version: str) -> None:
        set_alias(client, name, alias, version)
        raise KeyboardInterrupt

    if before:
        promote.promote(candidate(project, before), "champion", None)
    held = {"run": before, "version": 1} if before else None
    chosen = candidate(project, "absld-s0")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", breaks)
        with pytest.raises(KeyboardInterrupt):
            promote.promote(chosen, "champion", "fairer")
    assert len(lines(project)) == bool(before)
    assert "already: its record was missing and is written" in promote.promote(chosen, "champion", "fairer")
    last = lines(project)[-1]
    assert (last["run"], last["reason"], last["previous"]) == ("absld-s0", "fairer", held)
    aliases, versions = registry(project)[MODEL]
    assert aliases == {"champion": last["version"]}
    assert versions[last["version"]]["champion.when"] == last["when"]
    assert promote.promote(chosen, "champion", None).endswith("already: nothing was changed")


def test_the_last_record_of_the_alias_counts_whatever_stands_behind_it(project: Path) -> None:
    record, chosen = project / promote.RECORD, candidate(project, "absld-s0")
    promote.promote(chosen, "champion", "fairer")
    promote.promote(chosen, "challenger", None)
    conflict = record.read_text() + ">>>>>>> theirs\n"
    record.write_text(conflict)
    client_of(project).delete_model_version_tag(MODEL, "1", "champion.reason")
    assert "its tags were completed" in promote.promote(chosen, "champion", None)
    assert registry(project)[MODEL][1][1]["champion.reason"] == "fairer"
    assert record.read_text() == conflict


@pytest.mark.parametrize("version", [1, 5])
def test_records_of_another_registry_are_left_alone(project: Path, version: int) -> None:
    """git brings those of colleagues, whose versions count from 1 as well."""
    record, chosen = project / promote.RECORD, candidate(project, "absld-s0")
    promote.promote(chosen, "champion", "fairer")
    [ours] = lines(project)
    theirs = ours | {"run": "rslad-s0", "version": version, "student_sha256": "0" * 64, "reason": "theirs"}
    record.write_text(f"{json.dumps(ours)}\n{json.dumps(theirs)}\n[1]\n")
    before = registry(project), record.read_bytes()
    assert promote.promote(chosen, "champion", None).endswith("already: nothing was changed")
    assert (registry(project), record.read_bytes()) == before


def test_a_record_begins_on_a_line_of_its_own(project: Path) -> None:
    (project / promote.RECORD).write_text('{"alias": "before"}')
    promote.promote(candidate(project, "absld-s0"), "champion", "first\u2028line")
    first, second = (project / promote.RECORD).read_text().removesuffix("\n").split("\n")
    assert (json.loads(first), json.loads(second)["run"]) == ({"alias": "before"}, "absld-s0")
    assert promote.promote(candidate(project, "absld-s0"), "champion", None).endswith("already: nothing was changed")


def test_a_command_that_only_shows_the_gates_imports_neither_torch_nor_mlflow(project: Path) -> None:
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try: main()\nfinally: print({'torch', 'mlflow'} & set(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    answer = subprocess.run(
        [sys.executable, "-c", code, "promote", "absld-s0", "--dry-run"], cwd=project, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stderr.strip() == "set()"
    assert "min_aa_worst" in answer.stdout
