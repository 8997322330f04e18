"""What every section of params.yaml is made of."""

from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A block of params.yaml: every key is there, none is unknown, types are exact, nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def parse_number(value: Any) -> Any:
    """Turn a fraction as papers print it ("8/255") into a float; leave everything else to the type check."""
    if isinstance(value, str):
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise PydanticCustomError("number", "not a number or a fraction like 8/255") from None
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise PydanticCustomError("number", "too large a number") from None
    return value


def _within_pixel_range(value: float) -> float:
    if 1 < value <= 255:
        text = f"{value:g}/255"
        raise PydanticCustomError("pixel_range", "pixels lie in [0, 1] here: did you mean {text}?", {"text": text})
    if not 0 <= value <= 1:
        raise PydanticCustomError("pixel_range", "must lie in [0, 1]")
    return value


_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?(/\d+)?$"}]}

Number = Annotated[float, BeforeValidator(parse_number), WithJsonSchema(_NUMBER_SCHEMA)]
Positive = Annotated[Number, Field(gt=0)]
"""A number above 0; a fraction may be written as text: 5/6."""
NonNegative = Annotated[Number, Field(ge=0)]
"""A number from 0; a fraction may be written as text: 5/6."""
Ratio = Annotated[Number, Field(ge=0, le=1)]
"""A number in [0, 1]; a fraction may be written as text: 5/6."""
PixelDistance = Annotated[Number, AfterValidator(_within_pixel_range)]
"""A distance between pixel values, which lie in [0, 1]: write 8/255, not 8."""
Count = Annotated[int, Field(ge=1)]
"""A whole number from 1."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""The seed of a random stream."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""64 hexadecimal digits."""
