"""`--set` and profiles: what is written into params.yaml, what is kept, what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from shell_project import PARAMS, git, new_project

from absld.errors import InputError
from absld.params.load import check
from absld.params.root import Params
from pipeline import preflight, profiles
from pipeline.settings import edited

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return new_project(tmp_path, monkeypatch)


def load(text: str) -> dict:  # type: ignore[type-arg]
    return YAML(typ="safe", pure=True).load(text)  # type: ignore[no-any-return]


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


# --set


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("train.max_epochs=2", "  max_epochs: 2                  # "),
        ("methods.absld.attack.eps=4/255", "    attack: {eps: 4/255, step: 0.025, steps: 7, start: gaussian}\n"),
        ("methods.absld.alpha=0.123456", "    alpha: 0.123456              # "),
        ("student.normalisation={mean: [0.5], std: [0.25]}", "  normalisation: {mean: [0.5], std: [0.25]}  # the"),
        ("runs.seeds=[0, 1]", "  seeds: [0, 1]\n\ntrain:"),
        (
            "evaluate.attacks.aa=null",
            "    aa: null                                                # AutoAttack; all four parts are its standard version\n  curves:",
        ),
    ],
)
def test_set_changes_one_place_and_keeps_every_comment_elsewhere(assignment: str, line: str) -> None:
    set_in(PARAMS, assignment, line)


def test_a_star_stands_for_every_key_that_ends_so() -> None:
    before = (ROOT / "pipeline/profiles/image-folder.yaml").read_text(encoding="utf-8")
    text = edited(before, ["*.eps=4/255", "*.step=1/255"])
    assert set(re.findall(r"\b(?:eps|step): [^,} \n]*", text)) == {"eps: 4/255", "step: 1/255"}
    assert re.sub(r"[48]/255|[12]/255", "", text) == re.sub(r"[48]/255|[12]/255", "", before)
    with pytest.raises(InputError, match=r"--set \*.epz: no key of params.yaml ends so"):
        edited(before, ["*.epz=1"])


def test_a_star_leaves_the_lists_of_the_curves_alone_unless_there_is_nothing_else() -> None:
    before = load(PARAMS)
    params = check(load(edited(PARAMS, ["*.eps=4/255", "*.steps=3"])), ROOT / "params.yaml")
    assert params.evaluate.eps == params.teacher.eps == params.methods.absld.attack.eps == pytest.approx(4 / 255)
    assert params.evaluate.curves.model_dump() == before["evaluate"]["curves"]
    assert load(edited(PARAMS, ["*.seeds=3"]))["runs"]["seeds"] == 3
    assert load(edited(PARAMS, ["*.steps=[1, 2]"]))["evaluate"]["curves"]["steps"] == [1, 2]


BLOCKS = """\
methods:
  trades:                        # a method
    milestones:                  # when lr falls
      - 18
      - 22
    attack:                      # the walk
      eps: 0.1

runs:
  seeds:
    - 0

