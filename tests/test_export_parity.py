"""What is found to differ between torch and the file, and what is only rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_exports import SPEC, Exported, images, trained

from absld.errors import ParityError
from absld.export.artefact import torch_network
from absld.export.parity import compare, measure, onnx_network


@pytest.mark.parametrize("size", [2, 7, 256])
def test_an_error_at_one_batch_size_is_found(exported: Exported, size: int) -> None:
    network = torch_network(exported.student)

    def wrong_at_size(x: np.ndarray) -> np.ndarray:
        return -network(x) if len(x) == size else network(x)

    with pytest.raises(ParityError, match=rf"on aa images: in batches of {size}:"):
        measure(network, wrong_at_size, {"aa": iter([images(9)])})


def test_an_error_in_a_later_batch_is_found(exported: Exported) -> None:
    network = torch_network(exported.student)
    odd = images(3)

    def wrong_on_odd(x: np.ndarray) -> np.ndarray:
        return -network(x) if np.array_equal(x, odd) else network(x)

    with pytest.raises(ParityError, match="on pgd images: 3 of 3 labels"):
        measure(network, wrong_on_odd, {"clean": iter([images(5)]), "pgd": iter([images(4), odd])})


def test_perturbed_weights_are_found(exported: Exported) -> None:
    other = trained(SPEC)
    with torch.no_grad():
        other.backbone.get_parameter("linear.weight").mul_(1.01)
    with pytest.raises(ParityError, match="0 of"):
        measure(torch_network(other), onnx_network(exported.model, threads=1), {"clean": iter([images(20)])})


# The bound at a largest logit of 1 is 1e-5 + 1e-4 = 1.1e-4.
@pytest.mark.parametrize(
    ("expected", "found", "tolerated"),
    [
        ([1.0, 0.9999, 0.0], [0.9999, 1.0, 0.0], 1),
        ([1.0, 1.0, 0.0], [0.9999, 1.0, 0.0], 1),
        ([1.0, 0.5, 0.0], [1.0001, 0.5, 0.0001], 0),
    ],
)
def test_ties_within_rounding_are_tolerated_and_counted(
    expected: list[float], found: list[float], tolerated: int
) -> None:
    agreement = compare(np.array([expected, [3, 2, 1]], np.float32), np.array([found, [3, 2, 1]], np.float32))
    assert (agreement.images, agreement.labels_tolerated) == (2, tolerated)
    assert agreement.max_difference == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("expected", "found", "message"),
    [
        ([1.0, 0.9998, 0.0], [0.99989, 0.9999, 0.0], "1 of 1 labels"),  # margin 2e-4, each logit within the bound
        (
            [1.0, 0.5, 0.0],
            [1.0, 0.5, 0.0002],
            "0 of 1 labels differ and the largest difference of two logits is 0.0002",
        ),
        ([1.0, 0.5, 0.0], [1.0, 0.5, np.nan], "not finite"),
        ([np.inf, 0.5, 0.0], [np.inf, 0.5, 0.0], "not finite"),
        ([1.0, 0.5, 0.0], [1.0, 0.5], "shape"),
    ],
)
def test_anything_more_is_refused(expected: list[float], found: list[float], message: str) -> None:
    with pytest.raises(ParityError, match=message):
        compare(np.array([expected], np.float32), np.array([found], np.float32))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(2, 30))
def test_rounding_is_never_refused(seed: int, scale: float, classes: int) -> None:
    random = np.random.default_rng(seed)
    z = (scale * random.standard_normal((20, classes))).astype(np.float32)
    z[::2, 1] = z[::2, 0]  # ties, which any rounding breaks
    noise = 0.4e-4 * np.abs(z).max(1, keepdims=True) * random.uniform(-1, 1, z.shape).astype(np.float32)
    assert compare(z, z + noise).labels_tolerated == int((z.argmax(1) != (z + noise).argmax(1)).sum())


def test_parity_counts_every_image_once(exported: Exported) -> None:
    parity = exported.card["parity"]
    assert {name: agreement["images"] for name, agreement in parity["sets"].items()} == {
        "clean": 300,
        "pgd": 40,
        "aa": 9,
    }
    assert parity["images"] == 349
    assert 0 < parity["max_difference"] < 1e-4
    assert parity["batch_sizes"] == [1, 2, 7, 256]
