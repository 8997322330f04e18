"""The page, the figures, and what DVC makes of them."""

import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import DIGITS, STATES, TWELVE, card, teacher, write_run

from absld.records.files import read_json, write_json
from absld.records.history import Row, read_history, write_history
from absld.records.layout import RunKey
from absld.report.curves import apart, over_seeds
from absld.report.inputs import read_run
from absld.report.risks import spread_by_epoch
from absld.report.writing import ReportFiles, write_report

ODD = [
    "Bäckerei & Söhne",
    "<script>alert(1)</script>",
    "a|b*c_d",
    'id="x"',
    "$x$",
    "猫",
    "a name that is longer than most",
    "bell \a",
]
SVG = "{http://www.w3.org/2000/svg}"


def report(root: Path, methods: Sequence[str], seeds: Sequence[int], classes: Sequence[str], epochs: int = 8) -> Path:
    keys = [RunKey(method, seed) for method in methods for seed in seeds]
    runs = [read_run(key, write_run(root, key, classes, epochs)) for key in keys]
    out = root / "reports"
    files = ReportFiles(out / "summary.json", out / "summary.md", out / "summary.html", out / "figures")
    write_report(runs, "rslad" if len(methods) > 1 else None, card(classes), teacher(classes), files)
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RSLAD against ABSLD on the digits, two seeds."""
    return report(tmp_path_factory.mktemp("two"), ["rslad", "absld"], [0, 1], DIGITS)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes with names that mean something to HTML, Markdown, XML or mathematics; one seed."""
    return report(tmp_path_factory.mktemp("odd"), ["rslad", "absld"], [0], ODD)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine methods, a hundred classes."""
    methods = ["rslad", "absld", "trades", "sat", "adaad", "frl", "bat", "cfa", "fair_ard"]
    return report(tmp_path_factory.mktemp("many"), methods, [0], [f"c{number}" for number in range(100)], epochs=4)


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The methods of the paper's tables on the digits, two seeds."""
    return report(tmp_path_factory.mktemp("twelve"), TWELVE, [0, 1], DIGITS)


def drawn(path: Path) -> list[str]:
    """The texts of a figure, in their order."""
    return [str(text.text) for text in ElementTree.parse(path).getroot().iter(f"{SVG}text")]


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, wanted: str) -> int:
        return sum(tag == wanted for tag, _ in self.tags)


