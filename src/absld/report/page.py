"""reports/summary.html: one file that a browser shows without anything else, in light and dark, on paper and phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from absld.data.card import Card
from absld.records.attacks import STRONGEST, attack_label, strongest
from absld.report.checks import checks_table, warning
from absld.report.drawing import Picture, inline
from absld.report.headline import headline, standings
from absld.report.measurement import attacks_table, epochs_table, runs_table
from absld.report.mistakes import attacks_told, mistakes_table, mistakes_title
from absld.report.palette import INKS, style_of
from absld.report.strength_table import TITLES, strength_table
from absld.report.summary import Summary
from absld.report.tables import Table, class_table, results_table
from absld.report.template import PAGE, STYLE
from absld.report.wording import (
    MEASURES,
    attack_in,
    images,
    method_label,
    percent,
    spread_explained,
    whiskers_explained,
)

SECTIONS = {
    "classes_": "Class by class",
    "mistakes_": "What the hardest classes become",
    "accuracy_by_": "As the attack grows",
    "": "While training",
}
"""With what the names of a section's figures begin, and its title."""


@dataclass(frozen=True)
class Bar:
    """A method's row on the first screen; numbers are percent as text."""

    label: str
    baseline: bool
    hue: str
    fill: float
    tail: str
    average: str
    low: str
    """Empty where there is no interval."""
    range: str


@dataclass(frozen=True)
class FoldedTable:
    """A table that can be folded away."""

    title: str
    table: Table


@dataclass(frozen=True)
class Section:
    """Figures with the numbers that they show."""

    title: str
    pictures: Sequence[Picture]
    tables: Sequence[FoldedTable]


def page(summary: Summary, pictures: Sequence[Picture], data: Card, teacher: Mapping[str, Any]) -> str:
    """The whole page; everything that comes from files is escaped. `teacher` is the teacher's card.json."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, finalize=_unbroken
    )
    environment.globals["zip"] = zip
    attack = strongest(summary["attacks"])
    label = attack_in(summary, attack)
    return environment.from_string(PAGE).render(
        style=Markup(f"{_inks()}{STYLE}"),
        told=headline(summary),
        eyebrow=_eyebrow(summary, data),
        tail=MEASURES[summary["tail"]],
        standings=_bars(summary),
        standings_caption=(
            f"{label}, {images(summary['attacks'][attack]['n'])}, in percent. "
            f"Bar: {MEASURES[summary['tail']].lower()}; upright mark: average over the classes; "
            f"thin line: {whiskers_explained(summary)}."
        ),
        warnings=[*_warnings(summary)],
        results=results_table(summary),
        sections=_sections(summary, pictures),
        drawn={of.name: Markup(inline(of.svg)) for of in pictures},
        checks=checks_table(summary),
        facts=_facts(summary, data, teacher),
        attacks=attacks_table(summary),
        epochs=epochs_table(summary),
        runs=runs_table(summary),
    )


def _unbroken(value: Any) -> Any:
    """No line ends between a number and its per cent sign."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if isinstance(value, str) else value


def _inks() -> str:
    light = "; ".join(f"--{name}: {ink.light}" for name, ink in INKS.items())
    dark = "; ".join(f"--{name}: {ink.dark}" for name, ink in INKS.items())
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _bars(summary: Summary) -> list[Bar]:
    bars = []
    for place in standings(summary):
        style, low, high = style_of(place.method), place.tail["low"], place.tail["high"]
        bars.append(
            Bar(
                label=method_label(place.method),
                baseline=place.method == summary["baseline"],
                hue=style.hue,
                fill=style.fill,
                tail=percent(place.tail["mean"]),
                average=percent(place.average["mean"]),
                low="" if low is None else percent(low),
                range="" if low is None or high is None else percent(high - low),
            )
        )
    return bars


def _eyebrow(summary: Summary, data: Card) -> str:
    seeds = summary["seeds"]
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    size = f"{len(data.classes)} classes, {data.size}×{data.size} pixels"
    return f"{summary['dataset']}: {size} · L∞ eps {summary['threat_model']['eps_text']} · {count}"


def _warnings(summary: Summary) -> Sequence[str]:
    chosen = [run for run, of in summary["runs"].items() if of["select_on"] == "test"]
    found = [f"{failed} What each found stands under Checks."] if (failed := warning(summary)) else []
    if chosen:
        found.append(
            f"the best epoch of {', '.join(chosen)} was chosen on the test images: these numbers are too good."
        )
    return found


def _sections(summary: Summary, pictures: Sequence[Picture]) -> list[Section]:
    """What was measured, then how it came about; a section without figures is left out."""
    tables = {
        "classes_": _class_tables(summary),
        "mistakes_": [
            FoldedTable(mistakes_title(summary, attack), mistakes_table(summary, attack))
            for attack in attacks_told(summary)
        ],
        "accuracy_by_": [FoldedTable(TITLES[kind], strength_table(summary, kind)) for kind in summary["curves"]],
        "": [],
    }
    left, sections = list(pictures), []
    for prefix, title in SECTIONS.items():
        shown = [picture for picture in left if picture.name.startswith(prefix)]
        left = [picture for picture in left if picture not in shown]
        if shown:
            sections.append(Section(title, shown, tables[prefix]))
    return sections


def _class_tables(summary: Summary) -> list[FoldedTable]:
    order = [attack for attack in STRONGEST if attack in summary["attacks"]]
    order += [attack for attack in summary["attacks"] if attack not in order]
    return [FoldedTable(f"{attack_in(summary, attack)} by class", class_table(summary, attack)) for attack in order]


def _facts(summary: Summary, data: Card, teacher: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    seeds, student, tail = summary["seeds"], summary["student"], MEASURES[summary["tail"]]
    counts = ", ".join(f"{sum(of.values()):,} {split}" for split, of in data.counts.items())
    many = summary["tail"] == "worst10"
    return [
        ("Data", f"{data.name}: {counts} images. {_origin(data.source, data.licence)}"),
        ("Threat model", f"L∞, eps {summary['threat_model']['eps_text']}, pixels in [0, 1]"),
        ("Student", f"{student['architecture']}, {student['parameters']:,} parameters"),
        ("Teacher", _teacher(summary, teacher)),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Average", "mean of the class accuracies"),
        (tail, "mean of the lowest tenth of the class accuracies" if many else "lowest class accuracy"),
        ("Overall", f"mean of average and {tail.lower()}"),
        ("NSD", "population standard deviation of the class accuracies, divided by their mean"),
        ("Spread", f"{spread_explained(summary)}; in figures {whiskers_explained(summary)}"),
    ]


def _teacher(summary: Summary, card: Mapping[str, Any]) -> str:
    """What the students learned from, and how robust that was."""
    of = summary["teacher"]
    accuracies = [
        f"{attack_label(attack, settings)}{_within(settings)}: average {percent(accuracy['average']['mean'])} %, "
        f"{MEASURES[summary['tail']].lower()} {percent(accuracy[summary['tail']]['mean'])} %"
        for attack, accuracy in of["accuracy"].items()
        for settings in (of["attacks"][attack]["settings"],)
    ]
    network = f"{of['architecture']}, {of['parameters']:,} parameters"
    return f"{network}. {'; '.join(accuracies)}. {_origin(card['source'], card['licence'])}"


def _within(settings: Mapping[str, Any]) -> str:
    """The radius that the teacher was attacked within: it need not be the students'."""
    return f" (eps {settings['eps_text']})" if "eps_text" in settings else ""


def _origin(source: str, licence: str) -> str:
    return f"Source: {source.rstrip('.')}. Licence: {licence.rstrip('.')}."
