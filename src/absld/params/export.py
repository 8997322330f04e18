"""The file that ships: how it is written, in which smaller forms, and what it must reach to be promoted."""

from typing import Literal

from absld.params.base import Count, NonNegative, Ratio, Section


class Square(Section):
    """Square (Andriushchenko et al. 2020) on the file itself; `n` times `queries` passes of each network at most."""

    n: Count
    """Test images that it begins with: classified correctly by the student, balanced by class."""
    queries: Count
    """Questions for each of them. AutoAttack's own Square asks 5,000."""


class Variants(Section):
    """Smaller files beside student.onnx, each measured on its own and left out where it loses too much."""

    fp16: bool
    """Half precision inside, float32 at the border."""
    int8: bool
    """Static quantisation, calibrated on clean and adversarial images of the validation split."""
    tolerance: Ratio
    """How much lower than student.onnx any of clean average, clean worst class and adversarial average may be."""


class Gates(Section):
    """What a run must reach before `absld promote` gives it the alias; null: no such gate. Nothing else looks at it."""

    min_clean_average: Ratio | None
    min_aa_average: Ratio | None
    """Under AutoAttack."""
    min_aa_worst: Ratio | None
    """Worst class, or worst tenth where there are 100 classes or more, under AutoAttack."""
    max_aa_nsd: NonNegative | None
    """Standard deviation over the classes divided by their mean, under AutoAttack."""
    checks: bool
    """true: no check of the evaluation may be red."""


class Export(Section):
    """The ONNX file."""

    opset: Literal[18, 20, 23]
    """ONNX operator set; 18 has the widest reach."""
    square: Square
    variants: Variants
    gates: Gates
