"""A run becomes the champion of MLflow's registry, if its gates let it; what happened is written down twice.

The version's tags say it to whoever looks at MLflow, a line of promotions.jsonl to whoever looks at git.
"""

import getpass
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.params.root import Params
from absld.records.files import read_json, replacing, sha256_of
from absld.records.layout import RunKey
from absld.watch.git import commit_and_dirty, git
from absld.watch.identity import Identity
from absld.watch.mlflow_mirror import place
from absld.watch.model import SHA256
from absld.watch.registry import describe_version, holder, model_name, version_of
from absld.watch.store import locked, open_store
from pipeline.gates import Judged, judge
from pipeline.publish import Stages, named, publish_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RECORD = "promotions.jsonl"
"""A line a promotion, oldest first. No out of any stage: it cannot be made again, so commit it."""
ALIAS = re.compile(r"(?!(?:latest|v\d+)$)[a-z0-9_-]{1,100}")
"""What MLflow takes, in lower case; `latest` and `v2` mean something to it already."""


@dataclass(frozen=True)
class Candidate:
    """A run that is up to date, and what its gates say."""

    root: Path
    key: RunKey
    student: Path
    judged: Sequence[Judged]

    @property
    def failed(self) -> list[Judged]:
        """The gates that it does not pass."""
        return [gate for gate in self.judged if not gate.passed]


def candidate(root: Path, params: Params, run: str, stale: Mapping[str, Sequence[str]]) -> Candidate:
    """Judge a run by its evaluation.

    Args:
        root: The project.
        params: Its gates, and which runs there are.
        run: The run's key, such as ``absld-s0``.
        stale: DVC's stages that differ from their last run, each with the reasons.

    Raises:
        InputError: there is no such run, or something that it is made of has changed since.

    """
    from stages.contracts import EVALUATE, EXPORT

    [key] = named(params, [run])
    if reasons := list(Stages(root).out_of_date(key, stale)):
        raise InputError(f"{run} is out of date, `absld repro` makes it:\n  " + "\n  ".join(reasons))
    evaluation, student = (
        root / path.format(method=key.method, seed=key.seed)
        for path in (EVALUATE.writes["evaluation"], EXPORT.writes["student"])
    )
    return Candidate(root, key, student, judge(params.export.gates, read_json(evaluation)))


def check_alias(alias: str) -> None:
    """Raises InputError for a name that MLflow would refuse or read as something else."""
    if not ALIAS.fullmatch(alias):
        raise InputError(f"--alias {alias!r}: use a-z, 0-9, - and _; `latest` and `v2` are MLflow's own")


def promote(chosen: Candidate, alias: str, reason: str | None) -> str:
    """Publish the run, give its version the alias and write that down. Gates that failed are recorded as forced.

    Returns:
        A sentence that says what is now so. Where the version has the alias already, nothing was changed, unless the
        promotion that gave it broke off before it was written down: it is.

    Raises:
        ImportError: MLflow is not installed.
        mlflow.exceptions.MlflowException: it refuses.

    """
    who = publish_run(chosen.root, chosen.key)
    client = open_store(chosen.root)
    with locked(chosen.root):
        return _promote(client, who, chosen, alias, reason)


def _promote(client: "MlflowClient", who: Identity, chosen: Candidate, alias: str, reason: str | None) -> str:
    model = model_name(who)
    _, run = place(client, chosen.root, who)
    version = version_of(client, model, run, chosen.student)
    before = holder(client, model, alias)
    now = f"{alias} of {model} is {chosen.key}, version {version.version}"
    record = chosen.root / RECORD
    recorded = record.read_text(encoding="utf-8") if record.is_file() else ""
    last = _last(client, recorded, model, alias)
    held = before is not None and before.version == version.version
    if held and last is not None and last["version"] == int(version.version):
        wrote = _complete(client, version, alias, last)
        return f"{now}, already: {'its tags were completed, nothing else' if wrote else 'nothing'} was changed"
    previous = {"run": before.tags.get("run"), "version": int(before.version)} if before else None
    if held:  # a promotion broke off behind the registry
        previous = {"run": last["run"], "version": last["version"]} if last else None
    said = _record(chosen, model, alias, version, previous, reason)
    with replacing(record) as part:  # what the registry refuses is not recorded
        end = "" if recorded.endswith("\n") or not recorded else "\n"  # an editor may have left it out
        line = json.dumps(said, ensure_ascii=False, allow_nan=False)
        part.write_text(f"{recorded}{end}{line}\n", encoding="utf-8")
        client.set_registered_model_alias(model, alias, version.version)
    describe_version(client, version, f"{alias}.", _tags(said))
    return f"{now}{', already: its record was missing and is written' if held else ''}; before: {_name(previous)}"


