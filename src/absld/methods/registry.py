"""Which file holds which method. Only the chosen one is imported, so a run depends on no other method's code."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from absld.params.recipe import Method as Block

if TYPE_CHECKING:  # the protocol needs torch, the table does not: the command line reads it too
    from absld.methods.protocol import Method

METHODS = {
    "natural": "absld.methods.natural:Natural",
    "sat": "absld.methods.sat:Sat",
    "trades": "absld.methods.trades:Trades",
    "rslad": "absld.methods.rslad:Rslad",
    "adaad": "absld.methods.adaad:Adaad",
    "frl": "absld.methods.frl:Frl",
    "bat": "absld.methods.bat:Bat",
    "cfa": "absld.methods.cfa:Cfa",
    "fair_ard": "absld.methods.fair_ard:FairArd",
    "fair_rslad": "absld.methods.fair_rslad:FairRslad",
    "absld": "absld.methods.absld:Absld",
    "absld_adv": "absld.methods.absld:Absld",
    "absld_product": "absld.methods.absld:Absld",
    "sat_ssd": "absld.methods.sat_soft:SatSoft",
    "sat_dsd": "absld.methods.sat_soft:SatSoft",
    "ard": "absld.methods.ard:Ard",
    "iad": "absld.methods.iad:Iad",
    "mtard": "absld.methods.mtard:Mtard",
    "fat": "absld.methods.fat:Fat",
}


def module_of(name: str) -> str:
    """The module that holds a method."""
    return METHODS[name].partition(":")[0]


def make(name: str, block: Block) -> "Method":
    """The method of that name with its block of params.yaml."""
    module, _, class_name = METHODS[name].partition(":")
    return cast("Method", getattr(import_module(module), class_name)(block))
