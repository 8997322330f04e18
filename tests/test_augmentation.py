"""Crops and flips, against plain loops."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from absld.data.augmentation import Variants, batches, draw, vary
from absld.params.train import Augmentation

Pixel = tuple[int, ...]


def bounced(place: int, length: int) -> int:
    """A place outside, walked back from the edge as a ball would; the edge itself is met once."""
    while not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place


def plain_variant(image: Tensor, padding: int, top: int, left: int, mirrored: bool, around: str = "zeros") -> Tensor:
    """One variant of one image, (channels, height, width), pixel by pixel."""
    channels, height, width = image.shape
    out = torch.zeros_like(image)
    for channel, row, column in product(range(channels), range(height), range(width)):
        source_row = row + top - padding
        source_column = (width - 1 - column if mirrored else column) + left - padding
        if around == "reflect":
            source_row, source_column = bounced(source_row, height), bounced(source_column, width)
        if 0 <= source_row < height and 0 <= source_column < width:
            out[channel, row, column] = image[channel, source_row, source_column]
    return out


def images(count: int, channels: int = 3, height: int = 5, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(1, 256, (count, channels, height, width), generator=generator).to(torch.uint8)


def augmentation(padding: int, flip: bool, around: str = "zeros") -> Augmentation:
    return Augmentation(crop_padding=padding, padding=around, horizontal_flip=flip)


@pytest.mark.parametrize("around", ["zeros", "reflect"])
@pytest.mark.parametrize(("padding", "flip", "channels"), [(2, True, 3), (2, False, 1), (0, True, 3), (3, True, 1)])
def test_every_output_is_the_variant_that_was_drawn(padding: int, flip: bool, channels: int, around: str) -> None:
    x, chosen = images(40, channels), augmentation(padding, flip, around)
    variants = draw(40, chosen, torch.Generator().manual_seed(0))
    out = vary(x, variants, chosen)
    assert out.dtype == torch.uint8
    for image, result, top, left, mirrored in zip(x, out, *variants, strict=True):
        assert torch.equal(result, plain_variant(image, padding, int(top), int(left), bool(mirrored), around))


@pytest.mark.parametrize("flip", [True, False])
def test_all_variants_are_equally_likely(flip: bool) -> None:
    count = 20_000
    drawn = draw(count, augmentation(1, flip), torch.Generator().manual_seed(0))
    counts = Counter(zip(*(values.tolist() for values in drawn), strict=True))
    variants = 9 * 2 if flip else 9
    assert set(counts) == set(product(range(3), range(3), (False, True) if flip else (False,)))
    expected = count / variants
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi_square < 45  # 17 degrees of freedom: exceeded once in 4,000 draws


def test_no_augmentation_leaves_the_pixels() -> None:
    x = images(10)
    none = augmentation(0, False)
    assert torch.equal(vary(x, draw(10, none, torch.Generator().manual_seed(0)), none), x)


def test_a_mirrored_margin_is_numpys_reflection() -> None:
    x = images(2)
    corner = Variants(torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), torch.zeros(2).bool())
    out = vary(x, corner, augmentation(3, False, "reflect"))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    assert torch.equal(out, torch.from_numpy(padded[:, :, : x.shape[2], : x.shape[3]]))


def epoch(seed: int, padding: int = 1, flip: bool = True) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return list(batches(images(23), torch.arange(23), 5, augmentation(padding, flip), generator))


def test_an_epoch_has_every_image_once_in_random_order() -> None:
    sizes = [len(y) for _, y in epoch(0)]
    order = [label for _, y in epoch(0) for label in y.tolist()]
    assert sizes == [5, 5, 5, 5, 3]
    assert sorted(order) == list(range(23))
    assert order != list(range(23))


def test_batches_are_floats_of_variants_of_their_own_images() -> None:
    x = images(23)
    for inputs, labels in epoch(0):
        assert inputs.dtype == torch.float32
        for image, label in zip(inputs, labels, strict=True):
            possible = [plain_variant(x[label], 1, *choice) for choice in product(range(3), range(3), (False, True))]
            assert any(torch.equal(image, variant.to(torch.float32) / 255) for variant in possible)


def test_the_generator_alone_decides() -> None:
    torch.manual_seed(1)
    first = epoch(7)
    torch.manual_seed(2)
    again, other = epoch(7), epoch(8)
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))
    assert not torch.equal(first[0][1], other[0][1])
