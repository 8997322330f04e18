"""Two methods over several seeds: both intervals by hand, by their law, and against the comparison of one seed."""

from dataclasses import replace
from math import comb, sqrt
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absld.statistics.paired import Pairs, compared
from absld.statistics.paired_seeds import Difference, contrast, seeds95


def pairs_of(first: list[list[int]], second: list[list[int]]) -> Pairs:
    """A list of verdicts, 0 or 1, for each class."""
    y = np.arange(len(first)).repeat([len(of) for of in first])
    return Pairs(*(np.concatenate(of).astype(bool) for of in (first, second)), y, len(first))


def swapped(pairs: Pairs) -> Pairs:
    return replace(pairs, first=pairs.second, second=pairs.first)


@st.composite
def some_seeds(draw: st.DrawFn) -> list[Pairs]:
    sizes = draw(st.lists(st.integers(1, 8), min_size=2, max_size=4))
    y = np.arange(len(sizes)).repeat(sizes)
    verdicts = st.lists(st.booleans(), min_size=len(y), max_size=len(y)).map(np.array)
    return [Pairs(draw(verdicts), draw(verdicts), y, len(sizes)) for _ in range(draw(st.integers(1, 3)))]


@pytest.mark.parametrize(
    ("degrees", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042)]
)
def test_the_quantile_is_that_of_printed_tables(degrees: int, printed: float) -> None:
    values = [float(k % 3) for k in range(degrees + 1)]
    low, high = seeds95(values) or (0, 0)
    assert (high - low) / 2 / (stdev(values) / sqrt(len(values))) == pytest.approx(printed, abs=5e-4)


def test_the_interval_over_seeds_by_hand() -> None:
    low, high = seeds95([0.01, 0.02, 0.06]) or (0, 0)  # mean 0.03, s = √((0.02² + 0.01² + 0.03²) / 2)
    half = 4.302653 * sqrt(0.0014 / 2) / sqrt(3)
    assert (low, high) == pytest.approx((0.03 - half, 0.03 + half))
    assert seeds95([0.5]) is None


def test_a_contrast_by_hand() -> None:
    first = pairs_of([[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], [[1, 1, 0, 0, 1], [1, 1, 1, 1, 0]])
    second = pairs_of([[0, 0, 0, 1, 1], [1, 1, 1, 1, 0]], [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    found = contrast([first, second])
    assert [gap.by_seed for gap in found.classes] == [pytest.approx((0.4, 0.6)), pytest.approx((-0.2, -0.4))]
    measures = found.measures
    assert measures["average"].by_seed == pytest.approx((0.1, 0.1))
    assert measures["worst"].by_seed == pytest.approx((0.6 - 0.2, 0.4 - 0.4)), (
        "the worst class of each, whichever it is"
    )
    assert measures["overall"].mean == pytest.approx((0.1 + 0.2) / 2)
    assert measures["worst"].over_seeds == pytest.approx((0.2 - 12.7062 * 0.2, 0.2 + 12.7062 * 0.2), rel=1e-5)
    assert measures["nsd"].by_seed == pytest.approx((0.1 / 0.7 - 0.4 / 0.6, 0.3 / 0.7 - 0.2 / 0.6))
    # 2 images of 2 that differ: p = 2/4, of 1: 1; of 3: 2/8; twice the smallest of the two
    assert found.p == [pytest.approx([1, 1]), pytest.approx([0.5, 0.5])]


def test_of_one_seed_the_images_say_what_the_comparison_of_two_students_says() -> None:
    random = np.random.default_rng(1)
    pairs = Pairs(random.random(60) < 0.5, random.random(60) < 0.7, np.arange(3).repeat(20), 3)
    found, alone = contrast([pairs]), compared(pairs)
    assert {name: found.measures[name].over_images for name in alone.differences95} == alone.differences95
    assert found.p == [alone.p]
    assert all(gap.over_seeds is None and gap.shown == 0 for gap in found.measures.values())


def test_seeds_that_agree_on_every_image_follow_the_binomial_law() -> None:
    seed = pairs_of([[0] * 8, [1] * 3], [[1, 1, 1, 1, 0, 0, 0, 0], [1] * 3])

    def quantile(share: float) -> float:
        return next(k / 8 for k in range(9) if sum(comb(8, j) for j in range(k + 1)) / 2**8 >= share)

    found = contrast([seed, seed, seed])
    assert found.classes[0].over_images == (quantile(0.025), quantile(0.975)) == (1 / 8, 7 / 8)
    assert found.classes[1].over_images == (0, 0)
    assert found.classes[0].shown == 0, "seeds that are all equal say nothing about other seeds"


def test_all_seeds_are_judged_on_the_same_draw() -> None:
    gains = pairs_of([[0, 0, 0, 1, 1]], [[1, 0, 0, 1, 1]])
    found = contrast([gains, swapped(gains)])
    assert found.classes[0].over_images == (0, 0), "what one gains on a drawn image the other loses on it"
    assert contrast([gains]).classes[0].over_images[1] > 0


@settings(max_examples=25, deadline=None)
@given(some_seeds())
def test_swapping_the_methods_turns_the_signs(seeds: list[Pairs]) -> None:
    found, other = contrast(seeds), contrast([swapped(pairs) for pairs in seeds])
    assert found.p == other.p
    gaps = zip([*found.measures.values(), *found.classes], [*other.measures.values(), *other.classes], strict=True)
    for gap, turned in gaps:
        assert turned.by_seed == pytest.approx([-each for each in gap.by_seed])
        assert turned.over_images == pytest.approx((-gap.over_images[1], -gap.over_images[0]))
        assert (turned.over_seeds is None) == (gap.over_seeds is None)
        if turned.over_seeds and gap.over_seeds:
            assert turned.over_seeds == pytest.approx((-gap.over_seeds[1], -gap.over_seeds[0]))
        assert turned.shown == -gap.shown


@settings(max_examples=25, deadline=None)
@given(some_seeds())
def test_the_order_of_the_seeds_does_not_matter(seeds: list[Pairs]) -> None:
    found, other = contrast(seeds), contrast(seeds[::-1])
    for name, gap in found.measures.items():
        assert other.measures[name].over_images == pytest.approx(gap.over_images)
        assert other.measures[name].mean == pytest.approx(gap.mean)


def test_seeds_on_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="other images"):
        contrast([pairs_of([[1, 0], [1]], [[1, 0], [1]]), pairs_of([[1], [1, 0]], [[1], [1, 0]])])


@pytest.mark.parametrize(
    ("images", "seeds", "shown", "may_be_lower"),
    [
        ((0.01, 0.05), (0.02, 0.04), 1, False),
        ((-0.05, -0.01), (-0.04, -0.02), -1, True),
        ((0.01, 0.05), (-0.01, 0.04), 0, False),
        ((-0.01, 0.05), (0.01, 0.04), 0, False),
        ((0.0, 0.05), (0.01, 0.04), 0, False),
        ((-0.05, -0.01), (-0.04, 0.02), 0, True),
        ((0.01, 0.05), (-0.04, -0.02), 0, True),
        ((0.01, 0.05), None, 0, False),
        ((0.01, 0.05), (0.03, 0.03), 0, False),
    ],
)
def test_shown_is_what_both_intervals_show(
    images: tuple[float, float], seeds: tuple[float, float] | None, shown: int, may_be_lower: bool
) -> None:
    of = Difference((0.03, 0.03), images, seeds)
    assert (of.shown, of.may_be_lower) == (shown, may_be_lower)
