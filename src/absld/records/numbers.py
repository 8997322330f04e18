"""Numbers as papers print them."""

import math


def number_text(value: float) -> str:
    """In 255ths where the value is a whole number of them and no short decimal, else as a decimal.

    >>> number_text(8 / 255), number_text(0.1), number_text(51 / 255)
    ('8/255', '0.1', '0.2')
    """
    steps, decimal = value * 255, f"{value:g}"
    if math.isclose(steps, round(steps), rel_tol=1e-9) and float(decimal) != value:
        return f"{round(steps)}/255"
    return decimal
