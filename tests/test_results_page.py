"""docs/results.md as a page: its markers, figures and commands; and the page that is committed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import PROFILE, Verdicts, counted, new_project, read, write_kept, write_many
from ruamel.yaml import YAML

from absld.errors import InputError
from absld.records.files import read_json
from absld.records.layout import RunKey
from absld.report.palette import INKS
from pipeline.paper import comparison
from pipeline.results.again import batches, commands
from pipeline.results.figures import draw_all, on_any_paper
from pipeline.results.page import FOLDER, PAGE, generated, wrapped, write
from pipeline.settings import edited

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the runs of a data set are kept."""
    return new_project(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with two seeds and AutoAttack, two with one seed and without."""
    folder = tmp_path_factory.mktemp("written") / "clothes"
    write_many(folder)
    return folder


@pytest.fixture
def many(folder: Path, written: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(written, folder))


@pytest.fixture
def keep(folder: Path) -> Callable[[str, int, Verdicts], Path]:
    """Keeps a run with these verdicts."""
    return lambda method, seed, verdicts: write_kept(folder, RunKey(method, seed), verdicts, PROFILE)


# --- the page and the figures ----------------------------------------------------------------------------------------


def test_the_page_is_written_between_the_markers_and_twice_is_once(many: Path) -> None:
    root = many.parents[2]
    (many / "gone.svg").touch()
    changed = write(root)
    assert many / "gone.svg" in changed
    assert not (many / "gone.svg").exists()
    text = (root / PAGE).read_text(encoding="utf-8")
    assert text.startswith("# By hand\n\n<!-- results: clothes -->\n")
    assert text.endswith("<!-- /results: clothes -->\n\nand after\n")
    assert "old" not in text.splitlines()
    figures = {path.name for path in many.glob("*.svg")}
    assert figures == {"classes_pgd.svg", "classes_aa.svg", "temperatures.svg", "ablation.svg", "risk_spread.svg"}
    assert set(re.findall(r"\]\(results/clothes/(\S+)\)", text)) == figures
    too_long = [line for line in text.splitlines() if len(line) > 130 and not line.startswith(("|", "!", "    "))]
    assert not too_long
    for said in ("PGD-20: average", "commit 0123456789", "train 61 s, evaluate 30 s", "fox\\_red"):
        assert said in " ".join(text.split()), said
    assert write(root) == []


def test_the_figures_say_what_they_show(many: Path) -> None:
    drawn = {of.name: of for of in draw_all(read(many))}
    for attack, n in (("pgd", 160), ("aa", 80)):
        of = drawn[f"classes_{attack}"]
        for said in ("digits, student tiny_resnet16", "eps 0.1", f"n = {n} test images", "Seeds 0, 1"):
            assert said in of.caption, said
        titles = [element.text for element in ElementTree.fromstring(of.svg).iter("{http://www.w3.org/2000/svg}title")]
        per_class = [
            read_json(many / f"absld-s{seed}/evaluation.json")["attacks"][attack]["accuracy"]["per_class"]["cat"]
            for seed in (0, 1)
        ]
        low, high = (f"{100 * end:.1f}" for end in (min(per_class), max(per_class)))
        assert f"cat, ABSLD: {50 * sum(per_class):.1f} % ({low}–{high})" in titles
    assert "tau_adv" in drawn["temperatures"].svg
    assert "Seed 0." in drawn["temperatures"].caption
    assert "Seed 0." in drawn["ablation"].caption, "ABSLD, adv only has no other"
    assert "AutoAttack" not in drawn["ablation"].numbers, "it did not meet it"


@given(st.lists(st.sampled_from(["word", "1.", "20)", "-", "+", "*", "0.1.", "a-b", "20,", "=" * 40]), min_size=1))
def test_a_broken_line_begins_no_list_and_loses_no_word(words: list[str]) -> None:
    lines = wrapped(" ".join(["Begin", *words])).split("\n")
    assert all(len(line) <= 130 for line in lines)
    assert not any(re.match(r"\s*([-+*]|\d+[.)])( |$)", line) for line in lines)
    assert " ".join(lines).replace("\\", "").split() == ["Begin", *words]


def test_a_figure_is_light_and_turns_dark_with_its_reader() -> None:
    ink = INKS["blue"]
    svg = f'<svg><desc>of <b/></desc><path style="fill: {ink.light}; stroke: {ink.light}"/></svg>'
    found = on_any_paper(svg)
    assert f'[style*="fill: {ink.light}"]{{fill:{ink.dark} !important}}' in found
    assert found.replace(found[found.index("<style>") : found.index("</style>") + 8], "") == svg


def test_without_runs_the_page_says_so_and_without_a_place_it_is_refused(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    root = folder.parents[2]
    keep("rslad", 0, {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)})
    (root / PAGE).write_text("<!-- results: other -->\n<!-- /results: other -->\n", encoding="utf-8")
    with pytest.raises(InputError, match="no place for clothes"):
        generated(root)
    folder.rename(folder.with_name("other"))
    assert "### other: the methods" in generated(root)[root / PAGE]
    (folder.parent / "other").rename(root / "elsewhere")
    assert "Nothing is kept here yet." in generated(root)[root / PAGE]


def test_the_page_and_the_figures_that_are_committed_are_those_of_the_runs() -> None:
    for path, content in (files := generated(ROOT)).items():
        assert path.read_text(encoding="utf-8") == content, f"{path}: run `python -m pipeline.results`"
    assert set((ROOT / FOLDER).glob("*/*.svg")) == {path for path in files if path.suffix == ".svg"}


def test_every_folder_that_is_committed_has_a_place_on_the_page() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in ("fashion-mnist", "cifar10", *(path.name for path in (ROOT / FOLDER).glob("*") if path.is_dir())):
        assert f"<!-- results: {name} -->" in text


# --- the commands ----------------------------------------------------------------------------------------------------


def params(tmp_path: Path, *assignments: str, profile: str = "fashion-mnist") -> Path:
    path = tmp_path / "some.yaml"
    text = (ROOT / f"pipeline/profiles/{profile}.yaml").read_text(encoding="utf-8")
    path.write_text(edited(text, assignments), encoding="utf-8")
    return path


def test_the_profile_is_found_wherever_the_images_lie(folder: Path, tmp_path: Path) -> None:
    verdicts = {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)}
    both = params(tmp_path, "data.root=null", "runs.seeds=[0]", "runs.methods=[rslad, absld]")
    for method in ("rslad", "absld"):
        write_kept(folder, RunKey(method, 0), verdicts, both)
    document = YAML(typ="safe").load(both)
    assert document == YAML(typ="safe").load(PROFILE), "the profile names these two"
    both.write_text(edited(both.read_text(), ["data.root=/somewhere"]), encoding="utf-8")
    write_kept(folder, RunKey("absld", 0), verdicts, both)
    assert list(commands(read(folder), "docs/results/clothes")) == [
        "absld repro --profile fashion-mnist --set data.root=FOLDER",
        "absld keep docs/results/clothes",
        "python -m pipeline.results",
    ]


def test_what_was_made_twice_is_made_last(folder: Path, tmp_path: Path) -> None:
    verdicts = {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)}
    write_kept(folder, RunKey("rslad", 0), verdicts, PROFILE)  # names ABSLD too, which another one has replaced
    of_absld = params(tmp_path, "runs.methods=[absld]", "evaluate.attacks.aa.n=20")
    write_kept(folder, RunKey("absld", 0), verdicts, of_absld)
    assert [batch.profile for batch in batches(read(folder))] == ["fashion-mnist", None]
    assert list(commands(read(folder), "kept"))[2:] == [
        "cp kept/absld-s0/params.yaml params.yaml",
        "absld repro --set data.root=FOLDER",
        "absld keep kept",
        "python -m pipeline.results",
    ]


def test_runs_that_were_never_kept_are_not_made(folder: Path, tmp_path: Path) -> None:
    verdicts = {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)}
    of_three = params(tmp_path, "runs.methods=[trades, rslad, absld]")
    for method in ("trades", "absld"):
        write_kept(folder, RunKey(method, 0), verdicts, of_three)
    assert list(commands(read(folder), "kept")) == [
        "cp kept/trades-s0/params.yaml params.yaml",
        "absld repro export@trades-0 export@absld-0 --set data.root=FOLDER",
        "absld keep kept trades-s0 absld-s0",
        "python -m pipeline.results",
    ]


def test_what_is_kept_can_be_put_beside_the_paper(many: Path) -> None:
    [run] = comparison.read_runs(many.parents[2], [str(many / "absld-s0")])
    assert (run.key, run.state["seed"]) == (RunKey("absld", 0), 0)
    assert run.card["student"]["architecture"] == "tiny_resnet16"


def test_the_command_writes_without_torch_and_refuses_in_words(
    folder: Path, keep: Callable[[str, int, Verdicts], Path]
) -> None:
    root = folder.parents[2]
    for method in ("rslad", "absld"):
        keep(method, 0, {"clean": counted(9, 9, 9, 9), "pgd": counted(5, 5, 5, 5)})
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).touch()
    code = (
        "import sys, runpy\n"
        "try: runpy.run_module('pipeline.results', run_name='__main__')\n"
        "finally: print({'torch', 'mlflow', 'dvc'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code]
    answer = subprocess.run(run, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "set()"
    assert "wrote docs/results.md" in answer.stdout
    (folder / "data.json").unlink()
    answer = subprocess.run(run, cwd=root, env=environment, capture_output=True, text=True)
    assert (answer.returncode, "`absld keep` writes them" in answer.stderr) == (2, True)
