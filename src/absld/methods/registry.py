"""Which file holds which method. Only the chosen one is imported, so a run depends on no other method's code."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from absld.params import methods as settings

if TYPE_CHECKING:  # the protocol needs torch, the table does not: the command line reads it too
    from absld.methods.protocol import Method

METHODS = {
    "trades": "absld.methods.trades:Trades",
    "rslad": "absld.methods.rslad:Rslad",
    "absld": "absld.methods.absld:Absld",
}


def module_of(name: str) -> str:
    """The module that holds a method."""
    return METHODS[name].partition(":")[0]


def make(name: str, block: settings.Method) -> "Method":
    """The method of that name with its block of params.yaml."""
    module, _, class_name = METHODS[name].partition(":")
    return cast("Method", getattr(import_module(module), class_name)(block))
