"""`absld sweep`: several runs at a time, with real DVC; what fails, what is ended, what goes on."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from still_alive import descendants, killed_in_the_end, lives, survivors

from absld.params.load import load
from absld.records.layout import RunKey
from pipeline import dvc, sweep
from pipeline.outcome import why
from pipeline.sweep import Made, Sweep, unfinished
from pipeline.sweep_progress import Progress, ended_line, last_line, total_line

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[1]
SECONDS = 240
STAGE = """
import json, os, sys, time
from pathlib import Path
stage, method, seed, *reads = sys.argv[1:]
key, wanted = f"{method}-s{seed}", Path("wanted") / f"{method}-s{seed}"
print(f"{key}  {stage} 1/2  5 s left", flush=True)
begun = Path("begun"); begun.mkdir(exist_ok=True)
(begun / f"{time.time():.6f}-{stage}-{key}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
if stage == "train":
    said = wanted.read_text() if wanted.exists() else ""
    if said == "die":
        os.kill(os.getpid(), 9)
    if said == "fail":
        log = Path("logs") / key / "train.json"; log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps({"stage": "train", "exit_code": 1, "message": "ValueError: no luck\\nat all"}))
        sys.exit(1)
    time.sleep(float(said or 0))
out = Path("runs") / key / stage; out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(stage + key)
"""
ITEM = "${item.method} ${item.seed}"
RUN = "runs/${item.method}-s${item.seed}"
MATRIX = "{method: '${runs.methods}', seed: '${runs.seeds}'}"
DVC_YAML = f"""
stages:
  code: {{matrix: {{method: '${{runs.methods}}'}}, cmd: 'mkdir -p code && echo 1 > code/${{item.method}}', outs: ['code/${{item.method}}']}}
  code_of_stages: {{cmd: echo 1 > listed, outs: [listed]}}
  fetch_data: {{cmd: echo 1 > data, deps: [listed], params: [data], outs: [data]}}
  fetch_teacher: {{cmd: echo 1 > teacher, deps: [data], params: [teacher], outs: [teacher]}}
  train: {{matrix: {MATRIX}, cmd: 'python stage.py train {ITEM}', deps: [data, teacher, 'code/${{item.method}}'], params: [train], outs: ['{RUN}/train']}}
  evaluate: {{matrix: {MATRIX}, cmd: 'python stage.py evaluate {ITEM}', deps: ['{RUN}/train'], outs: ['{RUN}/evaluate']}}
  export: {{matrix: {MATRIX}, cmd: 'python stage.py export {ITEM}', deps: ['{RUN}/evaluate'], outs: ['{RUN}/export']}}
  report: {{cmd: 'ls -d runs/* > report', deps: [runs], outs: [report]}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project with this project's stages, which only write what they are called."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "stage.py").write_text(STAGE)
    (root / "wanted").mkdir()
    monkeypatch.chdir(root)
    return root


def start(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "sweep", *arguments]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def sweeps(root: Path, *arguments: str) -> tuple[int, str]:
    with killed_in_the_end(start(root, *arguments)) as process:
        said = process.communicate(timeout=SECONDS)[0]
        return process.returncode, said


def begun(root: Path, stage: str) -> list[str]:
    """The runs whose stage began, in order."""
    names = sorted(path.name for path in (root / "begun").glob("*"))
    return [name.split("-", 2)[2] for name in names if name.split("-", 2)[1] == stage]


@pytest.mark.slow
def test_a_run_that_fails_or_dies_costs_the_others_nothing_and_is_tried_again(project: Path) -> None:
    (project / "wanted" / "rslad-s1").write_text("fail")
    (project / "wanted" / "absld-s0").write_text("die")
    code, said = sweeps(
        project, "--methods", "rslad,absld", "--seeds", "0-1", "--workers", "2", "--set", "train.device=cpu"
    )
    assert code == 1, said
    assert "4 of 4 runs to make; worker 1, worker 2" in said
    assert re.search(r"rslad-s1 failed after .*: train: ValueError: no luck\n", said)
    # A shell that does not replace itself with its last command reports signal 9 as 128 + 9.
    assert re.search(r"absld-s0 failed after .*: failed to reproduce 'train@absld-0'.*exited with (-9|137)", said)
    assert str(Path(".absld/sweep/rslad-s1.log")) in said
    assert sorted(begun(project, "train")) == ["absld-s0", "absld-s1", "rslad-s0", "rslad-s1"]
    assert sorted(begun(project, "export")) == ["absld-s1", "rslad-s0"]
    assert not (project / "report").exists()
    assert "rslad-s1  train 1/2  5 s left" in (project / ".absld/sweep/rslad-s1.log").read_text()
    for path in (project / "wanted").iterdir():
        path.unlink()
    code, said = sweeps(project)
    assert code == 0, said
    assert "2 of 4 runs to make" in said
    assert len(begun(project, "train")) == 6
    assert (project / "report").read_text().count("runs/") == 4
    assert dvc.changed(project) == {}
    code, said = sweeps(project)
    assert code == 0
    assert "0 of 4 runs to make" in said
    assert len(begun(project, "train")) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_told_to_stop_ends_every_worker_and_keeps_what_was_made(
    project: Path, number: signal.Signals, code: int
) -> None:
    for key in ("rslad-s1", "absld-s0"):
        (project / "wanted" / key).write_text("100")
    arguments = ("--methods", "rslad,absld", "--seeds", "0-1", "--workers", "2", "--set", "train.device=cpu")
    with killed_in_the_end(start(project, *arguments)) as process:
        deadline = time.monotonic() + SECONDS
        while not {"rslad-s1", "absld-s0"} <= set(begun(project, "train")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        family = descendants(process)
        assert len(sweeps(project)[1].splitlines()) == 1  # another sweep is refused meanwhile
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == code, said
    assert "3 runs are left" in said
    assert not survivors(family)
    for path in (project / "wanted").iterdir():
        path.unlink()
    code, said = sweeps(project)
    assert code == 0, said
    assert begun(project, "train").count("rslad-s0") == 1
    assert dvc.changed(project) == {}


@pytest.mark.slow
def test_after_a_kill_the_next_sweep_ends_what_is_left_and_goes_on(project: Path) -> None:
    (project / "wanted" / "absld-s0").write_text("100")
    arguments = ("--methods", "absld", "--seeds", "0", "--set", "train.device=cpu", "--set", "report.baseline=null")
    with killed_in_the_end(start(project, *arguments)) as process:
        deadline = time.monotonic() + SECONDS
        while "absld-s0" not in begun(project, "train"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        family = descendants(process)
        process.kill()
        process.wait()  # it alone: the others are for the next sweep
    assert any(map(lives, family))
    (project / "wanted" / "absld-s0").unlink()
    code, said = sweeps(project)
    assert code == 0, said
    assert "A command was killed here and left" in said
    assert not survivors(family)
    assert dvc.changed(project) == {}


def test_a_run_is_finished_when_none_of_its_stages_differs() -> None:
    params = load(ROOT / "params.yaml")
    assert unfinished(params, {"report", "train@natural-5"}) == []
    assert unfinished(params, {"export@absld-0"}) == [RunKey("absld", 0)]
    assert unfinished(params, {"train@rslad-0", "evaluate@absld-0"}) == [RunKey("rslad", 0), RunKey("absld", 0)]


def test_a_stage_says_why_it_failed_and_a_log_of_another_day_does_not(tmp_path: Path) -> None:
    output, log = tmp_path / "output", tmp_path / "logs/absld-s0/train.json"
    output.write_text("Running stage 'train@absld-0':\nERROR: failed to reproduce 'train@absld-0': exited with -9\n")
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"stage": "train", "exit_code": 2, "message": "a\nb"}))
    assert why(tmp_path, RunKey("absld", 0), output, time.time() - 60) == "train: a"
    assert why(tmp_path, RunKey("absld", 0), output, time.time() + 60).endswith("exited with -9")
    output.write_text("")
    assert why(tmp_path, RunKey("absld", 0), output, time.time() + 60) == "DVC ended without a word"


