"""YAML, read one way everywhere: ruamel's YAML 1.2, in which 2e-4 is a number and `on` is a word."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.tokens import AnchorToken

from absld.errors import InputError


class Place(NamedTuple):
    """A position in a file, counted from 1 as editors do."""

    line: int
    column: int


def read_yaml(path: Path, *, anchors: bool = False) -> Any:
    """Read a file, keeping comments and positions.

    Args:
        path: The file.
        anchors: Whether one value may stand at several places (``&name``, ``*name``). None of them can be set alone.

    Raises:
        InputError: there is no such file, it cannot be read, is empty, or is not YAML; or it has an anchor; with the
            line.

    """
    try:
        text = path.read_text(encoding="utf-8")
        document = YAML(typ="rt").load(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InputError(f"{where}: {error.problem or 'not YAML'}") from None
    except YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8: save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if document is None:
        raise InputError(f"{path}: the file is empty; `absld profile use digits` writes one")
    if not anchors and (anchor := first_anchor(text)) is not None:
        mark = anchor.start_mark
        raise InputError(
            f"{path}:{mark.line + 1}:{mark.column + 1}: &{anchor.value}: every value is set by itself here, so write "
            f"this one out at each *{anchor.value}"
        )
    return document


def first_anchor(text: str) -> AnchorToken | None:
    """The first ``&name`` of a text that is YAML. An alias, ``*name``, is nowhere without one."""
    if "&" not in text:  # nearly always, and to look for tokens takes a third as long as to read the file
        return None
    return next((token for token in YAML(typ="rt").scan(text) if isinstance(token, AnchorToken)), None)


def place_of(document: Any, keys: Sequence[str | int]) -> Place:
    """Where a key stands; where it is missing, the innermost block that would hold it.

    Parts of `keys` that do not exist in the document (pydantic names the tag of a union) are passed over.
    """
    place, node = Place(1, 1), document
    for key in keys:
        known = getattr(getattr(node, "lc", None), "data", None) or {}
        if key not in known or (hasattr(node, "keys") and key not in node):
            continue
        line, column = known[key][:2]
        place, node = Place(line + 1, column + 1), node[key]
    return place
