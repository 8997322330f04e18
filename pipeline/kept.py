"""The small files of finished runs, where git can publish them: what was measured and how; no weights, no images."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from absld.errors import InputError, writing_to
from absld.evaluation.arrays import read_npz
from absld.params.root import Params
from absld.records.files import read_json, replacing, write_json
from absld.records.layout import RunKey
from absld.watch.git import git
from pipeline.public_params import public_params
from pipeline.publish import Stages, keys, named
from stages.contracts import CARD, EVALUATE, EXPORT, TEACHER, TRAIN, Stage

FILES = {
    "evaluation.json": EVALUATE.writes["evaluation"],
    "verdicts.npz": EVALUATE.writes["verdicts"],
    "history.csv": TRAIN.writes["history"],
    "state.json": TRAIN.writes["state"],
    "card.json": EXPORT.writes["card"],
}
"""What is kept of a run, and where its stages leave it."""
PARAMS, MADE = "params.yaml", "made.json"
"""What it was made with; where, at which commit and in what time."""
SHARED = {"data.json": CARD["card"], "teacher.json": TEACHER["teacher_card"]}
"""What all runs of a folder have in common."""
SAME = {
    "data.json": ("name", "classes", "counts", "sha256", "folder_sha256"),
    "teacher.json": ("architecture", "normalisation", "source", "sha256", "accuracy"),
}
"""What two cards of the same data, of the same teacher agree in. One that was trained here has no sha256: its accuracy
on every class stands for it."""


class Kept(NamedTuple):
    """What became of one run."""

    key: RunKey
    new: bool
    """Whether nothing was kept of it before."""
    changed: Sequence[str]
    """Which files were written because they were not there or were others."""


def keep(
    root: Path, folder: Path, params: Params, runs: Sequence[str], stale: Mapping[str, Sequence[str]]
) -> list[Kept]:
    """Copy the runs to `folder`. What is there already and the same is not touched, whatever the commit is by now.

    Args:
        root: The project.
        folder: For the runs of one data set and one teacher.
        params: What params.yaml says.
        runs: Keys such as ``absld-s0``; empty: all that params.yaml names.
        stale: DVC's stages that differ from their last run, each with the reasons.

    Raises:
        InputError: there is no such run, or one is unfinished or out of date; the folder cannot be written, or
            holds runs that were made on other data or with another teacher.

    """
    chosen, stages = named(params, dict.fromkeys(runs)) or keys(params), Stages(root)
    _refuse_unfinished(stages, chosen, stale)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name the folder that the runs are to be kept in")
    _refuse_another_subject(root, folder)
    for name, path in SHARED.items():
        content = (root / path).read_bytes()
        with writing_to(folder):
            _write(folder / name, content)
    told = public_params(root / PARAMS)
    return [_keep_run(stages, folder, told, key) for key in chosen]


def _refuse_unfinished(stages: Stages, chosen: Sequence[RunKey], stale: Mapping[str, Sequence[str]]) -> None:
    reasons = {key: list(stages.out_of_date(key, stale)) for key in chosen}
    unfinished = {key: of for key, of in reasons.items() if of}
    if unfinished:
        lines = "\n".join(f"  {key}: {'; '.join(of)}" for key, of in unfinished.items())
        others = " ".join(str(key) for key in chosen if key not in unfinished)
        instead = f", or name those that are finished: {others}" if others else ""
        raise InputError(f"not finished, or out of date:\n{lines}\n`absld repro` makes them{instead}. Nothing was kept")


def _refuse_another_subject(root: Path, folder: Path) -> None:
    for name, path in SHARED.items():
        if (folder / name).is_file():
            kept, now = read_json(folder / name), read_json(root / path)
            unlike = [key for key in SAME[name] if kept.get(key) != now.get(key)]
            if unlike:
                what = "on other data" if name == "data.json" else "with another teacher"
                raise InputError(
                    f"{folder} holds runs that were made {what} ({name} differs in {', '.join(unlike)}): keep these in "
                    "another folder, or delete that one"
                )


def _keep_run(stages: Stages, folder: Path, params: str, key: RunKey) -> Kept:
    place = folder / str(key)
    new = not place.is_dir()
    contents = dict(_contents(stages.root, params, key))
    changed = [name for name, content in contents.items() if not _is_kept(place / name, content)]
    if changed or not (place / MADE).is_file():
        made = _made(stages, folder, key)
        with writing_to(place):
            (place / MADE).unlink(missing_ok=True)
            for name in changed:
                _write(place / name, contents[name])
            write_json(place / MADE, made)  # the last: with it the run is whole
    return Kept(key, new, changed)


def _contents(root: Path, params: str, key: RunKey) -> Iterator[tuple[str, bytes]]:
    for name, path in FILES.items():
        file = root / path.format(method=key.method, seed=key.seed)
        yield name, _packed(file) if file.suffix == ".npz" else file.read_bytes()
    yield PARAMS, params.encode()


def _packed(file: Path) -> bytes:
    """The same arrays in a tenth of the room."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **read_npz(file))
    return content.getvalue()


def _is_kept(path: Path, content: bytes) -> bool:
    """Whether the file says the same; arrays may have been packed by another library."""
    if not path.is_file():
        return False
    if path.suffix != ".npz" or path.read_bytes() == content:
        return path.read_bytes() == content
    kept = read_npz(path)
    with np.load(io.BytesIO(content), allow_pickle=False) as now:
        return kept.keys() == set(now.files) and all(
            kept[name].dtype == now[name].dtype and np.array_equal(kept[name], now[name]) for name in kept
        )


def _made(stages: Stages, folder: Path, key: RunKey) -> dict[str, Any]:
    """Where the files come from; of the logs only those that are about them, not about an earlier attempt."""
    root = stages.root
    logs = {stage.name: log for stage in (TRAIN, EVALUATE, EXPORT) if (log := _log(stages, stage, key))}
    training = logs.get(TRAIN.name, {})
    card = read_json(root / EXPORT.writes["card"].format(method=key.method, seed=key.seed))
    return {
        "run": str(key),
        "commit": git(root, "rev-parse", "HEAD"),
        "changed": _changed_files(root, folder),
        "absld": card["provenance"]["absld"],
        **{name: training.get(name) for name in ("torch", "python", "device", "cpus")},
        "seconds": {stage: log["seconds"] for stage, log in logs.items()},
    }


def _log(stages: Stages, stage: Stage, key: RunKey) -> dict[str, Any] | None:
    file = stages.root / "logs" / str(key) / f"{stage.name}.json"
    log: dict[str, Any] = read_json(file) if file.is_file() else {}
    return log if log.get("fingerprint") == stages.opened(stage, key).fingerprint else None


def _changed_files(root: Path, folder: Path) -> list[str]:
    """The tracked files that differ from the commit, but for what is kept itself."""
    listed = (git(root, "diff", "--name-only", "--relative", "-z", "HEAD") or "").split("\0")
    return [name for name in sorted(filter(None, listed)) if not (root / name).is_relative_to(folder.resolve())]


def _write(path: Path, content: bytes) -> None:
    """Write what is new, at once or not at all."""
    if not (path.is_file() and path.read_bytes() == content):
        with replacing(path) as part:
            part.write_bytes(content)
