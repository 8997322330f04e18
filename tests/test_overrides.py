"""Attacks and a radius by name, in the place of those in params.yaml; and how attacks are called."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from absld.errors import InputError
from absld.evaluation.overrides import check_attacks, overridden, parse_eps
from absld.params.agreement import against_data
from absld.params.data import Facts
from absld.params.evaluate import Evaluate
from absld.params.load import check, load
from absld.params.yaml_file import read_yaml
from absld.records.attacks import AUTOATTACK, attack_label, left_out_parts, possible_parts, strongest

ROOT = Path(__file__).parents[1]
CIFAR10 = ROOT / "pipeline/profiles/cifar10.yaml"


@pytest.fixture(scope="module")
def settings() -> Evaluate:
    return load(CIFAR10).evaluate


def run_by(settings: Evaluate) -> list[str]:
    return [name for name, attack in settings.attacks if attack is not None]


def test_without_a_wish_nothing_changes(settings: Evaluate) -> None:
    assert overridden(settings, [], None) == settings


@pytest.mark.parametrize(
    ("asked", "run", "parts"),
    [
        (["pgd"], ["pgd"], None),
        (["cw", "fgsm"], ["fgsm", "cw"], None),
        (["aa"], ["aa"], list(AUTOATTACK)),
        (["square", "apgd_ce"], ["aa"], ["apgd_ce", "square"]),
        (["pgd", "fab_t", "aa"], ["pgd", "aa"], list(AUTOATTACK)),
    ],
)
def test_only_what_is_asked_for_is_run(
    settings: Evaluate, asked: list[str], run: list[str], parts: list[str] | None
) -> None:
    found = overridden(settings, asked, None)
    assert run_by(found) == run
    assert (found.attacks.aa.parts if found.attacks.aa else None) == parts
    assert found.curves is None
    assert (found.eps, found.seed, found.chunk, found.keep) == (settings.eps, settings.seed, settings.chunk, 100)
    assert found.attacks.pgd in (None, settings.attacks.pgd)


@given(eps=st.floats(1e-3, 1))
def test_walks_keep_their_length_in_radii(settings: Evaluate, eps: float) -> None:
    found = overridden(settings, [], eps)
    assert found.eps == eps
    for ours, before in ((found.attacks.pgd, settings.attacks.pgd), (found.attacks.cw, settings.attacks.cw)):
        assert ours is not None
        assert before is not None
        assert ours.step / eps == pytest.approx(before.step / settings.eps) == pytest.approx(1 / 4)
        assert ours.steps == before.steps
    assert found.curves == settings.curves


def test_an_attack_that_nobody_set_is_told(settings: Evaluate) -> None:
    without = settings.model_copy(update={"attacks": settings.attacks.model_copy(update={"cw": None, "aa": None})})
    with pytest.raises(InputError, match=r"--attack cw: evaluate\.attacks\.cw is null in params\.yaml"):
        overridden(without, ["cw"], None)
    square = overridden(without, ["square"], None).attacks.aa
    assert square is not None
    assert (square.n, square.parts) == (None, ["square"])


@pytest.mark.parametrize(("text", "value"), [("4/255", 4 / 255), ("0.1", 0.1), ("0", 0.0), ("1", 1.0)])
def test_a_radius_is_written_as_in_params(text: str, value: float) -> None:
    assert parse_eps(text) == value


@pytest.mark.parametrize(
    ("text", "said"), [("4", "did you mean 4/255"), ("-1", "must lie in"), ("", "not a number"), ("inf", "")]
)
def test_what_is_no_radius_is_told(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^--eps {text}: .*{said}"):
        parse_eps(text)


def test_which_attacks_there_are() -> None:
    check_attacks(["fgsm", "pgd", "cw", "aa", *AUTOATTACK], white_box=True)
    check_attacks(["square"], white_box=False)
    with pytest.raises(InputError, match="--attack apgd_c: unknown, did you mean 'apgd_ce'"):
        check_attacks(["apgd_c"], white_box=True)
    with pytest.raises(InputError, match="--attack pgd needs gradients, and ONNX Runtime gives none"):
        check_attacks(["square", "pgd"], white_box=False)


# params.yaml ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "parts", "said"),
    [
        ("cifar10", ["square", "apgd_ce", "square"], "evaluate.attacks.aa.parts[2]: 'square' is listed twice"),
        ("cifar10", [], "evaluate.attacks.aa.parts: "),
        ("cifar10", ["apgd_c"], "'apgd_c' is not allowed: did you mean 'apgd_ce'?"),
    ],
)
def test_parts_that_make_no_sense_are_told(profile: str, parts: list[str], said: str) -> None:
    document: Any = read_yaml(ROOT / f"pipeline/profiles/{profile}.yaml")
    document["evaluate"]["attacks"]["aa"]["parts"] = parts
    with pytest.raises(InputError) as error:
        check(document, Path("params.yaml"))
    assert said in str(error.value)


@pytest.mark.parametrize(("classes", "said"), [(3, ["evaluate.attacks.aa.parts"]), (4, [])])
def test_apgd_t_alone_needs_four_classes(classes: int, said: list[str]) -> None:
    document: Any = read_yaml(ROOT / "pipeline/profiles/image-folder.yaml")
    document["evaluate"]["attacks"]["aa"]["parts"] = ["apgd_t"]
    facts = Facts(classes, channels=3, size=32, smallest_class=100)
    found = against_data(check(document, Path("params.yaml")), facts)
    assert [".".join(map(str, problem.keys)) for problem in found] == said


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline/profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_profiles_have_the_standard_version(path: Path) -> None:
    aa = load(path).evaluate.attacks.aa
    assert aa is None or aa.parts == list(AUTOATTACK)


# names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_out", "label"),
    [
        ([], "AutoAttack"),
        (["apgd_t"], "AutoAttack (without APGD-T)"),
        (["apgd_t", "fab_t"], "AutoAttack (APGD-CE, Square only)"),
        (["apgd_ce", "apgd_t", "fab_t"], "AutoAttack (Square only)"),
    ],
)
def test_what_is_not_the_standard_version_is_not_called_so(left_out: list[str], label: str) -> None:
    assert attack_label("aa", {"left_out": left_out}) == label
    assert attack_label("pgd", {"steps": 20}) == "PGD-20"


def test_autoattack_decides_if_it_has_apgd() -> None:
    def blocks(*others: str, left_out: list[str]) -> dict[str, Any]:
        return {"aa": {"settings": {"left_out": left_out}}, **{name: {"settings": {}} for name in others}}

    weak = ["apgd_ce", "apgd_t"]
    assert strongest(blocks("clean", "pgd", left_out=[])) == "aa"
    assert strongest(blocks("clean", "pgd", left_out=["fab_t", "square", "apgd_t"])) == "aa"
    assert strongest(blocks("clean", "pgd", left_out=weak)) == "pgd"
    assert strongest(blocks("clean", "fgsm", left_out=weak)) == "fgsm"
    assert strongest(blocks("clean", left_out=[*weak, "fab_t"])) == "aa"
    assert strongest({"clean": {}}) == "clean"


def test_which_parts_can_run() -> None:
    assert possible_parts(3) == ("apgd_ce", "fab_t", "square")
    assert possible_parts(4) == AUTOATTACK
    assert left_out_parts({}) == []
