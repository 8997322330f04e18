"""`absld keep`: what is copied of a finished run, what twice changes, what is refused."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kept_runs import CLASSES, invented, write_cards, write_made
from ruamel.yaml import YAML

from absld.errors import InputError
from absld.evaluation.arrays import read_npz
from absld.params.data import Public
from absld.params.load import load
from absld.records.files import read_json, sha256_of, write_json
from absld.records.layout import RunKey
from pipeline.chosen_runs import MEND, chosen
from pipeline.kept import Kept, keep
from pipeline.public_params import public_params
from pipeline.settings import edited

ROOT = Path(__file__).parents[1]
KEYS = (RunKey("rslad", 0), RunKey("absld", 0))
ATTACKS = ("clean", "pgd", "aa")
STAGES = ("__init__", "fetch_data", "fetch_teacher", "train", "evaluate", "export")
METHODS = ("__init__", "methods/__init__", "methods/trades", "methods/rslad", "methods/absld")
SOURCE = [*(f"stages/{name}.py" for name in STAGES), *(f"src/absld/{name}.py" for name in METHODS)]
FILES = ["card.json", "evaluation.json", "history.csv", "made.json", "params.yaml", "state.json", "verdicts.npz"]


def git(root: Path, *arguments: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", *name, "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose two runs are done, as the stages leave it; under git and DVC, to which no stage is known."""
    from stages.contracts import EVALUATE, EXPORT, FETCH_DATA, FETCH_TEACHER, TRAIN
    from stages.opening import listing, open_stage

    folder = tmp_path_factory.mktemp("finished")
    root = folder / "project"
    (root / ".dvc").mkdir(parents=True)
    for module in SOURCE:  # what the stages execute is hashed, not run
        (root / module).parent.mkdir(parents=True, exist_ok=True)
        (root / module).touch()
    params = YAML().load(ROOT / "pipeline/profiles/fashion-mnist.yaml")
    params["data"]["root"], params["runs"] = str(folder), {"methods": ["rslad", "absld"], "seeds": [0]}
    params["methods"] = {name: params["methods"][name] for name in ("rslad", "absld")}
    YAML().dump(params, root / "params.yaml")
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".gitignore").write_text("/runs/\n/data/\n/models/\n/code/\n/logs/\n")
    git(root, "init", "-q")
    git(root, "add", "params.yaml", "dvc.yaml", ".gitignore")
    git(root, "commit", "-q", "-m", "Begin")
    for key in KEYS:
        for stage in (FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE, EXPORT):
            opened = open_stage(stage, root, **({"method": key.method, "seed": "0"} if stage.axes else {}))
            for path in (*opened.reads.values(), *opened.writes.values()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")
            opened.reads["code"].write_text(listing(opened.code, opened.resolved))
        write_made(root, key, invented(key, ATTACKS))
    write_cards(root / "data/dataset/card.json", root / "models/teacher/card.json")
    for stage, seconds in ((TRAIN, 12.5), (EVALUATE, 3.0)):
        opened = open_stage(stage, root, method="absld", seed="0")
        fingerprint = opened.fingerprint if stage is TRAIN else "of an earlier attempt"
        log = {"fingerprint": fingerprint, "seconds": seconds, "torch": "2.15.0", "device": "cpu", "host": "mine"}
        write_json(root / "logs/absld-s0" / f"{stage.name}.json", {**log, "cpus": 2, "python": "3.11.7"})
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "a project"
    shutil.copytree(finished, root, symlinks=True)
    monkeypatch.chdir(root)
    return root


def kept(root: Path, *runs: str, **stale: list[str]) -> list[Kept]:
    return keep(root, root / "docs/results/clothes", load(root / "params.yaml"), runs, stale)


def bytes_of(root: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in (root / "docs/results/clothes").rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): (sha256_of(path), path.stat().st_mtime_ns) for path in files}


