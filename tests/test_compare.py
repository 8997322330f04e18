"""Two students on the same images: the tests by hand, their laws, the words, the refusals; and the bias of the worst."""

from collections.abc import Callable, Sequence
from itertools import product
from math import comb, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import block, run_of, teacher

from absld.evaluation.arrays import write_npz
from absld.records.files import write_json
from absld.report.summary import summarise
from absld.report.tables import results_table
from absld.statistics.bias import counts_of, expected_lowest, tail_bias, without_noise
from absld.statistics.metrics import ClassTable
from absld.statistics.paired import Pairs, compared, holm, images_needed, mcnemar

CAT_DOG = ("cat", "dog")


def pairs_of(*classes: tuple[int, int, int, int]) -> Pairs:
    """From the images of each class that both, only the first, only the second, neither gets right."""
    outcomes = np.array([(True, True), (True, False), (False, True), (False, False)])
    seen = np.concatenate([outcomes.repeat(counts, axis=0) for counts in classes])
    y = np.arange(len(classes)).repeat([sum(counts) for counts in classes])
    return Pairs(seen[:, 0], seen[:, 1], y, len(classes))


def swapped(pairs: Pairs) -> Pairs:
    return Pairs(pairs.second, pairs.first, pairs.y, pairs.classes)


counts = st.integers(0, 9)
some_pairs = st.lists(
    st.tuples(counts, counts, counts, counts).filter(any), min_size=2, max_size=5
).map(lambda classes: pairs_of(*classes))  # fmt: skip


# the tests


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1),
        (3, 3, 1),
        (0, 5, 2 / 32),
        (6, 0, 2 / 64),
        (1, 7, 2 * (1 + 8) / 256),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (4, 5, 1),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first) == pytest.approx(p, rel=1e-12)


