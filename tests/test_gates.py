"""What a run must reach before it is promoted: limits, checks, and that no stage sees them."""

import pytest
from gated_evaluations import NONE, evaluation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gates import judge
from stages.contracts import ALL


@pytest.mark.parametrize(
    ("gate", "enough", "too_much", "problem"),
    [
        ("min_clean_average", 0.9, 0.91, "90 is below 91"),
        ("min_aa_average", 0.6, 0.61, "60 is below 61"),
        ("min_aa_worst", 0.4, 0.401, "40 is below 40.1"),
        ("max_aa_nsd", 0.2, 0.19, "0.2 is above 0.19"),
    ],
)
def test_a_gate_lets_pass_what_equals_its_limit(gate: str, enough: float, too_much: float, problem: str) -> None:
    [passed] = judge(NONE.model_copy(update={gate: enough}), evaluation())
    assert (passed.gate, passed.value, passed.passed, passed.problem) == (gate, enough, True, "")
    [failed] = judge(NONE.model_copy(update={gate: too_much}), evaluation())
    assert (failed.value, failed.limit, failed.passed, failed.problem) == (enough, too_much, False, problem)


@given(value=st.floats(0, 1), limit=st.floats(0, 1))
def test_below_is_below_but_for_rounding(value: float, limit: float) -> None:
    [judged] = judge(NONE.model_copy(update={"min_aa_average": limit}), evaluation(average=value))
    assert judged.passed or value < limit
    assert not judged.passed or value > limit - 1e-8


def test_a_mean_that_equals_its_limit_but_for_rounding_passes() -> None:
    mean = sum([0.1] * 10)  # 0.9999999999999999
    assert mean < 1
    [judged] = judge(NONE.model_copy(update={"min_aa_average": 1.0}), evaluation(average=mean))
    assert judged.passed


@pytest.mark.parametrize(("classes", "value"), [(10, 0.4), (99, 0.4), (100, 0.45)])
def test_from_a_hundred_classes_on_the_worst_tenth_counts(classes: int, value: float) -> None:
    [judged] = judge(NONE.model_copy(update={"min_aa_worst": 0.42}), evaluation(classes))
    assert (judged.value, judged.passed) == (value, value > 0.42)
    assert judged.interval == pytest.approx((value - 0.1, value + 0.1))


def test_what_was_not_measured_does_not_pass() -> None:
    gates = NONE.model_copy(update={"min_aa_average": 0.0, "max_aa_nsd": 9.0})
    without = evaluation()
    del without["attacks"]["aa"]
    assert [(judged.value, judged.passed) for judged in judge(gates, without)] == [(None, False)] * 2
    assert "AutoAttack was not run: set evaluate.attacks.aa" in judge(gates, without)[0].problem
    nobody = judge(gates, evaluation(average=0.0, nsd=None))
    assert [judged.passed for judged in nobody] == [True, False]
    assert "no value" in nobody[1].problem


@pytest.mark.parametrize(
    ("classes", "left_out", "passed"),
    [
        (10, [], True),
        (3, ["apgd_t"], True),
        (10, ["apgd_t"], False),
        (3, ["apgd_t", "fab_t"], False),
        (10, ["apgd_ce", "apgd_t", "fab_t"], False),
    ],
)
def test_only_too_few_classes_excuse_an_autoattack_that_is_not_the_standard_version(
    classes: int, left_out: list[str], passed: bool
) -> None:
    measured = evaluation(classes)
    measured["attacks"]["aa"]["settings"] = {"standard": not left_out, "left_out": left_out}
    [judged] = judge(NONE.model_copy(update={"min_aa_average": 0.1}), measured)
    assert (judged.value, judged.passed) == (0.6, passed)
    assert ("without" in judged.what or "only" in judged.what) is bool(left_out)
    assert ("set evaluate.attacks.aa.parts in params.yaml" in judged.problem) is not passed
    [clean] = judge(NONE.model_copy(update={"min_clean_average": 0.1}), measured)
    assert clean.passed


def test_red_checks_are_named_with_what_they_saw() -> None:
    gates = NONE.model_copy(update={"checks": True})
    [green] = judge(gates, evaluation())
    assert (green.value, green.passed) == (0, True)
    [red] = judge(gates, evaluation(red={"transfer": "the teacher's images fool 9 more", "huge_eps": "31 % left"}))
    assert (red.value, red.limit, red.passed) == (2, 0, False)
    assert red.problem == "transfer is red: the teacher's images fool 9 more; huge_eps is red: 31 % left"
    [unchecked] = judge(gates, {**evaluation(), "checks": {}})
    assert not unchecked.passed


def test_no_gate_judges_nothing() -> None:
    assert judge(NONE, evaluation(average=0.0, red={"transfer": "much"})) == []


def test_no_stage_sees_the_gates_so_a_changed_one_reruns_nothing() -> None:
    seen = [param for stage in ALL for param in stage.params if param.startswith("export")]
    assert set(seen) == {"export.opset", "export.square", "export.variants"}
