"""The documents: every link, command, make target, parameter and function that they name is there."""

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from absld.params.networks import Architecture
from absld.params.yaml_file import read_yaml
from pipeline.cli import app
from stages import evaluate_model
from stages.contracts import ALL, Stage

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCS]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|((?:^    .*\n)+)", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FUNCTION = re.compile(r"\]\(([^)\s]+\.py)\) `([\w.]+)`")
SECTIONS = "data|teacher|student|runs|train|methods|evaluate|export|report"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def spans(name: str) -> list[str]:
    """What stands between backticks, on one line."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(name), flags=re.M | re.S))


def code_lines(name: str) -> Iterator[str]:
    """The lines of indented and fenced blocks, and the code in the running text."""
    for match in BLOCK.finditer(text_of(name)):
        yield from (line.strip() for line in (match[2] or match[3]).splitlines())
    yield from spans(name)


def invocations(name: str, program: str) -> list[list[str]]:
    """The arguments of every command line that begins with `program`, wherever it stands."""
    lines = [line for line in code_lines(name) if line.startswith(f"{program} ")]
    return [shlex.split(line, comments=True)[len(program.split()) :] for line in lines]


# --- links ---------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that a heading gets: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in LINK.findall(text_of(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.M) if anchor else []
        assert not anchor or anchor in map(slug, headings), target


def test_every_document_is_linked() -> None:
    """From the README, or from a document that the README links; the decisions by their folder."""
    linked = {target for name in NAMES for target in LINK.findall(text_of(name))}
    known = {Path(target.partition("#")[0]).name for target in linked}
    missing = {path.name for path in DOCS if path.parent.name == "docs"} - known
    assert not missing
    assert "docs/adr/" in linked


def test_the_decisions_are_numbered_and_in_three_parts() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
        assert headings[0].startswith(f"{int(path.name[:4])}. ")
        assert headings[1:] == ["Context", "Decision", "Consequences"], path.name


# --- commands ------------------------------------------------------------------------------------------------------


def known(arguments: list[str]) -> bool:
    """Whether `absld` has this command with these options. `--help` keeps it from running."""
    return CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_absld_is_there(name: str) -> None:
    for arguments in invocations(name, "absld"):
        assert known(arguments), arguments


@pytest.mark.parametrize("wrong", ["reproduce", "repro --every", "profile uses digits", "status --profile digits"])
def test_a_command_that_is_none_would_be_found(wrong: str) -> None:
    assert not known(wrong.split())


def test_the_readme_shows_the_commands_of_every_day() -> None:
    shown = {arguments[0] for arguments in invocations("README.md", "absld")}
    assert {"repro", "status", "compare", "ui", "profile"} <= shown
    assert {"demo", "test"} <= {arguments[0] for arguments in invocations("README.md", "make")}


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_is_there(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.M)
    for arguments in invocations(name, "make"):
        assert arguments[0] in targets


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_that_is_started_alone_is_there(name: str) -> None:
    axes = {stage.name: len(stage.axes) for stage in ALL}
    for program in ("python -m", "PYTHONPATH=src:. python -m"):
        for module, *arguments in invocations(name, program):
            if module == "stages.evaluate_model":  # no stage: it has options
                assert evaluate_model.arguments(arguments).name
            elif module.startswith("stages.") and module != "stages.NAME":
                assert len(arguments) == axes[module.removeprefix("stages.")], (module, arguments)


# --- what is in the code ---------------------------------------------------------------------------------------------


def defined(path: Path) -> set[str]:
    """Functions, classes and methods of a file: `kl`, `LinfWalk`, `Absld.step`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_function_is_where_the_document_says(name: str) -> None:
    for path, function in FUNCTION.findall(text_of(name)):
        if function != "METHODS":
            assert function in defined((ROOT / name).parent / path), (path, function)


def test_every_equation_of_the_paper_is_accounted_for() -> None:
    table = re.search(r"^\| equation .*?\n\n", text_of("docs/papers.md"), flags=re.M | re.S)
    assert table is not None
    first_cells = [row.split("|")[1] for row in table[0].splitlines()[2:] if row]
    assert [int(number) for cell in first_cells for number in cell.split(",")] == list(range(1, 14))


PROFILES = sorted((ROOT / "pipeline/profiles").glob("*.yaml"))
FILES = (".py", ".json", ".yaml", ".onnx")


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_there(name: str) -> None:
    there = {key for path in PROFILES for key in keys(read_yaml(path))}
    for span in spans(name):
        if re.fullmatch(rf"({SECTIONS})(\.\w+)+", span) and not span.endswith(FILES):
            assert span in there, span


@pytest.mark.parametrize("name", NAMES)
def test_every_value_that_is_set_has_a_place(name: str) -> None:
    there = {key for path in PROFILES for key in keys(read_yaml(path))}
    for arguments in invocations(name, "absld"):
        for option, value in pairwise(arguments):
            key = value.partition("=")[0]
            known = any(one.endswith(key[1:]) for one in there) if key.startswith("*.") else key in there
            assert option != "--set" or known, value


def test_every_architecture_is_named_to_those_who_bring_images() -> None:
    assert set(get_args(Architecture)) <= set(spans("docs/your-own-images.md"))


def keys(tree: object, prefix: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield f"{prefix}{name}"
            yield from keys(value, f"{prefix}{name}.")


def test_the_readme_is_two_screens_and_its_tree_is_real() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= 120
    tree = re.search(r"^    params\.yaml .*?\n\n", readme, flags=re.M | re.S)
    assert tree is not None
    folder = ""
    for line in tree[0].splitlines():
        if not line:
            continue
        name = line.split()[0]
        folder = folder if line.startswith("      ") else name
        assert (ROOT / (folder + name if line.startswith("      ") else name)).exists(), line
    packages = {f"{path.parent.name}/" for path in (ROOT / "src/absld").glob("*/__init__.py")}
    assert packages <= {line.split()[0] for line in tree[0].splitlines() if line}


def test_the_graph_of_the_readme_is_the_contracts() -> None:
    """Arrows that follow from others are left out, here and there."""
    block = re.search(r"^```mermaid\n.*?\n(.*?)^```", text_of("README.md"), flags=re.M | re.S)
    assert block is not None
    drawn = set()
    for line in re.sub(r"\[.*?\]", "", block[1]).splitlines():
        names = [name.strip() for name in line.split("-->")]
        drawn |= set(pairwise(names))
    assert drawn == without_shortcuts({(before.name, after.name) for after in ALL for before in feeding(after)})


def feeding(stage: Stage) -> list[Stage]:
    """The stages that write what `stage` reads; a folder is written by whoever writes into it."""
    reads = [generic(path) for path in stage.reads.values()]
    return [
        other
        for other in ALL
        if any(generic(out) == path or out.startswith(f"{path}/") for out in other.writes.values() for path in reads)
    ]


def generic(path: str) -> str:
    return re.sub(r"\{\w+\}", "*", path)


def without_shortcuts(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    def reaches(start: str, end: str) -> bool:
        return any(after == end or reaches(after, end) for before, after in edges if before == start)

    return {
        (start, end)
        for start, end in edges
        if not any(middle != end and reaches(middle, end) for before, middle in edges if before == start)
    }


def test_places_that_are_filled_in_after_a_run_are_marked() -> None:
    assert re.search(r"<!-- digits-result -->\n.+RSLAD.+ABSLD.+<!-- /digits-result -->", text_of("README.md"), re.S)