# what is shown


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_work(tmp_path: Path) -> Sweep:
    """Four runs: one is made, one has failed, one is at work, one waits."""
    log = tmp_path / "log"
    log.write_text("Running stage 'train@absld-1':\nabsld-s1  epoch 3/24  loss 0.5  42 s left\nWARNING: not this\n")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    job = sweep.Job(RunKey("absld", 1), child, log, began=time.monotonic() - 40)
    made = [Made(RunKey("rslad", 0), 100, None, log), Made(RunKey("rslad", 1), 3, "train: no luck", log)]
    return Sweep([RunKey("absld", 2)], {sweep.Worker("GPU 1", {}): job}, made)


def test_lines_where_there_is_no_terminal(at_work: Sweep) -> None:
    file = io.StringIO()
    with Progress(4, 1, every=0, file=file) as show:
        show(at_work)
        show(at_work)
        show(at_work)
    assert file.getvalue().splitlines() == [
        "[1/4] rslad-s0 done after 1 min 40 s",
        "[2/4] rslad-s1 failed after 3 s: train: no luck",
        "absld-s1 begins on GPU 1",
        "absld-s1  epoch 3/24  loss 0.5  42 s left",
    ]


def test_a_live_line_for_each_worker(at_work: Sweep) -> None:
    file = Terminal()
    with Progress(4, 1, file=file) as show:
        show(at_work)
    assert re.search(r"GPU 1 +absld-s1  epoch 3/24  loss 0.5  42 s left", file.getvalue())
    assert "2 of 4 runs made, 1 failed, about 2 min 40 s left" in file.getvalue()  # (100 + 100 - 40) seconds


def test_nothing_is_guessed_before_a_run_is_made(at_work: Sweep, tmp_path: Path) -> None:
    assert total_line(Sweep([], at_work.at_work, []), 4, 1) == "0 of 4 runs made"
    assert last_line(tmp_path / "log", "other") == "other  train"
    (tmp_path / "log").write_text("")
    assert last_line(tmp_path / "log", "other") == "other  begins"
    assert ended_line(at_work.made[0], 1, 4).startswith("[1/4] rslad-s0 done")
