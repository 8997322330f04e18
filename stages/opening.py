"""How every stage begins and ends: it is handed the files and parameters that it declares, and nothing else.

    def work(stage: Opened) -> None: ...

    if __name__ == "__main__":
        main(EVALUATE, work)

What happened is written to logs/<key>/<stage>.json, which is no out: times, commit, host.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from absld.errors import FailedError, InputError
from absld.methods.registry import module_of
from absld.params.agreement import chosen_method, trainers
from absld.params.load import load
from absld.params.recipe import Method as Block
from absld.params.root import Params
from absld.params.teacher import TeacherTrained
from absld.records.files import digest, sha256_of, write_json
from absld.records.layout import RunKey
from absld.watch.git import commit_and_dirty
from stages.closure import closure
from stages.contracts import Stage
from stages.declared import declared, resolved, restricted
from stages.finished import put_aside, take_up

FAILURE = Path(".absld/failure.json")
STARTED_BY_STAGE = "ABSLD_STARTED_BY_STAGE"
"""Set for processes that a stage has started for its own work (stages.together): it says how they ended."""


@dataclass(frozen=True)
class Opened:
    """A stage with its axes filled in."""

    stage: Stage
    root: Path
    axes: Mapping[str, str]
    params: Params
    """Holds the declared sections only: another one is an AttributeError."""
    reads: Mapping[str, Path]
    writes: Mapping[str, Path]
    notes: dict[str, float | str] = field(default_factory=dict)
    """What the stage wants its log to say besides."""

    @property
    def run(self) -> RunKey:
        """Which run this is; for the stages of the matrix."""
        return RunKey(self.axes["method"], int(self.axes["seed"]))

    @property
    def key(self) -> str:
        """The run's key, else the axes; `pipeline` for a stage without axes."""
        if set(self.axes) == {"method", "seed"}:
            return str(self.run)
        return "-".join(self.axes.values()) or "pipeline"

    @property
    def resolved(self) -> dict[str, Any]:
        """The declared parameters as plain values: fractions are numbers here."""
        return resolved(self.params, declared(self.stage, self.axes))

    @property
    def block(self) -> Block:
        """The settings of the run's method; for the stages that see them."""
        block: Block = getattr(self.params.methods, self.axes["method"])
        return block

    @property
    def methods(self) -> list[str]:
        """The methods whose code this stage executes: its own first, then those that train what it brings."""
        if "methods.{method}" in self.stage.params:
            return [self.axes["method"], *trainers(self.block)]
        teacher = getattr(self.params, "teacher", None)
        return [chosen_method(teacher)[0]] if isinstance(teacher, TeacherTrained) else []

    @cached_property
    def code(self) -> dict[str, str]:
        """The sha256 of every source file that this stage executes."""
        return code_of(self.root, self.stage.name, *self.methods)

    @property
    def code_sha256(self) -> str:
        """All of the code in one hash."""
        return digest(self.code)

    @property
    def params_sha256(self) -> str:
        """All of the declared parameters in one hash."""
        return digest(self.resolved)

    @cached_property
    def fingerprint(self) -> str:
        """What this result is the result of: parameters, files that are read, code."""
        inputs = {name: sha256_of(path) for name, path in self.reads.items() if name != "code" and path.is_file()}
        return digest([self.stage.name, dict(self.axes), self.resolved, inputs, self.code])

    @property
    def scratch(self) -> Path:
        """Where unfinished work is kept. Another parameter, input or code has another folder."""
        return self.root / ".absld" / "scratch" / f"{self.stage.name}-{self.key}-{self.fingerprint[:16]}"


def open_stage(stage: Stage, root: Path, **axes: str) -> Opened:
    """Check params.yaml whole, and hand out what the stage declares.

    Raises:
        InputError: params.yaml is wrong, or a file that is read is missing.

    """
    params = load(root / "params.yaml")
    reads = {name: root / path.format(**axes) for name, path in stage.reads.items()}
    writes = {name: root / path.format(**axes) for name, path in stage.writes.items()}
    if "method" in axes and getattr(params.methods, axes["method"], None) is None:
        known = [name for name, block in params.methods if block is not None]
        raise InputError(f"{axes['method']!r} is no method with a block in params.yaml: those are {', '.join(known)}")
    return Opened(stage, root, axes, restricted(params, declared(stage, axes)), reads, writes)


