"""The command line: what it refuses, what it writes, how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from absld.errors import InputError
from absld.params.root import Params
from absld.watch.progress import Progress, duration
from pipeline import compare, doctor, dvc, processes, profiles, server
from pipeline.project import find_root
from pipeline.settings import edited

ROOT = Path(__file__).parent.parent
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
DVC_YAML = """
stages:
  one:
    cmd: echo 1 > one.txt
    params: [train.max_epochs]
    outs: [one.txt]
  train:
    matrix:
      method: ${runs.methods}
      seed: ${runs.seeds}
    cmd: >-
      mkdir -p logs/${item.method}-s${item.seed} &&
      echo '{"stage": "train", "key": "${item.method}-s${item.seed}", "seconds": 1.5, "started": "2026-01-01"}'
      > logs/${item.method}-s${item.seed}/train.json && cp one.txt ${item.method}-${item.seed}.txt
    deps: [one.txt]
    outs: ["${item.method}-${item.seed}.txt"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real DVC project without a commit, whose stages are shell commands."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML)
    git(root, "init", "-q")
    monkeypatch.chdir(root)
    return root


def git(root: Path, *arguments: str) -> None:
    name = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *name, "-C", str(root), *arguments], check=True)


def load(text: str) -> dict:  # type: ignore[type-arg]
    return YAML(typ="safe", pure=True).load(text)  # type: ignore[no-any-return]


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


# --set


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("train.max_epochs=2", "  max_epochs: 2                  # "),
        ("methods.absld.attack.eps=4/255", "    attack: {eps: 4/255, step: 0.025, steps: 7, start: gaussian}\n"),
        ("methods.absld.alpha=0.123456", "    alpha: 0.123456              # "),
        ("student.normalisation={mean: [0.5], std: [0.25]}", "  normalisation: {mean: [0.5], std: [0.25]}  # the"),
        ("runs.seeds=[0, 1]", "  seeds: [0, 1]\n\ntrain:"),
        (
            "evaluate.attacks.aa=null",
            "    aa: null                                                # AutoAttack; all four parts are its standard version\n  curves:",
        ),
    ],
)
def test_set_changes_one_place_and_keeps_every_comment_elsewhere(assignment: str, line: str) -> None:
    set_in(PARAMS, assignment, line)


BLOCKS = """\
methods:
  trades:                        # a method
    milestones:                  # when lr falls
      - 18
      - 22
    attack:                      # the walk
      eps: 0.1

runs:
  seeds:
    - 0

train: {}
"""


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("methods.trades.attack.eps=4/255", "      eps: 4/255\n"),
        ("methods.trades.attack=null", "    attack: null                      # the walk\n\nruns:"),
        ("runs.seeds=[0, 1]", "  seeds:\n    - 0\n    - 1\n\ntrain:"),
        ("methods.trades.milestones=[3]", "    milestones:                  # when lr falls\n      - 3\n"),
    ],
)
def test_set_keeps_the_form_of_what_a_user_wrote_in_blocks(assignment: str, line: str) -> None:
    set_in(BLOCKS, assignment, line)


def set_in(text: str, assignment: str, line: str) -> None:
    new = edited(text, [assignment])
    key, _, value = assignment.partition("=")
    assert line in new
    expected = load(text)
    *path, last = key.split(".")
    block = expected
    for part in path:
        block = block[part]
    block[last] = load(value)
    assert load(new) == expected
    assert comments(new) == comments(text)


LEAVES = [
    key
    for section, block in load(PARAMS).items()
    if isinstance(block, dict)
    for key in (f"{section}.{name}" for name, value in block.items() if not isinstance(value, dict))
]


