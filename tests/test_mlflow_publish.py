"""Which run is whose, and a whole project published from its files."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow_runs import client_of, everything, history, new_project, runs_of, write_report, write_run

from absld.params.load import load
from absld.params.root import Params
from absld.records.files import write_json
from absld.records.history import write_history
from absld.records.layout import RunKey
from absld.watch.identity import identity
from absld.watch.mlflow_mirror import training
from absld.watch.replay import Files, Report
from absld.watch.store import open_store
from pipeline.publish import mirror, publish
from pipeline.settings import edited

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


def test_mlflow_is_told_no_secret_and_no_folder_of_this_machine(finished: Path) -> None:
    file, sha256 = finished / "params.yaml", "0123456789abcdef" * 4
    stored = f"eps: 0.1, architecture: tiny_resnet16, normalisation: null, sha256: {sha256}"
    secret = f'teacher={{source: url, url: "https://ada:secret@example.org/b.pt?token=secret", {stored}}}'
    file.write_text(edited(file.read_text(encoding="utf-8"), [secret]), encoding="utf-8")
    publish(finished, load(file), ())
    once = everything(finished)
    told = client_of(finished).download_artifacts(once["absld-s0"]["id"], "params.yaml")
    assert "https://example.org/b.pt" in Path(told).read_text() and "secret" not in Path(told).read_text()
    publish(finished, load(file), ())
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
