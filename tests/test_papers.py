"""docs/papers.md and docs/profiles.md beside the settings: nothing is missing, nothing has another value, nothing is made up."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML

from absld.methods.registry import METHODS
from absld.params.base import parse_number
from absld.params.root import Params
from absld.params.yaml_file import read_yaml

ROOT = Path(__file__).parents[1]
PAPERS = (ROOT / "docs/papers.md").read_text(encoding="utf-8")
PROFILES = (ROOT / "docs/profiles.md").read_text(encoding="utf-8")
CIFAR10 = read_yaml(ROOT / "pipeline/profiles/cifar10.yaml")
SHARED = "What all methods share"
TITLES = re.compile(r"^## (.+)$", re.M)
SPAN = re.compile(r"`([^`\n]+)`")
PAIR = re.compile(r"`(\w+)` ([^,`|]+)")
REFERENCE = re.compile(r"as `(\w+)`")
OPTION = re.compile(r"`(\w+(?:\.\w+)*): ([^`]+)`")


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level, by the heading."""
    titles = list(TITLES.finditer(text))
    ends = [*(title.start() for title in titles[1:]), len(text)]
    return {title[1]: text[title.end() : end] for title, end in zip(titles, ends, strict=True)}


def tables(text: str) -> Iterator[list[list[str]]]:
    """Every table: its rows, each a list of cells, the heading first."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        yield [rows[0], *rows[2:]]


def rows_of(title: str) -> list[list[str]]:
    """The rows of a section's only table, without its heading."""
    (table,) = tables(sections(PAPERS)[title])
    return table[1:]


# --- the settings of each method -----------------------------------------------------------------------------------


def section_of(method: str) -> str:
    """The section whose heading names the method."""
    return next(text for title, text in sections(PAPERS).items() if f"`{method}`" in title)