@settings(max_examples=40, deadline=None)
@given(key=st.sampled_from(LEAVES), values=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_setting_any_key_touches_no_other(key: str, values: list[int]) -> None:
    new = load(edited(PARAMS, [f"{key}={values}"]))
    old = load(PARAMS)
    section, name = key.split(".")
    assert new[section].pop(name) == values
    old[section].pop(name)
    assert new == old


def test_later_settings_see_earlier_ones() -> None:
    assert load(edited(PARAMS, ["data={source: svhn, root: x}", "data.root=null"]))["data"] == {
        "source": "svhn",
        "root": None,
    }


@pytest.mark.parametrize(
    ("assignment", "hint"),
    [
        ("train.max_epoch=2", "did you mean 'train.max_epochs'"),
        ("max_epochs=2", "did you mean 'train.max_epochs'"),
        ("methods.absdl.alpha=1", "did you mean 'methods.absld.alpha'"),
        ("train.max_epochs", "write KEY=VALUE"),
        ("train.max_epochs=", "write KEY=VALUE"),
        ("train.max_epochs=[1", "must be YAML on one line"),
    ],
)
def test_a_wrong_setting_says_what_was_meant(assignment: str, hint: str) -> None:
    with pytest.raises(InputError, match=re.escape(hint)):
        edited(PARAMS, [assignment])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "train.max_epoch=2"],
        ["--set", "methods.absld.attack.eps=8"],
        ["--set", "train.max_epochs=2", "--set", "runs.methods=[absdl]"],
        ["--profile", "digit"],
        ["trian"],
    ],
)
def test_what_is_invalid_is_neither_written_nor_run(
    arguments: list[str], project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(PARAMS + "\n# mine\n", encoding="utf-8")
    before = (project / "params.yaml").read_bytes()
    assert absld("repro", *arguments) == 2
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == [".dvc", ".git", "dvc.yaml", "params.yaml"]
    assert "Traceback" not in capsys.readouterr().err


# profiles


@pytest.fixture
def two_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "digits.yaml").write_text(PARAMS.replace("$schema=pipeline/", "$schema=../"), encoding="utf-8")
    (folder / "brief.yaml").write_text(PARAMS.replace("max_epochs: null", "max_epochs: 1"), encoding="utf-8")
    monkeypatch.setattr(profiles, "FOLDER", folder)


