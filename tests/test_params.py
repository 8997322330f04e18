"""What params.yaml may say, and what is said when it is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from absld.errors import InputError
from absld.params import adversarial, distillation, recipe
from absld.params import methods as settings
from absld.params.agreement import against_data
from absld.params.base import Positive, parse_number
from absld.params.data import Facts
from absld.params.load import check, load
from absld.params.yaml_file import read_yaml
from absld.records.numbers import number_text

PROFILES = sorted((Path(__file__).parents[1] / "pipeline" / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_valid_and_complete(path: Path) -> None:
    params = load(path)
    left_out = _keys(params.model_dump(exclude_none=False)) - _keys(read_yaml(path))
    assert not {key for key in left_out if not _one_of_several(key)}


def test_the_profiles_that_are_promised_are_there() -> None:
    assert {
        "digits",
        "fashion-mnist",
        "cifar10",
        "cifar10-mobilenet",
        "cifar10-quick",
        "cifar100",
        "cifar100-mobilenet",
        "image-folder",
    } <= {path.stem for path in PROFILES}


def test_params_yaml_is_the_profile_digits(root: Path) -> None:
    digits = (root / "pipeline/profiles/digits.yaml").read_text()
    assert (root / "params.yaml").read_text() == digits.replace("../params.schema", "pipeline/params.schema")


def test_numbers_are_read_as_papers_print_them(root: Path) -> None:
    absld = load(root / "pipeline/profiles/cifar10.yaml").methods.absld
    assert absld.attack.eps == 8 / 255
    assert absld.alpha == 5 / 6
    assert absld.optimiser.weight_decay == 0.0002


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_fraction_is_the_quotient(numerator: int, denominator: int) -> None:
    assert parse_number(f"{numerator}/{denominator}") == pytest.approx(numerator / denominator, rel=1e-15)


@given(st.integers(1, 254))
def test_number_text_gives_the_same_number_back(steps: int) -> None:
    assert parse_number(number_text(steps / 255)) == steps / 255


def _set(*keys: Any, to: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return change


MISTAKES = {
    "misspelt key": (_set("methods", "absld", "epohcs", to=3), "methods.absld.epohcs", "did you mean 'epochs'?"),
    "misspelt section": (_set("trian", to=1), "trian", "did you mean 'train'?"),
    "misspelt key in a union": (_set("data", "split_sed", to=1), "data.split_sed", "did you mean 'split_seed'?"),
    "misspelt key of the teacher's method": (
        _set("teacher", "method", "trades", "beeta", to=1),
        "teacher.method.trades.beeta",
        "did you mean 'beta'?",
    ),
    "wrong type": (_set("train", "max_epochs", to="3"), "train.max_epochs", "integer"),
    "text for a number": (_set("methods", "absld", "alpha", to="5/a"), "methods.absld.alpha", "fraction"),
    "zero denominator": (_set("methods", "absld", "alpha", to="5/0"), "methods.absld.alpha", "fraction"),
    "out of range": (_set("methods", "absld", "alpha", to=1.5), "methods.absld.alpha", "less than or equal to 1"),
    "not a number": (_set("methods", "absld", "beta", to=float("nan")), "methods.absld.beta", "finite"),
    "true for a number": (_set("methods", "absld", "epochs", to=True), "methods.absld.epochs", "integer"),
    "eps on the 0 to 255 scale": (_set("evaluate", "eps", to=8), "evaluate.eps", "did you mean 8/255?"),
    "unknown method": (_set("runs", "methods", 0, to="abslt"), "runs.methods[0]", "did you mean 'absld'?"),
    "method twice": (_set("runs", "methods", 0, to="absld"), "runs.methods[1]", "listed twice"),
    "no methods": (_set("runs", "methods", to=[]), "runs.methods", "at least 1 item"),
    "unknown device": (_set("train", "device", to="gpu"), "train.device", "'auto', 'cpu' or 'cuda'"),
    "unknown source": (_set("data", "source", to="digts"), "data", "did you mean 'digits'?"),
    "falling milestones": (_set("methods", "rslad", "milestones", to=[5, 3]), "methods.rslad", "rise"),
    "nesterov without momentum": (
        lambda d: d["methods"]["rslad"]["optimiser"].update(nesterov=True, momentum=0.0),
        "methods.rslad.optimiser",
        "needs a momentum",
    ),
    "bounds that exclude 1": (_set("methods", "absld", "tau_min", to=2), "methods.absld", "tau_min <= 1 <= tau_max"),
    "fewer images than classes": (
        _set("evaluate", "attacks", "aa", "n", to=9),
        "evaluate.attacks.aa.n",
        "9 images are fewer than the 10 classes",
    ),
    "fewer images of a curve than classes": (_set("evaluate", "curves", "n", to=9), "evaluate.curves.n", "10 classes"),
    "a radius twice": (
        _set("evaluate", "curves", "eps", to=["2/255", 0.12345671, 0.12345672]),
        "evaluate.curves.eps[2]",
        "'0.123457' is listed twice",
    ),
    "too many validation images": (_set("data", "validation_per_class", to=139), "data.validation_per_class", "139"),
    "a teacher that needs a teacher": (
        lambda d: d["teacher"].update(method={"absld": d["methods"]["absld"]}),
        "teacher.method.absld",
        "needs a teacher itself",
    ),
    "normalisation of another channel count": (
        _set("student", "normalisation", to={"mean": [0.5] * 3, "std": [0.5] * 3}),
        "student.normalisation",
        "1 channel",
    ),
    "a baseline that is not run": (_set("report", "baseline", to="trades"), "report.baseline", "runs.methods"),
}


@pytest.mark.parametrize(("change", "key", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_place(root: Path, change: Any, key: str, message: str) -> None:
    path = root / "params.yaml"
    document = read_yaml(path)
    change(document)
    with pytest.raises(InputError) as error:
        check(document, path)
    place, _, rest = str(error.value).partition(" ")
    assert place.startswith("params.yaml:")
    assert rest.startswith(f"{key}: ")
    assert message in rest


def test_the_line_is_the_line_of_the_key(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "params.yaml"
    lines = (root / "params.yaml").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("  device:"))
    lines[number] = "  devise: auto"
    path.write_text("\n".join(lines))
    with pytest.raises(
        InputError, match=rf"params.yaml:{number + 1}:3 train.devise: unknown key, did you mean 'device'"
    ):
        load(path)


def test_all_mistakes_are_told_at_once(root: Path) -> None:
    document = read_yaml(root / "params.yaml")
    document["evaluate"]["eps"] = 8
    document["methods"]["absld"]["alpha"] = 2
    with pytest.raises(InputError) as error:
        check(document, root / "params.yaml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a: [1", "params.yaml:1:"),
        ("a: 1\na: 2", "duplicate key"),
        ("- 1\n- 2", "params"),
        ("a: \x07", "params.yaml: unacceptable character"),
        ("a: \xfc", "params.yaml: byte 4 is not UTF-8"),
    ],
    ids=["empty", "broken", "twice", "a list", "control character", "another encoding"],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("value", ["1e400", 10**400], ids=["text", "whole number"])
def test_a_number_beyond_all_floats_is_refused(value: str | int) -> None:
    with pytest.raises(ValidationError, match="number"):
        TypeAdapter(Positive).validate_python(value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file"):
        load(tmp_path / "nowhere.yaml")


def test_images_that_are_too_small_for_the_student(root: Path) -> None:
    params = load(root / "params.yaml")
    found = list(against_data(params, Facts(classes=10, channels=1, size=7, smallest_class=100)))
    assert [problem.keys for problem in found] == [("student", "architecture")]


def test_a_hard_class_that_the_data_do_not_have_is_named(root: Path) -> None:
    params = load(root / "params.yaml")
    found = list(against_data(params, Facts(classes=9, channels=1, size=8, smallest_class=100)))
    assert [problem.keys for problem in found] == [("methods", "sat_dsd", "hard_classes", 2)]


def test_a_method_that_is_to_run_needs_its_block(root: Path) -> None:
    document = read_yaml(root / "params.yaml")
    del document["methods"]["absld"]
    with pytest.raises(InputError, match=r"runs\.methods\[1\]: 'absld' has no block in `methods`"):
        check(document, root / "params.yaml")
    del document["methods"]["frl"]
    document["runs"]["methods"] = ["rslad"]
    assert check(document, root / "params.yaml").methods.frl is None


def test_settings_are_plain_data() -> None:
    """Their code is in no closure (docs/adr/0003), so there must be nothing in them to run but checks."""
    modules = (adversarial, distillation, recipe, settings)
    blocks = {
        block
        for module in modules
        for block in vars(module).values()
        if isinstance(block, type) and issubclass(block, BaseModel)
    }
    assert len(blocks) >= 25
    for block in blocks:
        public = {name for name in vars(block) if not name.startswith(("_", "model_"))}
        assert public - set(block.model_fields) <= {"needs"}, block


def _keys(tree: Any, prefix: str = "") -> set[str]:
    if not hasattr(tree, "items"):
        return {prefix}
    return {key for name, value in tree.items() for key in _keys(value, f"{prefix}.{name}")}


def _one_of_several(key: str) -> bool:
    """A method's block may be left out, and where one method is chosen the others are."""
    holder, _, name = key.rpartition(".")
    return name in settings.Methods.model_fields and holder.rpartition(".")[2] in ("method", "methods")