def test_mcnemar_of_many_images_meets_the_normal_distribution() -> None:
    z = (3150 - 2850 - 1) / sqrt(6000)  # with the continuity correction
    tail = np.exp(-(z**2) / 2) / (z * sqrt(2 * np.pi)) * (1 - z**-2 + 3 * z**-4 - 15 * z**-6)
    assert mcnemar(2850, 3150) == pytest.approx(2 * tail, rel=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.2, 0.001, 0.2, 0.02]) == pytest.approx([0.4, 0.004, 0.4, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_raw_value_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(raw <= value <= min(1, len(p) * raw) for raw, value in zip(p, adjusted, strict=True))
    assert adjusted[int(np.argmin(p))] == min(1, len(p) * min(p))
    in_order = [adjusted[place] for place in np.argsort(p, kind="stable")]
    assert in_order == sorted(in_order)


def test_a_comparison_by_hand() -> None:
    found = compared(pairs_of((10, 0, 8, 2), (5, 3, 1, 11)))
    assert found.only_first.tolist() == [0, 3]
    assert found.only_second.tolist() == [8, 1]
    assert found.differences.tolist() == [0.4, -0.1]
    assert found.p == pytest.approx([2 * 2 / 256, 2 * (1 + 4) / 16])
    assert found.difference_all == 6 / 40
    assert found.p_all == pytest.approx(2 * sum(comb(12, k) for k in range(4)) / 2**12)
    assert found.significant == [0]


@settings(max_examples=25, deadline=None)
@given(some_pairs)
def test_swapping_the_runs_turns_the_signs_and_keeps_the_p_values(pairs: Pairs) -> None:
    found, other = compared(pairs), compared(swapped(pairs))
    assert found.p == other.p
    assert found.p_all == other.p_all
    assert found.difference_all == -other.difference_all
    assert found.differences.tolist() == (-other.differences).tolist()
    for name, (low, high) in found.differences95.items():
        assert other.differences95[name] == pytest.approx((-high, -low))


@settings(max_examples=25, deadline=None)
@given(some_pairs)
def test_a_run_does_not_differ_from_itself(pairs: Pairs) -> None:
    found = compared(Pairs(pairs.first, pairs.first, pairs.y, pairs.classes))
    assert set(found.p) == {1.0}
    assert found.p_all == 1
    assert found.significant == []
    assert set(found.differences95.values()) == {(0.0, 0.0)}


def test_pairing_narrows_the_interval_of_the_average_to_what_differs() -> None:
    pairs = pairs_of((300, 10, 30, 60), (200, 20, 20, 160))
    gaps, shares = np.array([20 / 400, 0.0]), np.array([40 / 400, 40 / 400])
    error = sqrt(((shares - gaps**2) / 400).sum()) / 2
    low, high = compared(pairs).differences95["average"]
    assert low == pytest.approx(0.025 - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(0.025 + 1.96 * error, abs=0.15 * error)


def test_the_images_that_are_needed_by_hand() -> None:
    assert images_needed(0.1, 0.2) == 155  # (1.95996·√0.2 + 0.84162·√0.19)² / 0.1² = 154.6
    assert images_needed(-0.1, 0.2) == 155
    assert images_needed(0.1, 0.2, tests=10) == 264  # with 2.80703 for 1.95996: 263.2
    assert images_needed(1.0, 1.0) == 6, "five of five have p = 2/32"
    assert images_needed(0.0, 0.3) is None


def test_that_many_images_are_enough_four_times_in_five() -> None:
    n = images_needed(0.15, 0.3)
    assert n is not None
    power = 0.0
    for discordant in range(n + 1):
        chance = comb(n, discordant) * 0.3**discordant * 0.7 ** (n - discordant)
        found = sum(
            comb(discordant, won) * 0.75**won * 0.25 ** (discordant - won)
            for won in range(discordant + 1)
            if mcnemar(discordant - won, won) < 0.05
        )
        power += chance * found
    assert 0.72 < power < 0.88


# the bias of the worst class


def lowest_by_enumeration(rates: Sequence[float], total: Sequence[int], lowest: int) -> float:
    expected = 0.0
    for correct in product(*(range(n + 1) for n in total)):
        chance = 1.0
        for k, n, rate in zip(correct, total, rates, strict=True):
            chance *= comb(n, k) * rate**k * (1 - rate) ** (n - k)
        expected += chance * sum(sorted(k / n for k, n in zip(correct, total, strict=True))[:lowest]) / lowest
    return expected


@pytest.mark.parametrize("lowest", [1, 2])
def test_the_expected_lowest_is_that_of_all_outcomes(lowest: int) -> None:
    rates, total = (0.3, 0.9, 0.5), (4, 7, 5)
    found = expected_lowest(np.array(rates), np.array(total), lowest)
    assert found == pytest.approx(lowest_by_enumeration(rates, total, lowest), abs=2.5e-4)


def test_the_bias_of_equal_classes_is_that_of_ten_normal_deviates() -> None:
    bias = expected_lowest(np.full(10, 0.8), np.full(10, 1000)) - 0.8
    assert bias == pytest.approx(-1.53875 * sqrt(0.8 * 0.2 / 1000), rel=0.02)


def test_the_estimated_bias_meets_the_true_one() -> None:
    rates, n = np.linspace(0.6, 0.9, 10), 36
    true = expected_lowest(rates, np.full(10, n)) - 0.6
    random = np.random.default_rng(0)
    estimates = [tail_bias(ClassTable(random.binomial(n, rates), np.full(10, n))) for _ in range(100)]
    assert np.mean(estimates) == pytest.approx(true, rel=0.15)


def test_the_noise_is_taken_off_the_spread() -> None:
    table = ClassTable(np.array([60, 80, 70]), np.array([100, 100, 100]))
    noise = (0.24 + 0.16 + 0.21) / 300
    assert without_noise(table).var(ddof=1) == pytest.approx(0.01 - noise)
    assert without_noise(table).mean() == pytest.approx(0.7)
    alike = ClassTable(np.array([70, 71, 69]), np.array([100, 100, 100]))
    assert without_noise(alike).tolist() == pytest.approx([0.7, 0.7, 0.7])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=12))
def test_the_bias_never_lifts(of: list[tuple[int, int]]) -> None:
    correct, total = (np.array(column) for column in zip(*((min(k, n), n) for k, n in of), strict=True))
    assert -1 <= tail_bias(ClassTable(correct, total)) <= 0


@given(st.lists(st.tuples(st.integers(0, 10000), st.integers(1, 10000)), min_size=1, max_size=12))
def test_the_counts_are_found_again_behind_the_intervals(of: list[tuple[int, int]]) -> None:
    from absld.statistics.intervals import intervals95
    from absld.statistics.metrics import accuracies

    correct, total = (np.array(column) for column in zip(*((min(k, n), n) for k, n in of), strict=True))
    names = [f"c{label}" for label in range(len(of))]
    table = ClassTable(correct, total)
    found = counts_of({"accuracy": accuracies(table, names), "interval95": intervals95(table, names, 0)})
    assert found.correct.tolist() == correct.tolist()
    assert found.total.tolist() == total.tolist()


def test_the_report_says_how_biased_its_worst_class_is() -> None:
    summary = summarise([run_of("absld", 0, [7, 7], total=10)], None, teacher(CAT_DOG))
    expected = 0.7 - lowest_by_enumeration((0.7, 0.7), (10, 10), 1)
    assert summary["bias"]["absld"] == pytest.approx(-expected, abs=2.5e-4)
    told = f"the lowest of 2 accuracies, measured on about 10 images each, is on average too low, under AutoAttack by about {100 * expected:.1f} (ABSLD) points"
    assert told in results_table(summary).caption


# the command


def write(
    root: Path,
    run: str,
    survived: Sequence[bool],
    y: Sequence[int] = (0,) * 8 + (1,) * 8,
    rows: Sequence[int] | None = None,
    data: str = "ab",
    steps: int = 20,
    verdicts: bool = True,
) -> None:
    right, labels = np.array(survived), np.array(y)
    attacked = labels if rows is None else labels[list(rows)]
    of = ClassTable.of(right, attacked, 2)
    pgd = block(of.correct.tolist(), int(of.total[0]), CAT_DOG, {"steps": steps, "seed": len(run)})
    folder = root / "runs" / run / "evaluation"
    write_json(
        folder / "evaluation.json",
        {
            "run": run,
            "dataset": "pets",
            "classes": list(CAT_DOG),
            "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
            "attacks": {"pgd": pgd},
            "provenance": {"data_sha256": data * 32},
        },
    )
    arrays = {"y": labels, "pgd": right}
    if rows is not None:
        arrays["pgd_index"] = np.array(rows)
    if verdicts:
        write_npz(folder / "verdicts.npz", arrays)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "900")
    return tmp_path