@pytest.mark.parametrize("name", ["two", "odd", "many", "twelve"])
def test_the_page_stands_alone(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name) / "summary.html"
    text, page = path.read_text(encoding="utf-8"), Page(path)
    assert not re.search(r"https?:|//[a-z]|@import|\bsrc=", text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert all(target.startswith("#") for target in re.findall(r"(?:url\(|href=\")([^)\"]*)", text))


@pytest.mark.parametrize("name", ["two", "odd", "many", "twelve"])
def test_every_id_is_there_once_and_what_refers_to_one_finds_it(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name) / "summary.html"
    ids = [attributes["id"] for _, attributes in Page(path).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = path.read_text(encoding="utf-8")
    referred = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", text))
    for names in re.findall(r'aria-labelledby="([^"]*)"', text):
        referred |= set(names.split())
    assert referred <= set(ids)


def test_who_cannot_see_the_page_is_told_the_same(two: Path) -> None:
    page = Page(two / "summary.html")
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == page.count("figcaption") == len(list((two / "figures").iterdir())) == 9
    assert all(figure["role"] == "img" and figure["aria-labelledby"] for figure in figures)
    assert page.count("caption") == page.count("table")
    assert page.count("th") == sum(tag == "th" and "scope" in attributes for tag, attributes in page.tags)
    description = ElementTree.parse(two / "figures" / "classes_aa.svg").getroot().find(f"{SVG}desc")
    assert description is not None and "RSLAD: from" in str(description.text)


def test_names_of_classes_are_only_ever_text(odd: Path) -> None:
    page = Page(odd / "summary.html")
    assert page.text.count("<script>alert(1)</script>") >= 5, "a row in each of the class tables"
    assert "<script" not in (odd / "summary.md").read_text(encoding="utf-8")
    rows = [
        line for line in (odd / "summary.md").read_text(encoding="utf-8").splitlines() if line.startswith("| a\\|b")
    ]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [4, 4, 4], "accuracy, and mistakes by two attacks"
    for path in (odd / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        assert not list(root.iter(f"{SVG}script"))
    labels = {text.text for text in ElementTree.parse(odd / "figures" / "classes_aa.svg").getroot().iter(f"{SVG}text")}
    assert {"$x$", "bell �", 'id="x"', "猫"} <= labels


def test_numbers_are_never_nan(two: Path, many: Path) -> None:
    for folder in (two, many):
        for name in ("summary.json", "summary.md", "summary.html"):
            assert not re.search(r"\b(nan|NaN|Infinity|None)\b", (folder / name).read_text(encoding="utf-8"))


def test_bars_start_at_zero_and_are_as_high_as_the_accuracy(two: Path) -> None:
    """Each bar carries its accuracy as a tip; its height over that is the axis from 0 to 100 %."""
    summary = read_json(two / "summary.json")
    root = ElementTree.parse(two / "figures" / "classes_aa.svg").getroot()
    ticks = {of.text: float(of.attrib["y"]) for of in root.iter(f"{SVG}text") if "end" in of.attrib["style"]}
    scales = [ticks["0"] - ticks["100"]]
    for group in root.iter(f"{SVG}g"):
        tip, path = group.find(f"{SVG}title"), group.find(f"{SVG}path")
        if tip is not None and path is not None:
            found = re.fullmatch(r"(\d), (RSLAD|ABSLD): ([\d.]+) % .*", str(tip.text))
            assert found
            accuracy = summary["methods"][found[2].lower()]["aa"]["per_class"][found[1]]["mean"]
            assert found[3] == f"{100 * accuracy:.1f}"
            heights = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path.attrib["d"])]
            scales.append((max(heights) - min(heights)) / accuracy)
    assert len(scales) == 1 + 20
    assert max(scales) / min(scales) < 1.001


def test_a_hundred_classes_are_lines_and_the_labels_stay_few(many: Path) -> None:
    texts = drawn(many / "figures" / "classes_aa.svg")
    assert [text for text in texts if not text[0].isdigit()] == [
        *("RSLAD", "ABSLD", "TRADES", "SAT", "AdaAD", "FRL"),
        *("classes, sorted", "BAT", "classes, sorted", "CFA", "classes, sorted", "Fair-ARD"),
        "AutoAttack: accuracy by class, %",
        "Classes sorted from lowest to highest, each method by itself. AutoAttack (standard version, 9 target classes, "
        "pyautoattack 0.2.0), L∞",
        "eps 0.1; n = 3,600 test images; seed 0, 95 % interval over the test images (Wilson for classes, else bootstrap).",
        "RSLAD, in every panel",
    ]
    assert len(texts) < 60
    named = drawn(many / "figures" / "state_absld.svg")
    assert sum(text.startswith("c") for text in named) == 2 * 6
    assert (many / "summary.html").stat().st_size < 2_000_000


def test_many_methods_have_a_panel_each_with_the_baseline_in_it(twelve: Path) -> None:
    summary = read_json(twelve / "summary.json")
    labels = ["Natural", "SAT", "TRADES", "RSLAD", "AdaAD", "FRL", "BAT", "CFA", "Fair-ARD", "Fair-RSLAD", "ABSLD"]
    for name in ("classes_aa", "classes_pgd", "risk_spread", "validation"):
        texts = drawn(twelve / "figures" / f"{name}.svg")
        assert [text for text in texts if text in labels] == labels, name
    root = ElementTree.parse(twelve / "figures" / "classes_aa.svg").getroot()
    tips = [str(title.text) for title in root.iter(f"{SVG}title")][1:]
    assert len(tips) == 12 * 10
    for method, of in summary["methods"].items():
        shown = f"{100 * of['aa']['per_class']['7']['mean']:.1f} %"
        assert any(tip.startswith("7, ") and shown in tip for tip in tips), method
    dashed = [path for path in root.iter(f"{SVG}path") if "stroke-dasharray" in path.attrib.get("style", "")]
    assert not dashed
    assert "RSLAD, in every panel" in drawn(twelve / "figures" / "risk_spread.svg")


def test_a_method_without_an_attack_has_the_spread_of_its_clean_risk_alone(twelve: Path) -> None:
    description = ElementTree.parse(twelve / "figures" / "risk_spread.svg").getroot().find(f"{SVG}desc")
    assert description is not None
    said = str(description.text)
    assert "Natural, clean: from" in said and "Natural, adversarial" not in said
    assert "SAT, adversarial: from" in said


def test_the_state_of_every_method_is_drawn_class_by_class(twelve: Path) -> None:
    figures = {path.stem.removeprefix("state_") for path in (twelve / "figures").glob("state_*.svg")}
    assert figures == set(STATES)
    for method, quantities in STATES.items():
        texts = drawn(twelve / "figures" / f"state_{method}.svg")
        heads = [text.partition(",")[0] for text in texts]
        assert [head for head in heads if head in quantities] == list(quantities)
        paths = len(quantities) * len(DIGITS)
        named = [text for text in texts if text in DIGITS or text == "every class"]
        assert len(named) >= (paths if method != "absld_adv" else len(DIGITS) + 1), method
    assert "every class" in drawn(twelve / "figures" / "state_absld_adv.svg"), "its tau_clean is kept at 1"
    page = Page(twelve / "summary.html").text
    assert page.count("A temperature below 1 sharpens the teacher's labels") == 2
    assert page.count("A weight above 1") == 2


def test_the_state_of_a_new_method_is_drawn_without_a_word_about_it(tmp_path: Path) -> None:
    key = RunKey("eleventh", 0)
    files = write_run(tmp_path, key, DIGITS, epochs=3)
    state = read_json(files.state)
    state["state"] = {"patience": dict.fromkeys(DIGITS, 0.5), "overall_patience": 0.5}
    write_json(files.state, state)
    rows = [Row(epoch, "patience", name, epoch * float(name)) for epoch in (1, 2, 3) for name in DIGITS]
    write_history(files.history, [*read_history(files.history), *rows])
    out = tmp_path / "reports"
    where = ReportFiles(out / "summary.json", out / "summary.md", out / "summary.html", out / "figures")
    write_report([read_run(key, files)], None, card(DIGITS), teacher(DIGITS), where)
    texts = drawn(out / "figures" / "state_eleventh.svg")
    assert "ELEVENTH" in texts and "patience" in texts and "overall_patience" not in texts
    ends = [text for text in texts if text in DIGITS][-10:]
    assert sorted(ends, key=float) == DIGITS
    description = ElementTree.parse(out / "figures" / "state_eleventh.svg").getroot().find(f"{SVG}desc")
    assert description is not None and description.text == "patience: lowest 0, highest 9."


def test_figures_hold_no_date_and_no_path_of_this_machine(two: Path) -> None:
    for path in (two / "figures").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\d{4}-\d\d-\d\d|matplotlib|DOCTYPE|/home|/tmp", text)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10))
def test_labels_are_kept_apart_in_their_order(values: list[float]) -> None:
    places = apart(sorted(values), 5, 0, 100)
    assert all(above - below >= 5 - 1e-9 for below, above in itertools.pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= 100 + 1e-9
    assert apart(places, 5, 0, 100) == pytest.approx(places), "what is apart stays where it is"


def test_two_labels_at_one_place_move_by_the_same_amount() -> None:
    assert apart([50, 50, 80], 10, 0, 100) == [45, 55, 80]


@given(st.lists(st.floats(0.1, 5), min_size=2, max_size=6), st.floats(0.1, 10))
def test_the_spread_of_risks_has_no_unit(risks: list[float], factor: float) -> None:
    spread = spread_by_epoch([{1: risk} for risk in risks])[1]
    mean = fmean(risks)
    assert spread == pytest.approx(math.sqrt(fmean((risk - mean) ** 2 for risk in risks)) / mean, abs=1e-9)
    assert spread_by_epoch([{1: factor * risk} for risk in risks])[1] == pytest.approx(spread, abs=1e-9)


def test_a_curve_is_the_mean_of_the_epochs_that_all_seeds_have() -> None:
    curve = over_seeds([{1: 0.0, 2: 1.0, 3: 9.0}, {1: 1.0, 2: 5.0}])
    assert curve == ([1, 2], [0.5, 3.0], [0.0, 1.0], [1.0, 5.0])


def test_the_report_needs_no_torch(root: Path) -> None:
    heavy = "{'torch', 'mlflow', 'dvc'}"
    code = f"import sys, stages.report, absld.report.terminal; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, env={"PYTHONPATH": f"{root / 'src'}:{root}"})


@pytest.mark.slow
def test_dvc_draws_the_history_and_reads_the_metric(tmp_path: Path, two: Path, root: Path) -> None:
    """The template in a repository of its own, through DVC itself."""
    shutil.copytree(two.parent, tmp_path, dirs_exist_ok=True)
    history = "runs/absld-s0/train/history.csv"
    plot = f"- {history}: {{template: history, x: epoch, y: value, title: absld-s0}}"
    (tmp_path / "dvc.yaml").write_text(f"metrics: [reports/summary.json]\nplots:\n{plot}\n- reports/figures\n")

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    dvc("init", "--no-scm", "--quiet")
    (tmp_path / ".dvc" / "plots").mkdir()
    shutil.copy(root / ".dvc" / "plots" / "history.json", tmp_path / ".dvc" / "plots")
    drawn = json.loads(dvc("plots", "show", "--json"))["data"]
    spec = drawn[history][0]["content"]
    spec = json.loads(spec) if isinstance(spec, str) else spec
    assert spec["title"]["text"] == "absld-s0"
    assert spec["data"]["values"][0] | {"rev": "", "filename": "", "field": ""} == {
        "epoch": "1", "quantity": "train/loss", "class": "", "value": spec["data"]["values"][0]["value"],
        "rev": "", "filename": "", "field": "",
    }  # fmt: skip
    assert {step["as"]: step["calculate"] for step in spec["transform"]}["value"] == "toNumber(datum.value)"
    assert "DVC_METRIC" not in json.dumps(spec)
    assert {f"reports/figures/{path.name}" for path in (two / "figures").iterdir()} <= set(drawn)
    metric = json.loads(dvc("metrics", "show", "--json"))[""]["data"]["reports/summary.json"]["data"]
    assert metric["methods"]["absld"]["aa"]["worst"]["n"] == 2