def _last(client: "MlflowClient", recorded: str, model: str, alias: str) -> dict[str, Any] | None:
    """The last record of this model and alias in this registry; None: there is none."""
    for line in reversed(recorded.split("\n")):
        with suppress(ValueError):  # git has left a conflict there
            said = json.loads(line)
            about = (said.get("model"), said.get("alias")) if isinstance(said, dict) else None
            if about == (model, alias) and _is_here(client, said):
                return dict(said)
    return None


def _is_here(client: "MlflowClient", said: Mapping[str, Any]) -> bool:
    """Whether the version is that file in this registry: others, whose records git brings, count from 1 as well."""
    from mlflow import MlflowException

    try:
        version = client.get_model_version(said["model"], str(said["version"]))
    except MlflowException:
        return False
    return bool(version.tags.get(SHA256) == said["student_sha256"])


def _complete(client: "MlflowClient", version: "ModelVersion", alias: str, said: Mapping[str, Any]) -> bool:
    """Write the tags of a promotion that has been recorded, if they are not what it says."""
    there = {key: text for key, text in version.tags.items() if key.startswith(f"{alias}.")}
    if there == {f"{alias}.{key}": text for key, text in _tags(said).items()}:
        return False
    describe_version(client, version, f"{alias}.", _tags(said))
    return True


def _record(
    chosen: Candidate,
    model: str,
    alias: str,
    version: "ModelVersion",
    previous: Mapping[str, Any] | None,
    reason: str | None,
) -> dict[str, Any]:
    commit, dirty = commit_and_dirty(chosen.root)
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _person(chosen.root),
        "reason": reason,
        "model": model,
        "alias": alias,
        "run": str(chosen.key),
        "version": int(version.version),
        "student_sha256": sha256_of(chosen.student),
        "previous": previous,
        "forced": bool(chosen.failed),
        "failed": [gate.gate for gate in chosen.failed],
        "gates": [
            {
                "gate": gate.gate,
                "value": gate.value,
                "limit": gate.limit,
                "passed": gate.passed,
                **({"problem": gate.problem} if gate.problem else {}),
            }
            for gate in chosen.judged
        ],
        "commit": commit,
        "dirty": dirty,
    }


def _tags(said: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        "when": said["when"],
        "who": said["who"],
        "reason": said["reason"],
        "previous": _name(said["previous"]),
        "commit": said["commit"] and f"{said['commit']}{', with changes' if said['dirty'] else ''}",
        "forced": f"past {', '.join(said['failed'])}" if said["forced"] else "no",
    }
    gates = {
        f"gate.{gate['gate']}": f"passed: {gate['value']:.6g}, limit {gate['limit']:g}"
        if gate["passed"]
        else f"failed: {gate['problem']}"
        for gate in said["gates"]
    }
    return {key: text for key, text in tags.items() if text} | gates


def _name(previous: Mapping[str, Any] | None) -> str:
    return f"{previous['run'] or 'a run'}, version {previous['version']}" if previous else "nobody"


def _person(root: Path) -> str:
    """As git would sign it; else the name that this machine knows."""
    name, mail = git(root, "config", "user.name"), git(root, "config", "user.email")
    if name:
        return f"{name} <{mail}>" if mail else name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
