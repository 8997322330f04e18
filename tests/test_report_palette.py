"""The report's colours can be told apart, by everybody and on any paper."""

import itertools

import numpy as np
import pytest

from absld.report.palette import HUES, METHODS, PAPER, class_colours, style_of

# Simulated colour blindness at full severity, on linear RGB: Machado, Oliveira and Fernandes 2009, table of matrices.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = XYZ @ rgb.clip(0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("paper", ["light", "dark"])
def test_hues_differ_for_every_reader(paper: str, sight: str) -> None:
    seen = {name: lab(SIGHT[sight] @ linear(getattr(ink, paper))) for name, ink in HUES.items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)


def test_everything_stands_out_from_the_paper() -> None:
    for paper in ("light", "dark"):
        ground = getattr(PAPER["paper"], paper)
        assert all(contrast(getattr(ink, paper), ground) >= 3 for ink in HUES.values())
        assert all(contrast(getattr(PAPER[name], paper), ground) >= 4.5 for name in ("ink", "muted")), "text"
        assert all(contrast(colour, ground) >= 3 for colour in class_colours({str(n): n for n in range(10)}).values())


def test_every_method_has_a_look_of_its_own_for_good() -> None:
    assert len({style_of(method) for method in METHODS}) == len(METHODS)
    assert style_of("a_new_method") == style_of("a_new_method")
    assert style_of("absld").hue == "blue" and style_of("rslad").hue == "vermillion"
