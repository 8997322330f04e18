"""docs/adding-a-method.md, carried out in a copy of the project: its steps, its code, its claims."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from absld.params.yaml_file import read_yaml
from stages.closure import closure

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/adding-a-method.md"
NAME = "mart"
COPIED = ("src", "stages", "pipeline", "tests", "params.yaml", "dvc.yaml", "pyproject.toml")
BLOCK = re.compile(
    r"^\*\*`(?P<path>[^`]+)`\*\*(?P<more> and .+?)?, (?P<how>new|at the end|in|before)(?: `(?P<where>\w+)`)?:\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.M | re.S,
)


class Step(NamedTuple):
    """A block of code and what the page says about its place."""

    path: str
    how: str
    where: str
    code: str


def steps() -> list[Step]:
    """In the order of the page; what belongs into two files is two steps."""
    found = []
    for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        paths = [match["path"]]
        paths += re.findall("`(.+?)`", match["more"] or "")
        found += [Step(path, match["how"], match["where"] or "", match["code"]) for path in paths]
    return found


def carried_out(step: Step, text: str) -> str:
    """The text of a file after the step."""
    if step.how == "new":
        assert not text, f"{step.path} is there already"
        return step.code
    if step.how == "at the end":
        return f"{text.rstrip()}\n\n\n{step.code}"
    if step.how == "before":
        (begin,) = [match.start() for match in re.finditer(rf"^class {step.where}\b", text, flags=re.M)]
        return f"{text[:begin]}{step.code}\n\n{text[begin:]}"
    if step.path.endswith(".yaml"):
        return re.sub(rf"^{step.where}:.*\n", lambda line: line[0] + step.code, text, count=1, flags=re.M)
    if f"class {step.where}(" in text:
        end = text.index("\n\n\n", text.index(f"class {step.where}("))
        return f"{text[:end]}\n{step.code.rstrip()}{text[end:]}"
    (opening,) = re.finditer(rf"^{step.where} = [\[({{]", text, flags=re.M)
    return f"{text[: opening.end()]}\n{step.code}{text[opening.end() :]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all the steps of the page in it."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    for step in steps():
        file = folder / step.path
        file.write_text(carried_out(step, file.read_text(encoding="utf-8") if file.exists() else ""), encoding="utf-8")
    run(folder, "-c", "from pipeline.cli import main; main()", "params", "schema", "pipeline/params.schema.json")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Run Python in the copy, so that every import is the copy's."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(folder)]),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_block_of_the_page_is_a_step() -> None:
    fences = len(re.findall(r"^```\w+$", PAGE.read_text(encoding="utf-8"), flags=re.M))
    assert len(list(BLOCK.finditer(PAGE.read_text(encoding="utf-8")))) == fences >= 7


def test_the_parameters_are_in_order(project: Path) -> None:
    assert "in order" in run(project, "-c", "from pipeline.cli import main; main()", "params", "check")
    assert read_yaml(project / "params.yaml")["methods"][NAME]["beta"] == 5


def test_the_method_trains_and_the_tests_pick_it_up(project: Path) -> None:
    """In one process: the battery, a training of four epochs that is cut and resumed, the profiles, the schema."""
    wanted = f"{NAME} or every_profile_is_valid or params_yaml_is or schema_is_the or registry_has_every or no_method_depends"
    files = ("test_methods.py", "test_training.py", "test_params.py", "test_settings.py", "test_stages.py")
    said = run(
        project, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-k", wanted, *(f"tests/{name}" for name in files)
    )
    passed = set(re.findall(r"^PASSED tests/\w+\.py::(\S+)", said, flags=re.M))
    assert {
        "test_mart_is_its_equation",
        f"test_t16_order_of_training_forwards_and_statistics_under_attack[{NAME}]",
        f"test_t17_the_adversarial_batch_stays_in_the_ball_and_in_the_image_range[{NAME}]",
        f"test_a_step_is_finite_deterministic_and_leaves_the_teachers_alone[{NAME}]",
        f"test_t18_a_resumed_run_is_the_run_that_was_never_stopped[{NAME}]",
        "test_every_profile_is_valid_and_complete[digits]",
        "test_params_yaml_is_the_profile_digits",
        "test_the_committed_schema_is_the_generated_one",
        "test_the_registry_has_every_block",
        "test_no_method_depends_on_another",
    } <= passed


def test_it_can_train_a_teacher(project: Path) -> None:
    script = (
        "from pathlib import Path; from absld.params.load import check; from absld.params.yaml_file import read_yaml\n"
        "path = Path('params.yaml'); document = read_yaml(path)\n"
        f"document['teacher']['method'] = {{'{NAME}': document['methods']['{NAME}']}}\n"
        "print(check(document, path).teacher.method)"
    )
    assert "beta=5" in run(project, "-c", script)


def test_the_code_is_clean(project: Path) -> None:
    changed = sorted({step.path for step in steps() if step.path.endswith(".py")})
    new = [step.path for step in steps() if step.how == "new"]
    run(project, "-m", "ruff", "check", "--no-cache", *changed)
    run(project, "-m", "ruff", "format", "--check", "--no-cache", *new)
    said = run(project, "-c", "from importlinter.cli import lint_imports_command as check; check(['--no-cache'])")
    assert "0 broken" in said


@pytest.mark.slow
def test_the_types_hold(project: Path) -> None:
    run(project, "-m", "mypy", *(step.path for step in steps() if step.how == "new"))


def test_the_runs_of_the_other_methods_do_not_see_it(project: Path) -> None:
    for method in ("rslad", "absld"):
        modules = ("stages.train", f"absld.methods.{method}")
        assert closure(project, *modules) == closure(ROOT, *modules)
    assert f"src/absld/methods/{NAME}.py" in closure(project, "stages.train", f"absld.methods.{NAME}")