train: {}
"""


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("methods.trades.attack.eps=4/255", "      eps: 4/255\n"),
        ("methods.trades.attack=null", "    attack: null                      # the walk\n\nruns:"),
        ("runs.seeds=[0, 1]", "  seeds:\n    - 0\n    - 1\n\ntrain:"),
        ("methods.trades.milestones=[3]", "    milestones:                  # when lr falls\n      - 3\n"),
    ],
)
def test_set_keeps_the_form_of_what_a_user_wrote_in_blocks(assignment: str, line: str) -> None:
    set_in(BLOCKS, assignment, line)


def set_in(text: str, assignment: str, line: str) -> None:
    new = edited(text, [assignment])
    key, _, value = assignment.partition("=")
    assert line in new
    expected = load(text)
    *path, last = key.split(".")
    block = expected
    for part in path:
        block = block[part]
    block[last] = load(value)
    assert load(new) == expected
    assert comments(new) == comments(text)


LEAVES = [
    key
    for section, block in load(PARAMS).items()
    if isinstance(block, dict)
    for key in (f"{section}.{name}" for name, value in block.items() if not isinstance(value, dict))
]


@settings(max_examples=40, deadline=None)
@given(key=st.sampled_from(LEAVES), values=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_setting_any_key_touches_no_other(key: str, values: list[int]) -> None:
    new = load(edited(PARAMS, [f"{key}={values}"]))
    old = load(PARAMS)
    section, name = key.split(".")
    assert new[section].pop(name) == values
    old[section].pop(name)
    assert new == old


def test_later_settings_see_earlier_ones() -> None:
    assert load(edited(PARAMS, ["data={source: svhn, root: x}", "data.root=null"]))["data"] == {
        "source": "svhn",
        "root": None,
    }


@pytest.mark.parametrize(
    ("assignment", "hint"),
    [
        ("train.max_epoch=2", "did you mean 'train.max_epochs'"),
        ("max_epochs=2", "did you mean 'train.max_epochs'"),
        ("methods.absdl.alpha=1", "did you mean 'methods.absld.alpha'"),
        ("train.max_epochs", "write KEY=VALUE"),
        ("train.max_epochs=", "write KEY=VALUE"),
        ("train.max_epochs=[1", "must be YAML on one line"),
        ("runs.seeds=[&a 1, *a]", "must be YAML on one line"),
    ],
)
def test_a_wrong_setting_says_what_was_meant(assignment: str, hint: str) -> None:
    with pytest.raises(InputError, match=re.escape(hint)):
        edited(PARAMS, [assignment])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "train.max_epoch=2"],
        ["--set", "methods.absld.attack.eps=8"],
        ["--set", "train.max_epochs=2", "--set", "runs.methods=[absdl]"],
        ["--profile", "digit"],
        ["trian"],
        ["trian", "--profile", "digits"],
        ["train@absld-1", "--set", "runs.seeds=[0, 2]"],
    ],
)
def test_what_is_invalid_is_neither_written_nor_run(
    arguments: list[str], project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(PARAMS + "\n# mine\n", encoding="utf-8")
    before = (project / "params.yaml").read_bytes()
    assert absld("repro", *arguments) == 2
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == [".dvc", ".git", "dvc.yaml", "params.yaml"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["params", "check"], ["repro", "--set", "*.eps=4/255"], ["repro", "--set", "train.validation.eps=4/255"]],
)
def test_a_value_that_stands_for_others_is_refused_with_its_line(
    arguments: list[str], project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "params.yaml"
    text = PARAMS.replace("  eps: 0.1  ", "  eps: &radius 0.1  ", 1).replace("{eps: 0.1", "{eps: *radius", 1)
    line = text[: text.index("&radius")].count("\n") + 1
    path.write_text(text, encoding="utf-8")
    assert absld(*arguments) == 2
    said = capsys.readouterr().err
    assert f"params.yaml:{line}:8: &radius: " in said and "write this one out at each *radius" in said
    assert path.read_text(encoding="utf-8") == text


def test_a_stage_may_be_one_that_the_setting_makes(project: Path, absld: Callable[..., int]) -> None:
    assert absld("repro", "train@absld-1", "--set", "runs.seeds=[0, 1]") == 0
    assert (project / "absld-1.txt").is_file()


def test_a_sweep_without_gpus_enough_writes_nothing(
    project: Path, absld: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "devices", lambda _: {"cuda": ["a", "b"]})
    assert absld("sweep", "--seeds", "0-4", "--set", "train.processes=2") == 2
    assert "train.processes: 2: each takes a GPU" in capsys.readouterr().err
    assert (project / "params.yaml").read_text(encoding="utf-8") == PARAMS


# profiles


@pytest.fixture
def two_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "digits.yaml").write_text(PARAMS.replace("$schema=pipeline/", "$schema=../"), encoding="utf-8")
    (folder / "brief.yaml").write_text(PARAMS.replace("max_epochs: null", "max_epochs: 1"), encoding="utf-8")
    monkeypatch.setattr(profiles, "FOLDER", folder)


@pytest.mark.usefixtures("two_profiles")
def test_a_profile_never_overwrites_work_that_is_nowhere_else(project: Path) -> None:
    path = project / "params.yaml"
    assert profiles.use(project, "brief") is None  # it was equal to `digits`
    assert "max_epochs: 1" in path.read_text()

    path.write_text(PARAMS + "# mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="--force"):
        profiles.use(project, "brief")
    assert path.read_text() == PARAMS + "# mine\n"

    kept = profiles.use(project, "brief", force=True)
    assert kept == project / "params.yaml.kept-1"
    assert kept.read_text() == PARAMS + "# mine\n"

    path.write_text(PARAMS + "# again\n", encoding="utf-8")
    _, kept = profiles.configure(project, "digits", ["train.max_epochs=3"])
    assert kept == project / "params.yaml.kept-2"
    assert "max_epochs: 3" in path.read_text()


@pytest.mark.usefixtures("two_profiles")
def test_a_committed_file_may_be_overwritten_a_staged_one_may_not(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(PARAMS + "# mine\n", encoding="utf-8")
    git(project, "add", "params.yaml")
    assert not profiles.is_kept_elsewhere(project)
    git(project, "commit", "-qm", "mine")
    assert profiles.is_kept_elsewhere(project)
    path.write_text(PARAMS + "# changed\n", encoding="utf-8")
    assert not profiles.is_kept_elsewhere(project)


@pytest.mark.usefixtures("two_profiles")
def test_an_unknown_profile_has_a_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        profiles.text_of("digit")


def test_every_shipped_profile_can_be_taken(tmp_path: Path) -> None:
    for name in profiles.names():
        (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
        profiles.configure(tmp_path, name, to_run=False)
        assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == profiles.text_of(name)


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = json.loads((ROOT / "pipeline" / "params.schema.json").read_text(encoding="utf-8"))
    assert committed == Params.model_json_schema()