@pytest.fixture
def told(absld: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `absld compare` prints about these runs."""

    def run(*runs: str) -> str:
        assert absld("compare", *runs) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(absld: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Why `absld compare` does not compare these runs."""

    def run(*runs: str) -> str:
        assert absld("compare", *runs) == 2
        return capsys.readouterr().err

    return run


ALL, HALF = (True,) * 16, (False,) * 8 + (True,) * 8


def test_two_runs_are_tested_class_by_class(project: Path, told: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF)
    write(project, "absld-s0", ALL)
    out = told("rslad-s0", "absld-s0")
    rows = {line[:12].strip(): line[12:].split() for line in out.splitlines()}
    assert rows["cat"] == ["0.0", "100.0", "+100.0", "8", "0", "0.016*"]  # 2 · 2/2⁸
    assert rows["dog"] == ["100.0", "100.0", "0.0", "0", "0", "1.000"]
    assert rows["All images"] == ["50.0", "100.0", "+50.0", "8", "0", "0.008*"]
    assert rows["Average"] == ["50.0", "100.0", "+50.0", "+50.0", "to", "+50.0"]
    assert rows["NSD"] == ["1.000", "0.000", "−1.000"]
    assert "absld-s0 is significantly better on cat (+100.0). All images together differ significantly too" in out
    assert "n = 16" in out
    assert "Worst class is biased" in out
    back = told("absld", "rslad")
    assert "rslad-s0 is significantly worse on cat (−100.0)." in back


def test_a_name_in_brackets_is_no_markup(project: Path, told: Callable[..., str]) -> None:
    write(project, "[b]-s0", HALF)
    write(project, "absld-s0", ALL)
    assert ["class", "[b]-s0", "absld-s0"] in [line.split()[:3] for line in told("[b]-s0", "absld-s0").splitlines()]


def test_nothing_is_significant_and_it_says_what_it_would_take(project: Path, told: Callable[..., str]) -> None:
    write(project, "rslad-s0", (True, False, *HALF[2:]))
    write(project, "absld-s0", (False, True, True, True, *HALF[4:]))
    out = told("rslad-s0", "absld-s0")
    assert "Nothing is significant: neither any class nor all images together (+12.5 points, p = 0.625)" in out
    # (1.95996·√0.25 + 0.84162·√(0.25 - 0.125²))² / 0.125² = 123.2, (2.24140·√0.5 + 0.84162·√(0.5 - 0.25²))² / 0.25² = 73.4
    assert "+12.5 points over all images is found four times in five with about 120 images (here 16)" in out
    assert "+25.0 points on cat, is found four times in five with about 74 images of that class (here 8)" in out


def test_a_run_beside_itself_agrees_on_every_image(project: Path, told: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF)
    out = told("rslad-s0", "rslad-s0")
    assert "Nothing is significant: the two agree on every image." in out
    assert "*" not in out.split("pets")[0]


def test_runs_with_other_caps_are_compared_on_the_images_they_share(project: Path, told: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF)
    write(project, "absld-s0", (True, True, False, True), rows=(0, 3, 8, 11))
    out = told("rslad-s0", "absld-s0")
    rows = {line[:12].strip(): line[12:].split() for line in out.splitlines()}
    assert rows["cat"][:5] == ["0.0", "100.0", "+100.0", "2", "0"]
    assert rows["dog"][:5] == ["100.0", "50.0", "−50.0", "0", "1"]
    assert "n = 4;" in out


def test_what_cannot_be_paired_is_refused(project: Path, refused: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF)
    for changed, complaint in (
        ({"data": "cd"}, "other test images (sha256 abababababab and cdcdcdcdcdcd)"),
        ({"steps": 10}, "rslad-s0 met PGD-20 with steps 20, absld-s0 with steps 10"),
        ({"y": (1,) * 8 + (0,) * 8}, "have other labels"),
    ):
        write(project, "absld-s0", HALF, **changed)
        assert complaint in refused("rslad-s0", "absld-s0")
    write(project, "rslad-s0", HALF[:2] + HALF[8:10], rows=(0, 1, 8, 9))
    write(project, "absld-s0", HALF[:2] + HALF[8:10], rows=(0, 1, 14, 15))
    assert "of dog they have none in common" in refused("rslad-s0", "absld-s0")


def test_three_runs_are_refused_as_two_are(
    project: Path, told: Callable[..., str], refused: Callable[..., str]
) -> None:
    for run in ("rslad-s0", "absld-s0", "trades-s0"):
        write(project, run, HALF)
    assert "trades-s0" in told("rslad-s0", "absld-s0", "trades-s0")
    for changed, complaint in (
        ({"data": "cd"}, "rslad-s0 and trades-s0 were measured on other test images"),
        ({"steps": 10}, "rslad-s0 met PGD-20 with steps 20, trades-s0 with steps 10"),
    ):
        write(project, "trades-s0", HALF, **changed)
        assert complaint in refused("rslad-s0", "absld-s0", "trades-s0")


def test_verdicts_of_another_evaluation_are_refused(project: Path, refused: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF)
    write(project, "absld-s0", ALL)
    verdicts = project / "runs" / "absld-s0" / "evaluation" / "verdicts.npz"
    verdicts.write_bytes((project / "runs" / "rslad-s0" / "evaluation" / "verdicts.npz").read_bytes())
    assert "are of two evaluations: evaluate absld-s0 again" in refused("rslad-s0", "absld-s0")
    for content in (b"", b"PK\x03\x04half a file"):
        verdicts.write_bytes(content)
        assert "has no verdicts under pgd" in refused("rslad-s0", "absld-s0")


def test_without_verdicts_the_table_says_that_nothing_was_tested(project: Path, told: Callable[..., str]) -> None:
    write(project, "rslad-s0", HALF, verdicts=False)
    write(project, "absld-s0", ALL)
    out = told("rslad-s0", "absld-s0")
    assert "+100.0*" in out
    assert "Not tested image by image" in out


def test_a_method_with_several_seeds_is_several_students(
    project: Path, told: Callable[..., str], refused: Callable[..., str]
) -> None:
    for run in ("rslad-s0", "absld-s0", "absld-s1", "absld_adv-s0"):
        write(project, run, HALF)
    why = refused("rslad-s0", "absld")
    assert "'absld' has several seeds, each a student of its own: name one of absld-s0, absld-s1, or two methods" in why
    assert "absld_adv-s0" in told("rslad", "absld_adv")
