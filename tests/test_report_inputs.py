"""What the report reads, what it refuses, and that it is the same report every time."""

import functools
import operator
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_runs import files_of, run_of, write_data, write_run
from ruamel.yaml import YAML

from absld.errors import InputError
from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.report.inputs import check_agreement, read_run
from stages import report as report_stage
from stages.contracts import REPORT
from stages.opening import open_stage


@pytest.mark.parametrize("name", ["history", "state", "evaluation", "card"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path, name: str) -> None:
    files = write_run(tmp_path, RunKey("absld", 3), epochs=2)
    missing = getattr(files, name)
    missing.unlink()
    stage = {"history": "train", "state": "train", "evaluation": "evaluate", "card": "export"}[name]
    with pytest.raises(InputError) as error:
        read_run(RunKey("absld", 3), files)
    assert str(missing) in str(error.value)
    assert f"python -m stages.{stage} absld 3" in str(error.value)


@pytest.mark.parametrize(("name", "content"), [("evaluation", '{"attacks": '), ("history", "epoch,quantity\n1,x\n")])
def test_half_a_file_is_refused(tmp_path: Path, name: str, content: str) -> None:
    files = write_run(tmp_path, RunKey("absld", 0), epochs=2)
    getattr(files, name).write_text(content)
    with pytest.raises(InputError, match=getattr(files, name).name):
        read_run(RunKey("absld", 0), files)


@pytest.mark.parametrize(
    ("name", "stage", "lacks"),
    [
        ("state", "train", "train"),
        ("evaluation", "evaluate", "curves"),
        ("evaluation", "evaluate", "attacks.cw.interval95.overall"),
        ("evaluation", "evaluate", "last.pgd.n"),
        ("evaluation", "evaluate", "curves.steps.2.settings"),
        ("card", "export", "parity.images"),
    ],
)
def test_a_run_of_an_older_version_is_named_with_what_it_lacks(
    tmp_path: Path, name: str, stage: str, lacks: str
) -> None:
    files = write_run(tmp_path, RunKey("absld", 3), epochs=2)
    content = read_json(getattr(files, name))
    *above, last = [int(key) if key.isdecimal() else key for key in lacks.split(".")]
    del functools.reduce(operator.getitem, above, content)[last]
    write_json(getattr(files, name), content)
    with pytest.raises(InputError) as error:
        read_run(RunKey("absld", 3), files)
    said = str(error.value)
    assert said.startswith(f"{getattr(files, name)} has no {lacks}: another version of absld wrote it.")
    assert f"python -m stages.{stage} absld 3" in said


@pytest.mark.parametrize("content", ["[]", "null", "7"])
def test_json_that_is_no_object_lacks_everything(tmp_path: Path, content: str) -> None:
    files = write_run(tmp_path, RunKey("absld", 0), epochs=2)
    files.evaluation.write_text(content)
    with pytest.raises(InputError, match="has no dataset"):
        read_run(RunKey("absld", 0), files)


@pytest.mark.parametrize(
    "change",
    [
        lambda evaluation: evaluation["threat_model"].update(eps_text="4/255"),
        lambda evaluation: evaluation["attacks"].pop("aa"),
        lambda evaluation: evaluation["attacks"]["pgd"].update(n=7),
        lambda evaluation: evaluation.update(classes=["cat", "cow"]),
    ],
)
def test_runs_that_were_measured_differently_stand_in_no_table(change: Callable[[Any], object]) -> None:
    runs = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 6])]
    check_agreement(runs)
    change(runs[1].evaluation)
    with pytest.raises(InputError, match="absld-s0"):
        check_agreement(runs)


def make_report(root: Path, project: Path, methods: list[str], seeds: list[int], baseline: str | None) -> None:
    """What `python -m stages.report` does in a project with these params."""
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["runs"]["methods"], params["runs"]["seeds"], params["report"]["baseline"] = methods, seeds, baseline
    yaml.dump(params, root / "params.yaml")
    report_stage.work(open_stage(REPORT, root))


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("reports/**/*")) if path.is_file()
    }


def test_the_same_runs_give_the_same_bytes_whatever_else_lies_there(tmp_path: Path, root: Path) -> None:
    plain, cluttered = tmp_path / "plain", tmp_path / "cluttered"
    for folder, methods in ((plain, ["rslad", "absld"]), (cluttered, ["rslad", "absld", "trades"])):
        write_data(folder)
        for method in methods:
            write_run(folder, RunKey(method, 0))
    make_report(plain, root, ["rslad", "absld"], [0], "rslad")
    make_report(cluttered, root, ["rslad", "absld", "trades"], [0], "rslad")
    assert b"TRADES" in everything(cluttered)["reports/summary.html"]
    (cluttered / "reports" / "figures" / "classes_old.svg").write_text("<svg/>")
    make_report(cluttered, root, ["rslad", "absld"], [0], "rslad")
    assert everything(plain) == everything(cluttered)
    assert not any(b"trades" in content.lower() for content in everything(cluttered).values())
    shutil.rmtree(files_of(cluttered, RunKey("absld", 0)).card.parent)
    with pytest.raises(InputError, match="card"):
        make_report(cluttered, root, ["rslad", "absld"], [0], "rslad")


def test_the_summary_is_a_metric_of_numbers(tmp_path: Path, root: Path) -> None:
    write_data(tmp_path)
    write_run(tmp_path, RunKey("absld", 0))
    make_report(tmp_path, root, ["absld"], [0], None)
    summary = read_json(tmp_path / "reports" / "summary.json")
    aa = summary["methods"]["absld"]["aa"]
    measured = read_json(files_of(tmp_path, RunKey("absld", 0)).evaluation)["attacks"]["aa"]["accuracy"]
    assert aa["average"]["mean"] == measured["average"]
    assert {name: of["mean"] for name, of in aa["per_class"].items()} == measured["per_class"]
    assert summary["runs"]["absld-s0"]["best_epoch"] == 3
    assert summary["teacher"]["accuracy"]["pgd"]["average"]["mean"] == 27 / 36
