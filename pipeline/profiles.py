"""Complete configurations to begin with, and writing params.yaml without losing anybody's work."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from absld.errors import InputError, did_you_mean
from absld.params.load import check, told
from absld.params.root import Params
from absld.params.yaml_file import read_yaml
from absld.records.files import replacing
from absld.watch.git import git
from pipeline.preflight import preflight
from pipeline.settings import edited

FOLDER = Path(__file__).parent / "profiles"
SCHEMA = "$schema=pipeline/params.schema.json"
BEGIN_WITH = "digits"


def names() -> list[str]:
    """The profiles there are, the one to begin with first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != BEGIN_WITH, name))


def text_of(name: str) -> str:
    """A profile as it would stand in params.yaml.

    Raises:
        InputError: there is no such profile; with the nearest one.

    """
    if name not in names():
        hint = did_you_mean(name, names()) or f"there are {', '.join(names())}"
        raise InputError(f"there is no profile {name!r}: {hint}")
    return re.sub(r"\$schema=\S+", SCHEMA, (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), count=1)


def about(name: str) -> str:
    """The first comment of a profile that is meant for people."""
    comments = [line.lstrip("# ") for line in text_of(name).splitlines() if line.startswith("#")]
    return next((line for line in comments if "$schema" not in line), "")


def runs_of(name: str) -> tuple[int, int]:
    """How many methods a profile makes, with how many seeds each."""
    runs = read_yaml(FOLDER / f"{name}.yaml")["runs"]
    return len(runs["methods"]), len(runs["seeds"])


def use(root: Path, name: str, *, force: bool = False) -> Path | None:
    """Write a profile to params.yaml. Returns the copy of the old one, if it had to be kept.

    Raises:
        InputError: there is no such profile; or params.yaml would be lost and `force` is off.

    """
    text, path = text_of(name), root / "params.yaml"
    if not force and text.encode() != path.read_bytes() and not is_kept_elsewhere(root):
        raise InputError(
            "params.yaml has been changed and is not committed: commit it, or keep a copy with "
            f"`absld profile use {name} --force`"
        )
    _, kept = configure(root, profile=name, to_run=False)
    return kept


def configure(
    root: Path,
    profile: str | None = None,
    assignments: Sequence[str] = (),
    *,
    to_run: bool = True,
    also_check: Callable[[Params], None] = lambda _: None,
) -> tuple[Params, Path | None]:
    """Check params.yaml as it would be with a profile and `KEY=VALUE`s, and only then write it.

    What is `to_run` at once is checked further: whether the images and the teacher that it names are there.
    `also_check` raises InputError for what a command cannot do with them.

    A params.yaml that would be lost by a profile is kept as params.yaml.kept-<n>; that path is returned.

    Raises:
        InputError: something in it is wrong. Nothing has been written.

    """
    path = root / "params.yaml"
    if profile is None:
        read_yaml(path)  # refuses what is no YAML
    old = path.read_bytes() if path.is_file() else b""
    new = edited(old.decode() if profile is None else text_of(profile), assignments)
    if new.encode() == old:
        return _checked(root, path, to_run, also_check), None
    with replacing(path) as part:
        part.write_text(new, encoding="utf-8", newline="\n")
        params = _checked(root, part, to_run, also_check)
        kept = None if profile is None or is_kept_elsewhere(root) else _keep(path, old)
    return params, kept


def _checked(root: Path, file: Path, to_run: bool, also_check: Callable[[Params], None]) -> Params:
    """What a file says that is params.yaml or will be."""
    document, path = read_yaml(file), root / "params.yaml"
    params = check(document, path)
    also_check(params)
    if to_run:
        preflight(root, params, lambda problems: told(problems, document, path))
    return params


def is_kept_elsewhere(root: Path) -> bool:
    """Whether params.yaml can be had again: it is committed as it is, or equal to a profile."""
    path = root / "params.yaml"
    if path.read_bytes() in [text_of(name).encode() for name in names()]:
        return True
    committed = git(root, "rev-parse", "--verify", "--quiet", "HEAD:./params.yaml")
    return committed is not None and committed == git(root, "hash-object", "params.yaml")


def _keep(path: Path, content: bytes) -> Path:
    taken = [
        int(name)
        for copy in path.parent.glob("params.yaml.kept-*")
        if (name := copy.name.rpartition("-")[2]).isdecimal()
    ]
    copy = path.with_name(f"params.yaml.kept-{max(taken, default=0) + 1}")
    with replacing(copy) as part:
        part.write_bytes(content)
    return copy
