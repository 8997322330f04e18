"""A stage that several processes can work on: it starts them as `torchrun` does, or was started by `torchrun` itself.

    main(TRAIN, together(work))

Nobody outlives the others: one that dies ends all, and so does a signal to the stage.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from absld.device import cores, pick, processes_of
from absld.errors import FailedError, InputError
from absld.records.files import read_json, write_json
from stages.opening import STARTED_BY_STAGE, Opened

Work = Callable[[Opened], None]
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
WRONG_INPUT = 2
"""Exit code of a stage."""
TAIL_LINES = 5
"""Of a process's log, in the message that it has failed."""


def together(work: Work, when: Callable[[Opened], bool] = lambda stage: True) -> Work:
    """`work`, by as many processes as `train.processes` says; `when` tells whether there is anything to share."""

    def shared(stage: Opened) -> None:
        if not when(stage):
            if os.environ.get("RANK", "0") == "0":
                work(stage)
        elif "RANK" in os.environ and "WORLD_SIZE" in os.environ:
            with _member(stage):
                work(stage)
        elif (processes := processes_of(stage.params.train.processes, pick(stage.params.train.device))) > 1:
            _start(stage, processes)
        else:
            work(stage)

    return shared


@contextmanager
def _member(stage: Opened) -> Iterator[None]:
    """One of the processes: it ends with who started it, and says why if it fails."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", max(1, cores() // _here()))))
    cuda = pick(stage.params.train.device).type == "cuda"
    try:
        if cuda:
            processes_of(_here(), torch.device("cuda"))
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        stage.notes["processes"] = dist.get_world_size()
        yield
        if dist.get_rank() == 0 and STARTED_BY_STAGE in os.environ:
            write_json(_logs(stage).notes, stage.notes)
        dist.destroy_process_group()  # not where it failed: the others may be waiting for it, and it for them
    except Exception as error:
        if path := os.environ.get(ERROR_FILE):
            text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            Path(path).write_text(json.dumps({"message": text, "timestamp": int(time.time())}))
        raise


def _here() -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _start(stage: Opened, processes: int) -> None:
    """Start them, and wait for all of them."""
    logs = _logs(stage)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=stage.key,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=logs,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it knows is in our own message
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    os.environ[STARTED_BY_STAGE] = "1"
    try:
        launch_agent(config, sys.executable, ["-m", f"stages.{stage.stage.name}", *stage.axes.values()])
        stage.notes.update(read_json(logs.notes))
    except ChildFailedError as error:
        _explain(error, logs, processes)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        del os.environ[STARTED_BY_STAGE]
        for number, handler in before.items():
            signal.signal(number, handler)


def _logs(stage: Opened) -> "_Logs":
    return _Logs(Path(".absld", "processes", f"{stage.stage.name}-{stage.key}"))


def _explain(error: ChildFailedError, logs: "_Logs", processes: int) -> NoReturn:
    """Raise what the process has met that failed first; one that was killed is the cause of what others met.

    All but that one are told to end, by SIGTERM.
    """

    def late(failure: ProcessFailure) -> tuple[bool, bool, int]:
        told = failure.exitcode in (-signal.SIGTERM, 128 + signal.SIGTERM)
        return told, failure.exitcode >= 0, failure.timestamp

    number, failure = min(error.failures.items(), key=lambda item: late(item[1]))
    if failure.exitcode == 128 + signal.SIGINT:
        raise KeyboardInterrupt from None
    if failure.exitcode == 128 + signal.SIGTERM:
        raise SystemExit(failure.exitcode) from None
    if failure.exitcode == WRONG_INPUT:
        raise InputError(failure.message) from None
    raise FailedError(
        f"process {number} of {processes}, counted from 0, {_how(failure)}, so all have ended. Started again, it goes "
        f"on after the last epoch.{logs.tail(number)}"
    ) from None


def _how(failure: ProcessFailure) -> str:
    if failure.exitcode < 0:
        return f"was killed by {failure.signal_name()}"
    return f"failed: {failure.message}" if failure.error_file_data.get("timestamp") else f"ended {failure.exitcode}"


class _Logs(LogsSpecs):
    """What the first process says goes where ours goes, complaints go to a file for each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self.notes = folder / "notes.json"
        """What the first process has found worth knowing for the stage's log."""

    @property
    def root_log_dir(self) -> str:
        return str(self.folder)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        self.folder.mkdir(parents=True, exist_ok=True)
        errors = {number: str(self.folder / f"{number}.json") for number in envs}
        for number, path in errors.items():
            Path(path).unlink(missing_ok=True)
            envs[number][ERROR_FILE] = path
        outputs = {number: os.devnull if number else "" for number in envs}
        return LogsDest(
            stdouts=outputs,
            stderrs={number: str(self.file(number)) for number in envs},
            error_files=errors,
            filtered_stdout=os.devnull,
            filtered_stderr=os.devnull,
        )

    def file(self, number: int) -> Path:
        """Where a process complains."""
        return self.folder / f"{number}.log"

    def tail(self, number: int) -> str:
        """The end of it, for a message."""
        lines = self.file(number).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f" {self.file(number)} ends:", *lines]) if lines else ""
