"""The parameters that a stage declares: those it may see, and those its result is the result of."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from absld.params.root import Params
from stages.contracts import Stage


def declared(stage: Stage, axes: Mapping[str, str]) -> list[str]:
    """The dotted keys of params.yaml that the stage may see."""
    return [key.format(**axes) for key in stage.params]


def resolved(params: Params, keys: list[str]) -> dict[str, Any]:
    """The values under `keys` as plain JSON values, without nulls: so a new method is no change of the teacher."""
    found = {}
    for key in keys:
        value: Any = params
        for part in key.split("."):
            value = getattr(value, part)
        found[key] = value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
    return found


def restricted(params: Params, keys: list[str]) -> Params:
    """The same parameters with nothing but `keys` in them."""
    only: Params = _only(params, [key.split(".") for key in keys])
    return only


def _only(section: Any, paths: list[list[str]]) -> Any:
    wanted: dict[str, list[list[str]]] = {}
    for first, *rest in paths:
        wanted.setdefault(first, []).append(rest)
    values = {
        name: value if [] in rests else _only(value, rests)
        for name, rests in wanted.items()
        for value in [getattr(section, name)]
    }
    only = type(section).model_construct(**values)
    for name in set(only.__dict__) - set(values):  # what is not declared is not there, not even as its default
        del only.__dict__[name]
    return only