@pytest.mark.usefixtures("two_profiles")
def test_a_profile_never_overwrites_work_that_is_nowhere_else(project: Path) -> None:
    path = project / "params.yaml"
    assert profiles.use(project, "brief") is None  # it was equal to `digits`
    assert "max_epochs: 1" in path.read_text()

    path.write_text(PARAMS + "# mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="--force"):
        profiles.use(project, "brief")
    assert path.read_text() == PARAMS + "# mine\n"

    kept = profiles.use(project, "brief", force=True)
    assert kept == project / "params.yaml.kept-1"
    assert kept.read_text() == PARAMS + "# mine\n"

    path.write_text(PARAMS + "# again\n", encoding="utf-8")
    _, kept = profiles.configure(project, "digits", ["train.max_epochs=3"])
    assert kept == project / "params.yaml.kept-2"
    assert "max_epochs: 3" in path.read_text()


@pytest.mark.usefixtures("two_profiles")
def test_a_committed_file_may_be_overwritten_a_staged_one_may_not(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(PARAMS + "# mine\n", encoding="utf-8")
    git(project, "add", "params.yaml")
    assert not profiles.is_kept_elsewhere(project)
    git(project, "commit", "-qm", "mine")
    assert profiles.is_kept_elsewhere(project)
    path.write_text(PARAMS + "# changed\n", encoding="utf-8")
    assert not profiles.is_kept_elsewhere(project)


@pytest.mark.usefixtures("two_profiles")
def test_an_unknown_profile_has_a_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        profiles.text_of("digit")


def test_every_shipped_profile_can_be_taken(tmp_path: Path) -> None:
    for name in profiles.names():
        (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
        profiles.configure(tmp_path, name, to_run=False)
        assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == profiles.text_of(name)


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = json.loads((ROOT / "pipeline" / "params.schema.json").read_text(encoding="utf-8"))
    assert committed == Params.model_json_schema()


# the project


def test_the_root_is_found_from_below(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with pytest.raises(InputError, match="not inside a project"):
        find_root(below)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(InputError, match=r"no params\.yaml"):
        find_root(below)
    (tmp_path / "params.yaml").touch()
    assert find_root(below) == tmp_path


def test_stage_names_are_dvcs(project: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], capture_output=True, text=True
    )
    items = set(listed.stdout.split())
    assert items == {"one", "train@rslad-0", "train@absld-0"}
    assert set(dvc.stage_names(project)) == items | {"train"}


# running


def test_repro_runs_what_changed_and_says_so(
    project: Path, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert absld("repro", "one") == 0
    assert "Still out of date: train@rslad-0, train@absld-0" in capfd.readouterr().out

    assert absld("repro") == 0
    said = capfd.readouterr().out
    assert "1.5  train rslad-s0\n" in said
    assert "3.0  together" in said

    assert absld("repro") == 0
    assert "Nothing had to run" in capfd.readouterr().out

    assert absld("repro", "--set", "runs.seeds=[0, 1]") == 0
    said = capfd.readouterr().out
    assert "train absld-s1" in said
    assert "train absld-s0" not in said

    (project / "params.yaml").write_text(PARAMS.replace("max_epochs: null", "max_epochs: 1"), encoding="utf-8")
    assert absld("status") == 0
    assert "one\n    params.yaml: train.max_epochs modified" in capfd.readouterr().out


SAID = json.dumps({"stage": "one", "code": 2, "message": "no CUDA here"})


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 1), (f"mkdir -p .absld && echo '{SAID}' > .absld/failure.json; exit 2", 2), ("kill -9 $$", 1)],
)
def test_exit_codes_tell_input_from_failure(
    command: str, code: int, project: Path, absld: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    stages = {"stages": {"one": {"cmd": command, "outs": ["one.txt"]}}}
    (project / "dvc.yaml").write_text(json.dumps(stages))
    (project / ".absld").mkdir()
    (project / ".absld" / "failure.json").write_text('{"stage": "old", "code": 2, "message": "of last time"}')
    assert absld("repro") == code
    said = capfd.readouterr().err
    assert "of last time" not in said
    assert ("no CUDA here" in said) == (code == 2)


STAGE_WITH_CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(300)"])  # as torchrun's workers do
open("started", "w").close()
try:
    time.sleep(300)
finally:
    open("goodbye", "w").close()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_stage_and_all_below_it(number: signal.Signals, code: int, project: Path) -> None:
    (project / "stage.py").write_text(STAGE_WITH_CHILD)
    stages = {"stages": {"one": {"cmd": f"{sys.executable} stage.py", "outs": ["one.txt"]}}}
    (project / "dvc.yaml").write_text(json.dumps(stages))
    wrapper = start(project, "repro")
    wait_for(lambda: (project / "started").exists() and len(descendants(wrapper)) >= 3)
    below = descendants(wrapper)
    wrapper.send_signal(number)
    assert wrapper.wait(timeout=30) == code
    assert (project / "goodbye").exists()
    assert [process for process in below if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_what_ignores_the_signal_is_killed(project: Path) -> None:
    (project / "stage.sh").write_text("trap '' TERM\ntouch started\nwhile true; do sleep 0.1; done\n")
    code = """
import os
from pathlib import Path
from pipeline import processes
print(processes.run(["sh", "stage.sh"], cwd=Path(), env=os.environ, grace=0.5))
"""
    wrapper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=project)
    wait_for(lambda: (project / "started").exists())
    below = descendants(wrapper)
    wrapper.send_signal(signal.SIGTERM)
    said, _ = wrapper.communicate(timeout=30)
    assert "killed=True" in said
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below)


def test_a_stage_does_not_outlive_a_killed_dvc(project: Path) -> None:
    code = """
import os, signal, subprocess
child = subprocess.Popen(["sleep", "300"])
open("pid", "w").write(str(child.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = processes.run([sys.executable, "-c", code], cwd=project, env=os.environ)
    assert (ended.code, ended.told) == (-signal.SIGKILL, None)
    child = int((project / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def start(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    code = "from pipeline.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=root, text=True)


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(condition: "object", seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


# showing


def evaluation(run: str, by_class: dict[str, float], *, eps: str = "0.1", half: float = 0.01) -> dict[str, object]:
    average, worst = sum(by_class.values()) / len(by_class), min(by_class.values())
    accuracy = {
        "average": average,
        "worst": worst,
        "overall": (average + worst) / 2,
        "nsd": None,
        "per_class": by_class,
    }
    intervals = {name: [value - half, value + half] for name, value in by_class.items()}
    whole = {key: [value - half, value + half] for key, value in accuracy.items() if isinstance(value, float)}
    outcome = {"accuracy": accuracy, "interval95": {**whole, "per_class": intervals}, "n": 20}
    return {
        "run": run,
        "dataset": "digits",
        "classes": list(by_class),
        "threat_model": {"eps_text": eps},
        "attacks": {"pgd": outcome},
    }


def test_compare_shows_classes_and_marks_differences_that_are_real(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for run, worst in (("rslad-s0", 0.25), ("absld-s0", 0.5)):
        path = project / "runs" / run / "evaluation" / "evaluation.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(evaluation(run, {"cat": worst, "dog": 0.755})))
    assert absld("compare", "rslad-s0", "absld-s0") == 0
    rows = {line[:12].strip(): line[12:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["cat"] == ["25.0", "50.0", "+25.0*"]
    assert rows["dog"] == ["75.5", "75.5", "0.0"]
    assert rows["Overall"] == ["37.6", "56.4", "+18.8*"]  # ((25 + 75.5)/2 + 25)/2, ((50 + 75.5)/2 + 50)/2
    assert rows["NSD"] == ["–", "–", "–"]


def test_compare_refuses_what_cannot_be_compared(project: Path) -> None:
    with pytest.raises(InputError, match="none yet"):
        compare.read_evaluation(project, "absld-s0")
    one, other = evaluation("a", {"cat": 0.5}), evaluation("b", {"cat": 0.5}, eps="8/255")
    with pytest.raises(InputError, match="classes or eps"):
        compare.table([one, other], None)
    with pytest.raises(InputError, match="choose from pgd"):
        compare.table([one, one], "aa")


def test_params_check_names_the_line(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("params", "check") == 0
    assert "in order" in capsys.readouterr().out
    text = PARAMS.replace("select_on:", "selekt_on:")
    (project / "params.yaml").write_text(text, encoding="utf-8")
    line = 1 + text[: text.index("selekt_on")].count("\n")
    assert absld("params", "check") == 2
    assert f"params.yaml:{line}:3 train.selekt_on: unknown key, did you mean 'select_on'" in capsys.readouterr().err


def test_params_show_gives_fractions_as_numbers(
    absld: Callable[..., int], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert absld("params", "show") == 0
    said = capsys.readouterr().out.splitlines()
    assert "methods.absld.alpha: 5/6  = 0.833333" in said
    assert "train.max_epochs: null" in said


def test_the_doctor_sees_what_is_wrong(project: Path) -> None:
    shutil.copytree(ROOT / "stages", project / "stages")
    lines = list(doctor.examine(project))
    found = {line.text: line.fine for line in lines}
    assert any(text.startswith("devices: ") and fine for text, fine in found.items())
    assert any("nothing is committed" in text and not fine for text, fine in found.items())
    assert any(text.startswith("not in git: ") and not fine for text, fine in found.items())
    (project / "params.yaml").write_text("data: {}\n")
    assert any("source" in line.text and not line.fine for line in doctor.examine(project))


def test_a_taken_port_is_the_users_to_choose_again(project: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match="is taken"):
            server.serve(project, taken.getsockname()[1])


# starting up


def test_the_command_line_starts_light() -> None:
    code = "import sys, pipeline.cli; print({'torch', 'mlflow', 'dvc', 'pydantic', 'ruamel'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


def test_help_is_there_at_once(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(tmp_path),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(4):
        begun = time.monotonic()
        code = "from pipeline.cli import main; main()"
        answer = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, env=environment)
        seconds.append(time.monotonic() - begun)
        assert "absld repro --profile cifar10" in answer.stdout
    assert min(seconds) < 1.5  # half a second on a quiet machine


# progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


def test_progress_in_a_pipe_is_a_line_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "train/loss": 0.21,
        "validation/clean_average": 0.97,
        "validation/pgd_average": 0.712,
        "validation/pgd_worst": 0.48,
    }
    with Progress("absld-s0", epochs=60, every=5) as progress:
        progress.epoch(10, {})  # resumed: ten epochs say nothing of the speed
        for epoch in (11, 12, 13, 60):
            clock[0] += 3
            progress.epoch(epoch, values)
    assert capsys.readouterr().out.splitlines() == [
        "absld-s0  epoch 10/60",
        "absld-s0  epoch 12/60  loss 0.21  validation clean 97.0, pgd average 71.2 worst 48.0  2 min 24 s left",
        "absld-s0  epoch 60/60  loss 0.21  validation clean 97.0, pgd average 71.2 worst 48.0",
    ]


def test_progress_starts_anew_with_the_next_attack(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("absld-s0", every=0) as progress:
        progress("PGD-20", 0, 2)
        clock[0] += 4
        progress("PGD-20", 1, 2)
        progress("PGD-20", 2, 2)
        progress("CW-30", 0, 2)
        clock[0] += 100
        progress("CW-30", 1, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "absld-s0  PGD-20  (50 % done)  4 s left"
    assert lines[-1] == "absld-s0  CW-30  (50 % done)  1 min 40 s left"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3600, 3661)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 h 1 min",
    ]
