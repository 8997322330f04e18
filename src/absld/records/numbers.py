"""Numbers as papers print them."""

import math


def number_text(value: float) -> str:
    """In 255ths where the value is a whole number of them, else as a decimal.

    >>> number_text(8 / 255), number_text(0.1)
    ('8/255', '0.1')
    """
    steps = value * 255
    if value and math.isclose(steps, round(steps), rel_tol=1e-9):
        return f"{round(steps)}/255"
    return f"{value:g}"
