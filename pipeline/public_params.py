"""params.yaml as others may see it: no password, no token, and none of this machine's folders."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePath

from absld.download import public_address
from absld.params.adversarial import FromFile
from absld.params.base import Section
from absld.params.data import ImageFolder, Public
from absld.params.load import load
from absld.params.teacher import TeacherFile, TeacherUrl
from pipeline.settings import edited


def public_params(path: Path) -> str:
    """The text of params.yaml, of files and folders their last names only; every other byte as it is.

    Raises:
        InputError: params.yaml is wrong.

    """
    changes = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in _public(load(path))]
    return edited(path.read_text(encoding="utf-8"), changes)


def _public(section: Section, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """The keys whose values are not for others, and what stands there instead."""
    for name, value in section:
        key, public = f"{prefix}{name}", value
        match section, name:
            case Public(), "root":
                public = None
            case (ImageFolder(), "root") | (TeacherFile() | FromFile(), "path"):
                public = PurePath(value).name
            case TeacherUrl(), "url":
                public = public_address(value)
        if public != value:
            yield key, public
        if isinstance(value, Section):
            yield from _public(value, f"{key}.")