def main(stage: Stage, work: Callable[[Opened], None]) -> NoReturn:
    """Run a stage as a program: `python -m stages.NAME [METHOD [SEED]]`. Exit code 2: the input is wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, clock = datetime.now(UTC), time.perf_counter()
    code, message, opened = 1, "", None
    try:
        opened = open_stage(stage, Path.cwd(), **_axes(stage))
        _files_exist(opened)
        _code_is_as_listed(opened)
        if _speaks():
            take_up(opened)
        work(opened)
        code = 0
        if _speaks():
            put_aside(opened)
    except (InputError, FailedError) as error:
        code, message = 2 if isinstance(error, InputError) else 1, str(error)
        print(f"{stage.name}: {message}", file=sys.stderr)
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    except SystemExit as error:
        code, message = int(error.code or 0), "terminated"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        if _speaks():
            log = _log(stage, opened, started, time.perf_counter() - clock, code, message)
            if code:
                write_json(FAILURE, {"stage": stage.name, "key": log["key"], "code": code, "message": message})
    sys.exit(code)


def _speaks() -> bool:
    """Whether this process says how the stage ended: of several that `torchrun` has started the first one does."""
    return STARTED_BY_STAGE not in os.environ and os.environ.get("RANK", "0") == "0"


def code_of(root: Path, stage: str, *methods: str) -> dict[str, str]:
    """The sha256 of every source file that a stage executes, those of its methods among them."""
    return closure(root, f"stages.{stage}", *map(module_of, methods))


def listing(code: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """As sha256sum prints it; the last line is the hash of the parameters as they were understood."""
    lines = [*(f"{sha256}  {path}" for path, sha256 in code.items()), f"{digest(values)}  params"]
    return "\n".join(lines) + "\n"


def _axes(stage: Stage) -> dict[str, str]:
    given = sys.argv[1:]
    if len(given) != len(stage.axes):
        usage = " ".join(axis.upper() for axis in stage.axes)
        raise InputError(f"usage: python -m stages.{stage.name} {usage}".rstrip())
    if "seed" in stage.axes and not given[stage.axes.index("seed")].isdecimal():
        raise InputError(f"{given[-1]!r} is no seed: give a whole number from 0")
    return dict(zip(stage.axes, given, strict=True))


def _files_exist(opened: Opened) -> None:
    for name, path in opened.reads.items():
        if name != "code" and not path.exists():
            shown = path.relative_to(opened.root)
            raise InputError(f"{shown} is missing; the stages before this one make it: `dvc repro {opened.stage.name}`")


def _code_is_as_listed(opened: Opened) -> None:
    """Refuse code that the list, which DVC compares, does not describe: its result would pass for another's."""
    listed = opened.reads.get("code")
    if listed is not None and listed.is_file() and listed.read_text() != listing(opened.code, opened.resolved):
        raise InputError("the code or the parameters have changed since this reproduction began: start it again")


def _log(
    stage: Stage, opened: Opened | None, started: datetime, seconds: float, code: int, message: str
) -> dict[str, Any]:
    """Write down how it went; `opened` is None where the parameters were wrong."""
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    commit, dirty = commit_and_dirty(Path.cwd())
    log: dict[str, Any] = {
        "stage": stage.name,
        "key": opened.key if opened else "pipeline",
        "exit_code": code,
        "message": message,
        "fingerprint": opened.fingerprint if opened and code == 0 else None,
        "started": started.isoformat(timespec="milliseconds"),
        "seconds": round(seconds, 2),
        "commit": commit,
        "dirty": dirty,
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name() if torch is not None and cuda else "cpu",
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "torch": torch.__version__ if torch is not None else None,
        **(opened.notes if opened else {}),
    }
    write_json(Path("logs") / log["key"] / f"{stage.name}.json", log)
    return log