def documented(text: str, method: str) -> dict[str, str]:
    """What a section's tables of settings say about a method: a dotted key of its block, and the value as it is written."""
    found: dict[str, str] = {}
    for heading, *rows in tables(text):
        if heading[0] != "setting":
            continue
        column = heading.index(f"`{method}`") if f"`{method}`" in heading else 1
        for row in rows:
            keys, cell = SPAN.findall(row[0]), row[column]
            if row[0] == "the rest":
                other = REFERENCE.fullmatch(cell)
                assert other is not None
                found = {**documented(section_of(other[1]), other[1]), **found}
            elif len(keys) == 1 and cell.startswith("`"):
                found |= {f"{keys[0]}.{key}": value.strip() for key, value in PAIR.findall(cell)}
            elif cell != "–":
                found |= dict(zip(keys, cell.split("; "), strict=True))
    return found


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no block, by its dotted key."""
    if not isinstance(tree, dict):
        yield prefix, tree
        return
    for name, value in tree.items():
        yield from leaves(value, f"{prefix}.{name}" if prefix else name)


def same(value: Any, written: str) -> bool:
    """Whether a value of the profile is what the page says."""
    if isinstance(value, list):
        items = [] if written == "none" else written.split(", ")
        return len(items) == len(value) and all(same(*pair) for pair in zip(value, items, strict=True))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value] == written
    try:
        return float(parse_number(value)) == float(parse_number(written))
    except (ValueError, TypeError):
        return str(value) == written


def reference_above(said: dict[str, str], key: str) -> tuple[str, str] | None:
    """A block around `key` that is said to be as a method's: the block's key and the method."""
    for above, written in said.items():
        match = REFERENCE.fullmatch(written)
        if match and key.startswith(f"{above}."):
            return above, match[1]
    return None


def test_every_method_has_a_section() -> None:
    named = [name for title in sections(PAPERS) for name in re.findall(r"`(\w+)`", title)]
    assert sorted(named) == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_is_there_with_its_value(method: str) -> None:
    common = documented(sections(PAPERS)[SHARED], method)
    said = {**common, **documented(section_of(method), method)}
    block = dict(leaves(CIFAR10["methods"][method]))
    for key, value in block.items():
        if origin := reference_above(said, key):
            above, other = origin
            assert value == dict(leaves(CIFAR10["methods"][other]))[key.removeprefix(f"{above}.")], key
        else:
            assert key in said, key
            assert same(value, said[key]), (key, value, said[key])
    blocks = {".".join(key.split(".")[:length]) for key in block for length in range(1, key.count(".") + 2)}
    assert not {key for key in said if key not in common} - blocks


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_has_a_source(method: str) -> None:
    for heading, *rows in tables(section_of(method)):
        if heading[0] == "setting":
            assert heading[-1] == "source"
            assert all(row[-1] or row[0] == "the rest" for row in rows)


@pytest.mark.parametrize(("value", "written"), [(0.1, "0.2"), (True, "false"), ([1, 2], "1"), (None, "0"), ("a", "b")])
def test_another_value_would_be_found(value: object, written: str) -> None:
    assert not same(value, written)


# --- the register --------------------------------------------------------------------------------------------------

REGISTER = rows_of("Where paper and published code differ")


def test_the_register_has_every_row_once() -> None:
    assert [row[0] for row in REGISTER] == [f"D-{number:02}" for number in range(1, 42)]
    assert all(len(row) == 6 and row[1] in {"H", "M", "L"} and all(row) for row in REGISTER)


def test_what_is_not_known_has_every_row_once() -> None:
    unknown = rows_of("What is not known")
    assert [row[0] for row in unknown] == [f"U-{number:02}" for number in range(1, 22)]


def test_every_id_that_is_mentioned_is_a_row() -> None:
    known = {
        row[0] for title in ("Where paper and published code differ", "What is not known") for row in rows_of(title)
    }
    assert set(re.findall(r"\b[DU]-\d\d\b", PAPERS + PROFILES)) <= known


@pytest.mark.parametrize("row", [row for row in REGISTER if row[1] != "L"], ids=lambda row: row[0])
def test_what_changes_results_can_be_chosen(row: list[str]) -> None:
    """A row of weight H or M names an option, or says that there is none."""
    assert OPTION.search(row[-1]) or "no option" in row[-1]


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that params.yaml can have, with the type of its value."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", Annotated[field.annotation, field]
        for inner in models(field.annotation):
            yield from fields(inner, f"{prefix}{name}.")


def models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models(argument)]


FIELDS = list(fields(Params))


def takes(kind: Any, value: Any) -> bool:
    """Whether a setting of this type may have this value."""
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def exists(key: str, text: str) -> bool:
    """Whether params.yaml may hold `key: text` somewhere."""
    value = YAML(typ="safe").load(text)
    return any(takes(kind, value) for path, kind in FIELDS if f".{path}".endswith(f".{key}"))


OPTIONS = sorted({pair for row in REGISTER for pair in OPTION.findall(row[-1])})


@pytest.mark.parametrize(("key", "value"), OPTIONS)
def test_every_option_of_the_register_exists(key: str, value: str) -> None:
    assert exists(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("coupling", "sum"), ("couplings", "product"), ("tolerance", "-1"), ("attack.eps", "8"), ("epochs", "0")],
)
def test_an_option_that_is_none_would_be_found(key: str, value: str) -> None:
    assert not exists(key, value)


# --- the other profiles --------------------------------------------------------------------------------------------

SHORT = "What the profiles with short schedules share"
OURS = (
    "cifar10-quick",
    "cifar10-cpu",
    "digits",
    "fashion-mnist",
    "fashion-mnist-cpu",
    "fashion-mnist-cpu-seeds",
    "image-folder",
)


def deviations(path: Path) -> Iterator[str]:
    """The keys whose values are not those of `cifar10`; a teacher that is trained here is compared with its `trades`."""
    theirs, base = dict(leaves(read_yaml(path))), dict(leaves(CIFAR10))
    base |= {f"teacher.method.trades.{key}": value for key, value in leaves(CIFAR10["methods"]["trades"])}
    absent = object()
    yield from (key for key, value in theirs.items() if base.get(key, absent) != value)
    yield from (key for key in base.keys() - theirs.keys() if not key.startswith("teacher.method."))


OTHERS = sorted(path for path in (ROOT / "pipeline/profiles").glob("*.yaml") if path.stem != "cifar10")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_every_deviation_of_a_profile_is_named(path: Path) -> None:
    """By the last part of its key or the last but one, in the profile's section or in the one that the short ones share."""
    here = sections(PROFILES)
    text = next(text for title, text in here.items() if f"`{path.stem}`" in title)
    said = {word for span in SPAN.findall(text) for word in re.findall(r"\w+", span)}
    if path.stem in OURS:
        said |= {word for span in SPAN.findall(here[SHORT]) for word in re.findall(r"\w+", span)}
    left_out = set(CIFAR10["methods"]) - set(read_yaml(path)["methods"])
    assert left_out <= said
    for key in deviations(path):
        parts = key.split(".")
        assert parts[1] in left_out or said & set(parts[-2:]), key
