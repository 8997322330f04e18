"""Which methods there are: a block of params.yaml for each. Their classes stand beside this file."""

from typing import Annotated, Any

from pydantic import AfterValidator, create_model, model_validator
from pydantic_core import PydanticCustomError

from absld.errors import did_you_mean
from absld.params import adversarial, distillation
from absld.params.base import Section


class Methods(Section):
    """The methods' blocks; those in `runs.methods` are trained and must be there."""

    natural: adversarial.Natural | None = None
    sat: adversarial.Sat | None = None
    trades: adversarial.Trades | None = None
    rslad: distillation.Rslad | None = None
    adaad: distillation.Adaad | None = None
    frl: adversarial.Frl | None = None
    bat: adversarial.Bat | None = None
    cfa: adversarial.Cfa | None = None
    fair_ard: distillation.FairArd | None = None
    fair_rslad: distillation.FairRslad | None = None
    absld: distillation.Absld | None = None
    absld_adv: distillation.Absld | None = None
    absld_product: distillation.Absld | None = None
    sat_ssd: adversarial.SatSoft | None = None
    sat_dsd: adversarial.SatSoft | None = None
    ard: distillation.Ard | None = None
    iad: distillation.Iad | None = None
    mtard: distillation.Mtard | None = None
    fat: adversarial.Fat | None = None


def _known_method(name: str) -> str:
    if name not in Methods.model_fields:
        hint = did_you_mean(name, Methods.model_fields) or f"known are {', '.join(Methods.model_fields)}"
        raise PydanticCustomError("method", "unknown method: {hint}", {"hint": hint})
    return name


MethodName = Annotated[str, AfterValidator(_known_method)]
"""The name of a block of `methods`."""


def _exactly_one(self: Any) -> Any:
    if sum(value is not None for _, value in self) != 1:
        raise PydanticCustomError("one_method", "give the block of exactly one method")
    return self


OneMethod: Any = create_model(
    "OneMethod",
    __base__=Section,
    __doc__="The block of one method, under its name.",
    __validators__={"_exactly_one": model_validator(mode="after")(_exactly_one)},
    **{name: (field.annotation, None) for name, field in Methods.model_fields.items()},  # type: ignore
)
"""The block of one method, under its name."""
