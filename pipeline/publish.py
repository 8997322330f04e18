"""The files of the pipeline into MLflow: what DVC restored from its cache was logged by nobody."""

import logging
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absld.errors import InputError
from absld.params.root import Params
from absld.records.files import read_json, write_json, write_text
from absld.records.layout import RunKey
from absld.watch.identity import Identity, identity
from absld.watch.replay import Files, Report, replay
from absld.watch.runs import mark_stale
from absld.watch.store import database, open_store
from pipeline.public_params import public_params

if TYPE_CHECKING:
    from stages.contracts import Stage
    from stages.opening import Opened

PUBLISHED = ".absld/published.json"
"""What lay in the project when MLflow was told of all of it."""
PUBLIC_PARAMS = ".absld/params.yaml"
TOLD_OF = ("code", "data/dataset", "models/teacher", "runs", "reports", "logs")


def publish(root: Path, params: Params, stale: Container[str]) -> list[str]:
    """Mirror every run whose files are up to date, and the report. Returns the keys of the runs that are not.

    Args:
        root: The project.
        params: Which runs there are.
        stale: Names of DVC's stages whose files are older than what they are made from: they are left out.

    Raises:
        ImportError: MLflow is not installed.
        mlflow.exceptions.MlflowException: the store cannot be used.

    """
    from stages.contracts import REPORT, TRAIN
    from stages.opening import open_stage

    _be_quiet()
    runs, left_out, told = [], [], _params(root)
    for key in keys(params):
        train = open_stage(TRAIN, root, method=key.method, seed=str(key.seed))
        if item(TRAIN, key) in stale or not as_listed(train):
            left_out.append(str(key))
            continue
        runs.append((identity(train), _files(root, key, stale, told)))
    if runs:
        replay(root, runs, None if REPORT.name in stale else _report(root, {who.run for who, _ in runs}))
    return left_out


def mirror(root: Path, params: Params, stale: Container[str]) -> None:
    """Publish, unless nothing has changed since; that MLflow fails is told, but costs nobody a result."""
    from pipeline import console

    known, now = root / PUBLISHED, _as_it_is(root)
    if not stale and now is not None and known.is_file() and read_json(known) == now:
        return  # to load MLflow takes longer than all else of a reproduction that has nothing to do
    known.unlink(missing_ok=True)
    try:
        publish(root, params, stale)
    except ImportError:
        console.say("MLflow is not installed: nothing is mirrored")
    except Exception as error:
        console.say(f"MLflow fails: {type(error).__name__}: {error}\nNothing is lost; `absld publish` tries again.")
    else:
        if not stale and (now := _as_it_is(root)) is not None:
            write_json(known, now)


def _as_it_is(root: Path) -> dict[str, list[int]] | None:
    """Inode and, but for the database, time and size of what MLflow is told; None where the records lie on a server."""
    file = database(root)
    if file is None or not file.is_file():
        return None
    files = [root / "params.yaml", *(path for name in TOLD_OF for path in sorted((root / name).rglob("*")))]
    found = {path: path.stat() for path in files if path.is_file()}
    state = {str(path): [at.st_ino, at.st_mtime_ns, at.st_size] for path, at in found.items()}
    return {str(file): [file.stat().st_ino], **state}


def publish_run(root: Path, key: RunKey) -> Identity:
    """Mirror one run, all of whose stages are up to date. Raises what `publish` raises."""
    from stages.contracts import TRAIN
    from stages.opening import open_stage

    _be_quiet()
    who = identity(open_stage(TRAIN, root, method=key.method, seed=str(key.seed)))
    replay(root, [(who, _files(root, key, (), _params(root)))], None)
    return who


def keys(params: Params) -> list[RunKey]:
    """The runs that params.yaml names."""
    return [RunKey(method, seed) for method in params.runs.methods for seed in params.runs.seeds]