def test_what_is_kept_is_what_was_measured_and_no_weights(project: Path) -> None:
    commit = git(project, "rev-parse", "HEAD")
    (project / "dvc.yaml").write_text("stages: {}  # changed\n")
    assert [(run.key, run.new) for run in kept(project)] == [(key, True) for key in KEYS]
    folder, made = project / "docs/results/clothes", project / "runs/absld-s0"
    run = folder / "absld-s0"
    assert sorted(path.name for path in run.iterdir()) == FILES
    assert sorted(path.name for path in folder.iterdir()) == ["absld-s0", "data.json", "rslad-s0", "teacher.json"]
    for name, source in (
        ("evaluation.json", "evaluation/evaluation.json"),
        ("history.csv", "train/history.csv"),
        ("state.json", "train/state.json"),
        ("card.json", "export/card.json"),
    ):
        assert (run / name).read_bytes() == (made / source).read_bytes()
    assert (folder / "data.json").read_bytes() == (project / "data/dataset/card.json").read_bytes()
    before, after = read_npz(made / "evaluation/verdicts.npz"), read_npz(run / "verdicts.npz")
    assert before.keys() == after.keys() >= {"y", "pgd", "aa", "aa_index"}
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        np.testing.assert_array_equal(after[name], array)
    assert (run / "verdicts.npz").stat().st_size < (made / "evaluation/verdicts.npz").stat().st_size
    assert read_json(run / "made.json") == {
        "run": "absld-s0",
        "commit": commit,
        "changed": ["dvc.yaml"],
        "absld": "0.1.0",
        "torch": "2.15.0",
        "python": "3.11.7",
        "device": "cpu",
        "cpus": 2,
        "seconds": {"train": 12.5},
    }, "the log of the evaluation is about other files, and nobody needs to know the host"
    assert read_json(folder / "rslad-s0/made.json")["torch"] is None


def test_the_parameters_are_kept_but_for_where_the_images_lie(project: Path) -> None:
    kept(project)
    mine, theirs = (load(root / "params.yaml") for root in (project, project / "docs/results/clothes/absld-s0"))
    assert isinstance(mine.data, Public)
    assert isinstance(theirs.data, Public)
    assert Path(str(mine.data.root)).is_absolute()
    assert theirs.data.root is None
    assert mine.model_dump(exclude={"data"}) == theirs.model_dump(exclude={"data"})
    assert (project / "docs/results/clothes/absld-s0/params.yaml").read_text() == public_params(project / "params.yaml")
    everything = [path.read_bytes() for path in (project / "docs").rglob("*") if path.is_file()]
    assert not any(str(mine.data.root).encode() in content for content in everything)


def test_doing_it_twice_touches_nothing_even_after_a_commit(project: Path) -> None:
    kept(project)
    before = bytes_of(project)
    git(project, "add", "docs")
    git(project, "commit", "-q", "-m", "Keep")
    assert [(run.new, run.changed) for run in kept(project)] == [(False, [])] * 2
    assert bytes_of(project) == before


def test_a_run_that_is_different_now_is_replaced_and_the_others_are_not(project: Path) -> None:
    kept(project)
    before = bytes_of(project)
    fewer = {attack: of & (np.arange(len(of)) % 7 > 0) for attack, of in invented(KEYS[1], ATTACKS).items()}
    write_made(project, KEYS[1], fewer)
    git(project, "commit", "-q", "--allow-empty", "-m", "Another")
    rslad, absld = kept(project)
    assert (rslad.changed, absld.new) == ([], False)
    assert {"evaluation.json", "verdicts.npz"} <= set(absld.changed) <= set(FILES)
    after = bytes_of(project)
    assert {name for name in after if after[name] != before[name]} == {
        f"docs/results/clothes/absld-s0/{name}" for name in [*absld.changed, "made.json"]
    }
    stored = read_npz(project / "docs/results/clothes/absld-s0/verdicts.npz")
    np.testing.assert_array_equal(stored["pgd"], fewer["pgd"])


