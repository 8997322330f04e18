"""Class accuracies and their intervals, against hand computations and exact distributions."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from absld.statistics.intervals import intervals95, resampled, wilson
from absld.statistics.metrics import ClassTable, accuracies, shown_measures


def table(correct: list[int], total: list[int]) -> ClassTable:
    return ClassTable(np.array(correct), np.array(total))


@st.composite
def tables(draw: st.DrawFn) -> ClassTable:
    classes = draw(st.integers(2, 120))
    total = draw(hnp.arrays(np.int64, classes, elements=st.integers(1, 50)))
    share = draw(hnp.arrays(np.float64, classes, elements=st.floats(0, 1)))
    return ClassTable((total * share).astype(np.int64), total)


def test_t15_unbalanced_classes_by_hand() -> None:
    y = np.array([0, 0, 0, 0, 1, 1, 2])
    correct = np.array([True, True, True, False, True, False, True])
    found = ClassTable.of(correct, y, 3)
    assert found.correct.tolist() == [3, 1, 1]
    assert found.total.tolist() == [4, 2, 1]
    assert found.accuracy.tolist() == [0.75, 0.5, 1.0]
    assert found.micro == 5 / 7
    assert found.average == 0.75
    assert found.worst == found.worst10 == 0.5
    assert found.overall == 0.625
    assert found.nsd == pytest.approx(sqrt((0 + 0.0625 + 0.0625) / 3) / 0.75)
    assert accuracies(found, ["a", "b", "c"])["per_class"] == {"a": 0.75, "b": 0.5, "c": 1.0}


def test_t15_worst_tenth_of_a_hundred_classes_is_the_mean_of_ten() -> None:
    correct = list(range(100))[::-1]
    found = table(correct, [100] * 100)
    assert found.worst == 0
    assert found.worst10 == pytest.approx(0.045)
    assert found.average == pytest.approx(0.495)
    assert found.overall == pytest.approx((0.495 + 0.045) / 2)
    assert table(correct[:99], [100] * 99).overall == pytest.approx((50 / 100 + 0.01) / 2)
    assert shown_measures([*"a" * 100]) == ("average", "worst10", "overall", "nsd")
    assert shown_measures([*"a" * 99]) == ("average", "worst", "overall", "nsd")


@pytest.mark.parametrize(("classes", "of"), [(2, 1), (10, 1), (19, 1), (20, 2), (25, 2)])
def test_worst_tenth_has_at_least_one_class(classes: int, of: int) -> None:
    found = table(list(range(classes)), [classes] * classes)
    assert found.worst10 == pytest.approx(sum(range(of)) / of / classes)


def test_nothing_correct_has_no_nsd() -> None:
    found = table([0, 0], [5, 7])
    assert found.nsd is None
    assert found.overall == found.average == 0


def test_a_class_without_images_has_no_accuracy_but_still_adds() -> None:
    part = ClassTable.of(np.array([True]), np.array([1]), 2)
    with pytest.raises(ValueError, match="class 0 has no image"):
        accuracies(part, ["a", "b"])
    assert (part + table([1, 0], [2, 0])).accuracy.tolist() == [0.5, 1.0]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=60), st.data())
def test_tables_of_parts_add_up_to_the_table_of_the_whole(images: list[tuple[int, bool]], data: st.DataObject) -> None:
    y, correct = np.array([label for label, _ in images]), np.array([right for _, right in images])
    cut = data.draw(st.integers(1, len(images) - 1))
    whole = ClassTable.of(correct, y, 5)
    parts = ClassTable.of(correct[:cut], y[:cut], 5) + ClassTable.of(correct[cut:], y[cut:], 5)
    np.testing.assert_array_equal(whole.correct, parts.correct)
    np.testing.assert_array_equal(whole.total, parts.total)


@given(tables(), st.integers(0, 2**32))
def test_the_order_of_the_classes_means_nothing(found: ClassTable, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(found.total))
    other = ClassTable(found.correct[order], found.total[order])
    for name in ("average", "worst", "worst10", "overall", "micro"):
        assert getattr(other, name) == pytest.approx(getattr(found, name))
    assert 0 <= found.worst <= found.worst10 + 1e-12 <= found.average + 2e-12
    assert found.worst <= found.micro + 1e-12


def test_wilson_by_hand() -> None:
    low, high = wilson(np.array([1, 0, 10]), np.array([10, 10, 10]))
    z2 = 1.959963984540054**2
    assert (low[0], high[0]) == (pytest.approx(0.017876, abs=1e-6), pytest.approx(0.404150, abs=1e-6))
    assert (low[1], high[1]) == (0, pytest.approx(z2 / (10 + z2)))
    assert (low[2], high[2]) == (pytest.approx(10 / (10 + z2)), 1)


@given(tables())
def test_wilson_holds_the_rate_and_lies_in_the_unit_interval(found: ClassTable) -> None:
    low, high = wilson(found.correct, found.total)
    assert ((low >= 0) & (low <= found.accuracy) & (found.accuracy <= high) & (high <= 1)).all()
    assert (high > low).all()


def test_bootstrap_of_the_average_meets_the_normal_approximation() -> None:
    found = table([350, 80, 600, 41], [400, 100, 1000, 50])
    rate = np.array([0.875, 0.8, 0.6, 0.82])
    error = sqrt((rate * (1 - rate) / np.array([400, 100, 1000, 50])).sum()) / 4
    low, high = intervals95(found, list("abcd"), seed=3)["average"]
    assert low == pytest.approx(rate.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(rate.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_of_the_worst_class_meets_the_exact_distribution_of_the_minimum() -> None:
    n, rates = 36, (0.75, 2 / 3)
    tail = np.ones(n + 1)
    for rate in rates:
        mass = np.array([comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)])
        tail *= mass[::-1].cumsum()[::-1]
    below = 1 - np.append(tail[1:], 0)
    exact = [int(np.argmax(below >= q)) / n for q in (0.025, 0.975)]
    low, high = intervals95(table([27, 24], [n, n]), ["a", "b"], seed=0)["worst"]
    assert low == pytest.approx(exact[0], abs=1.01 / n)
    assert high == pytest.approx(exact[1], abs=1.01 / n)


def test_bootstrap_uses_its_own_random_numbers() -> None:
    found = table([7, 5], [10, 10])
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = resampled(found, 5)
    np.testing.assert_array_equal(first, resampled(found, 5))
    assert not np.array_equal(first, resampled(found, 6))
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_intervals_have_the_keys_of_the_accuracies_but_nsd() -> None:
    found = table([7, 5], [10, 10])
    keys = accuracies(found, ["a", "b"])
    assert intervals95(found, ["a", "b"], 0).keys() == keys.keys() - {"nsd"}
    low, high = wilson(np.array([12]), np.array([20]))
    assert intervals95(found, ["a", "b"], 0)["micro"] == [low[0], high[0]]