def named(params: Params, runs: Collection[str]) -> list[RunKey]:
    """The runs of keys such as ``absld-s0``; InputError for one that params.yaml does not name."""
    known = {str(key): key for key in keys(params)}
    for run in runs:
        if run not in known:
            raise InputError(f"{run!r} is no run of params.yaml: there are {', '.join(known)}")
    return [known[run] for run in runs]


def item(stage: "Stage", key: RunKey) -> str:
    """DVC's name of a stage, or of the item of its matrix that belongs to a run."""
    return f"{stage.name}@{key.method}-{key.seed}" if stage.axes else stage.name


def as_listed(stage: "Opened") -> bool:
    """Whether the stage's files are there and its code is the one that was listed when they were made."""
    from stages.opening import listing

    made = all(path.exists() for path in (*stage.writes.values(), *stage.reads.values()))
    return made and stage.reads["code"].read_text() == listing(stage.code, stage.resolved)


class Stages:
    """The stages of a project's runs, opened: each once, because that reads params.yaml and the source files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._opened: dict[str, Opened] = {}

    def opened(self, stage: "Stage", key: RunKey) -> "Opened":
        """The stage of this run, or the one that all runs share. Raises what `open_stage` raises."""
        from stages.opening import open_stage

        name = item(stage, key)
        if name not in self._opened:
            axes = {"method": key.method, "seed": str(key.seed)} if stage.axes else {}
            self._opened[name] = open_stage(stage, self.root, **axes)
        return self._opened[name]

    def out_of_date(self, key: RunKey, stale: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """What the run's files are no longer made of, stage by stage; nothing if it is finished and up to date.

        `stale`: DVC's stages that differ from their last run, each with the reasons.
        """
        from stages.contracts import EVALUATE, EXPORT, FETCH_DATA, FETCH_TEACHER, TRAIN

        for stage in (FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE, EXPORT):
            name = item(stage, key)
            if name in stale:
                yield f"{name}: {', '.join(stale[name])}"
            elif not as_listed(self.opened(stage, key)):
                yield f"{name}: a file is missing, or the code or its parameters have changed"


def settle(root: Path) -> None:
    """Say KILLED in MLflow for stages that had to be killed and could not say so themselves."""
    file = database(root)
    if file is None or file.is_file():
        mark_stale(open_store(root))


def _params(root: Path) -> Path:
    """params.yaml as MLflow may be told it, whose server others see."""
    file = root / PUBLIC_PARAMS
    write_text(file, public_params(root / "params.yaml"))
    return file


def _files(root: Path, key: RunKey, stale: Container[str], params: Path) -> Files:
    from stages.contracts import EVALUATE, EXPORT, TRAIN

    def up_to_date(stage: "Stage", path: str) -> Path | None:
        file = root / path.format(method=key.method, seed=key.seed)
        return file if item(stage, key) not in stale and file.is_file() else None

    evaluation = up_to_date(EVALUATE, EVALUATE.writes["evaluation"])
    exported = {
        name: up_to_date(EXPORT, EXPORT.writes[name]) if evaluation is not None else None
        for name in ("student", "card", "card_text")
    }
    smaller = root / EXPORT.writes["variants"].format(method=key.method, seed=key.seed)
    return Files(
        history=root / TRAIN.writes["history"].format(method=key.method, seed=key.seed),
        log=root / "logs" / str(key) / f"{TRAIN.name}.json",
        evaluation=evaluation,
        params=params if exported["card"] is not None else None,
        variants=smaller if exported["card"] is not None and smaller.is_dir() else None,
        **exported,
    )


def _report(root: Path, runs: set[str]) -> Report | None:
    """The report, if it is about these runs."""
    from stages.contracts import REPORT

    summary, text, figures = (root / REPORT.writes[name] for name in ("summary", "summary_text", "figures"))
    return Report(summary, text, figures) if summary.is_file() and set(read_json(summary)["runs"]) == runs else None


def _be_quiet() -> None:
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