def test_a_run_that_was_replaced_by_half_is_not_read_as_whole(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(project)
    made = project / "docs/results/clothes/absld-s0/made.json"
    write_made(project, KEYS[1], {attack: ~of for attack, of in invented(KEYS[1], ATTACKS).items()})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.kept.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            kept(project, "absld-s0")
    assert not made.exists()
    kept(project, "absld-s0")
    assert read_json(made)["run"] == "absld-s0"


def test_verdicts_that_another_library_packed_are_the_same(project: Path) -> None:
    kept(project)
    file = project / "docs/results/clothes/absld-s0/verdicts.npz"
    np.savez(file, **read_npz(file))  # type: ignore[arg-type]
    before = bytes_of(project)
    assert kept(project, "absld-s0")[0].changed == []
    assert bytes_of(project) == before


def test_only_what_is_named_is_kept(project: Path) -> None:
    assert [run.key for run in kept(project, "absld-s0", "absld-s0")] == [KEYS[1]]
    assert not (project / "docs/results/clothes/rslad-s0").exists()


def test_what_is_unfinished_or_out_of_date_is_refused_and_nothing_is_kept(project: Path) -> None:
    (project / "runs/absld-s0/export/card.json").unlink()
    with pytest.raises(InputError, match=r"absld-s0: export@absld-0: a file is missing") as refused:
        kept(project)
    assert "or name those that are finished: rslad-s0." in str(refused.value)
    with pytest.raises(InputError, match=r"rslad-s0: evaluate@rslad-0: params.yaml: evaluate modified"):
        kept(project, "rslad-s0", **{"evaluate@rslad-0": ["params.yaml: evaluate modified"]})
    with pytest.raises(InputError, match=r"'fat-s0' is no run of params.yaml: there are rslad-s0, absld-s0"):
        kept(project, "fat-s0")
    assert not (project / "docs").exists()
    assert kept(project, "rslad-s0")[0].new


@pytest.mark.parametrize(
    ("card", "change", "complaint"),
    [
        ("data/dataset/card.json", {"sha256": {"test_x.npy": "00"}}, "on other data (data.json differs in sha256)"),
        ("models/teacher/card.json", {"accuracy": {}}, "with another teacher (teacher.json differs in accuracy)"),
    ],
)
def test_runs_of_other_data_or_another_teacher_do_not_enter(
    project: Path, card: str, change: dict[str, object], complaint: str
) -> None:
    kept(project)
    before = bytes_of(project)
    write_json(project / card, read_json(project / card) | change)
    with pytest.raises(InputError) as refused:
        kept(project, "absld-s0")
    assert complaint in str(refused.value)
    assert bytes_of(project) == before


def test_a_file_is_no_folder(project: Path) -> None:
    (project / "docs/results").mkdir(parents=True)
    (project / "docs/results/clothes").touch()
    with pytest.raises(InputError, match="is a file"):
        kept(project)


def test_without_git_there_is_no_commit(project: Path) -> None:
    shutil.rmtree(project / ".git")
    kept(project, "absld-s0")
    made = read_json(project / "docs/results/clothes/absld-s0/made.json")
    assert (made["commit"], made["changed"]) == (None, [])


def test_the_command_keeps_says_so_and_compare_takes_what_is_kept(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert absld("keep", "docs/results/clothes") == 0
    assert "absld-s0 is kept in docs/results/clothes/absld-s0\n" in capsys.readouterr().out
    assert absld("compare", "runs/rslad-s0", "runs/absld-s0", "--attack", "aa") == 0
    of_runs = capsys.readouterr().out
    shutil.rmtree(project / "runs")
    assert absld("compare", "docs/results/clothes/rslad-s0", "docs/results/clothes/absld-s0", "--attack", "aa") == 0
    assert capsys.readouterr().out == of_runs
    assert f"n = {20 * len(CLASSES)};" in of_runs
    assert absld("keep", "docs/results/clothes") == 2
    assert "`absld repro` makes them" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("keep", "params.yaml/here") == 2
    assert capsys.readouterr().err.startswith("params.yaml/here cannot be written: name another place")


# --- what `absld compare` takes where nobody names a run -----------------------------------------------------------------


def test_compare_takes_the_runs_of_params_that_are_up_to_date_in_its_order(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_made(project, RunKey("trades", 0), invented(RunKey("trades", 0), ATTACKS))  # of another params.yaml
    assert chosen(project) == (["rslad-s0", "absld-s0"], None)
    path = project / "params.yaml"
    path.write_text(edited(path.read_text(), ["runs.seeds=[1, 0]"]))
    shutil.copytree(project / "runs/rslad-s0", project / "runs/rslad-s1")
    (project / "runs/absld-s0/evaluation/verdicts.npz").unlink()
    runs, remark = chosen(project)
    assert runs == ["rslad-s1", "rslad-s0"]
    assert remark == f"Left out: absld-s1 (not evaluated), absld-s0 (out of date). {MEND}."
    path.write_text("data: {}\n")
    assert chosen(project).runs == ["absld-s0", "rslad-s0", "rslad-s1", "trades-s0"]
    assert absld("compare", "--attack", "pgd") == 0
    said = capsys.readouterr()
    assert "trades-s0" in said.out
    assert said.err.startswith("All in runs/")


def test_a_method_stands_for_its_runs_of_params_that_are_up_to_date(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of an earlier recipe lie in runs/ until somebody deletes them."""
    for method in ("rslad", "absld", "trades"):
        write_made(project, RunKey(method, 7), invented(RunKey(method, 7), ATTACKS))
    left_out = "Left out: absld-s7 (not in params.yaml), rslad-s7 (not in params.yaml). "
    assert absld("compare", "rslad", "absld", "--csv", "runs.csv") == 0
    assert capsys.readouterr().err == f"{left_out}{MEND}.\n"
    assert {line.split(",")[0] for line in (project / "runs.csv").read_text().splitlines()[1:]} == {
        "rslad-s0",
        "absld-s0",
    }
    for two in (["rslad", "absld"], ["rslad", "absld-s0"]):
        assert absld("compare", *two) == 0
        assert "Won, lost: images that only absld-s0, only rslad-s0 gets right" in capsys.readouterr().out
    assert absld("compare", "absld-s0", "trades") == 2
    assert "no run of trades is in params.yaml and up to date: trades-s7" in capsys.readouterr().err
    assert absld("compare", "rslad-s7", "absld-s7") == 0
    assert capsys.readouterr().err == ""
