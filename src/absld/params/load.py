"""From a file to checked parameters, or to one readable line for everything that is wrong."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from absld.errors import InputError, did_you_mean
from absld.params.agreement import Disagreement, disagreements
from absld.params.root import Params
from absld.params.yaml_file import place_of, read_yaml


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        InputError: a line for every problem: file, line, column, key, what is wrong, what is meant.

    """
    return check(read_yaml(path), path)


def check(document: Any, path: Path) -> Params:
    """Check a document that `path` holds (or will hold)."""
    try:
        params = Params.model_validate(document)
    except ValidationError as error:
        lines = [_line(document, path, _keys(document, detail), _words(detail)) for detail in error.errors()]
        raise InputError("\n".join(dict.fromkeys(lines))) from None
    if problems := list(disagreements(params)):
        raise InputError(told(problems, document, path))
    return params


def told(problems: Iterable[Disagreement], document: Any, path: Path) -> str:
    """A line for each problem in a document that `path` holds (or will hold)."""
    return "\n".join(_line(document, path, problem.keys, problem.message) for problem in problems)


def _line(document: Any, path: Path, keys: Sequence[str | int], message: str) -> str:
    place = place_of(document, keys)
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return f"{path.name}:{place.line}:{place.column} {dotted}: {message}"


def _keys(document: Any, detail: ErrorDetails) -> list[str | int]:
    """The keys as the user wrote them: without the tags of unions, which stand in no file."""
    keys: list[str | int] = []
    node = document
    *inner, last = detail["loc"] or ("params",)
    for key in inner:
        if not isinstance(node, dict | list) or (isinstance(node, dict) and key not in node):
            continue
        keys.append(key)
        node = node[key]  # type: ignore[index]
    return [*keys, last]


def _words(detail: ErrorDetails) -> str:
    value = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            known = set(_siblings(detail["loc"])) - {detail["loc"][-1]}  # another member of the union may have it
            hint = did_you_mean(str(detail["loc"][-1]), known)
            return f"unknown key, {hint}" if hint else "unknown key"
        case "missing":
            return "this key is missing; a profile has it with its comment (`absld profile list`)"
        case "literal_error" | "union_tag_invalid":
            context = detail["ctx"]
            allowed = str(context.get("expected") or context.get("expected_tags"))
            given = context.get("tag", value)
            hint = did_you_mean(str(given), (word.strip("' ") for word in allowed.replace(" or ", ",").split(",")))
            return f"{given!r} is not allowed: {f'{hint} ' if hint else ''}one of {allowed}"
        case "union_tag_not_found":
            return "the key 'source' is missing"
    return f"{value!r}: {detail['msg']}" if isinstance(value, str | int | float | bool | None) else detail["msg"]


def _siblings(loc: Sequence[str | int]) -> Iterable[str]:
    """The keys that are known where an unknown one stands."""
    nodes = [Params]
    for key in loc[:-1]:  # a key that is no field is the tag of a union: its members are in `nodes` already
        inner = [
            part
            for node in nodes
            if key in node.model_fields
            for part in _parts(node.model_fields[str(key)].annotation)
        ]
        nodes = inner or nodes
    return [name for node in nodes for name in node.model_fields]


def _parts(annotation: Any) -> list[Any]:
    """The sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts(argument)]
