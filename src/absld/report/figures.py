"""All figures of a report."""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from absld.records.attacks import strongest
from absld.report import curves
from absld.report.bars import classes_picture
from absld.report.drawing import WIDTH, Picture, finish, head, house_style
from absld.report.inputs import Run
from absld.report.palette import INKS, SIGNS, class_colours, style_of
from absld.report.summary import MOST_SIDE_BY_SIDE, Summary
from absld.report.wording import method_label, short_name

DRAWN_BY_CLASS = ("aa", "pgd")
TEMPERATURES = {"tau_adv": "adversarial images", "tau_clean": "clean images"}
RISKS = {"risk_adv": "adversarial", "risk_clean": "clean"}
VALIDATION = {
    "validation/pgd_average": "PGD, average",
    "validation/pgd_worst": "PGD, worst class",
    "validation/clean_average": "Clean, average",
    "validation/clean_worst": "Clean, worst class",
}
CAPTIONS = {
    "temperatures": "A temperature below 1 sharpens the teacher's labels for a class, one above 1 smoothens them. "
    "Colour: from the hardest class (orange) to the easiest (blue), by accuracy under the strongest attack.",
    "risk_spread": "Population standard deviation over the classes of their mean cross-entropy in an epoch, divided by "
    "its mean: 0 is the same risk for every class. Solid: adversarial images; dashed: clean images.",
    "validation": "Accuracy after every epoch on the images that choose the best epoch, with and without the "
    "validation's PGD. Dots: each seed's best epoch (average + worst class under PGD), the one that is exported.",
}


def draw_all(summary: Summary, runs: Sequence[Run]) -> list[Picture]:
    """The figures that the runs have data for, in the order of the page."""
    attacks = [attack for attack in DRAWN_BY_CLASS if attack in summary["attacks"]]
    by_class = [classes_picture(summary, attack) for attack in attacks or [strongest(summary["attacks"])]]
    by_method = curves.by_method(runs)
    with house_style():
        training = (
            _temperatures(summary, by_method),
            _risk_spread(summary, by_method),
            _validation(summary, by_method),
        )
    return [*by_class, *filter(None, training)]


def spread_by_epoch(classes: Sequence[curves.Series]) -> curves.Series:
    """Population standard deviation / mean over the classes, per epoch; 0 where all are 0."""
    spread = {}
    for epoch in classes[0]:
        risks = [of[epoch] for of in classes]
        mean = fmean(risks)
        spread[epoch] = pstdev(risks, mean) / mean if mean else 0.0
    return spread


def _temperatures(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> Picture | None:
    """Temperatures by class, for the methods that have them: a row of two panels each."""
    learned = {name: runs for name, runs in by_method.items() if curves.series(runs[0], "tau_adv")}
    if not learned:
        return None
    accuracies = [of[strongest(summary["attacks"])]["per_class"] for of in summary["methods"].values()]
    colours = class_colours({name: fmean(of[name]["mean"] or 0.0 for of in accuracies) for name in summary["classes"]})
    figure = Figure(figsize=(WIDTH, curves.panel_height(MOST_SIDE_BY_SIDE) * len(learned)), layout="constrained")
    grid = figure.subplots(len(learned), 2, squeeze=False, sharey="row", sharex="row")
    said = []
    for row, (method, runs) in zip(grid, learned.items(), strict=True):
        for axes, (quantity, images) in zip(row, TEMPERATURES.items(), strict=True):
            head(axes, f"{method_label(method)}: {quantity}", images)
            named = _temperature_panel(axes, runs, quantity, colours)
            said.append(f"{method_label(method)} {quantity}: lowest {named[0]}, highest {named[-1]}.")
    return _picture(figure, "temperatures", "Teacher temperatures by class", said, summary)


def _temperature_panel(axes: Axes, runs: Sequence[Run], quantity: str, colours: Mapping[str, str]) -> list[str]:
    """Draw a line per class; return the classes that are named, from the lowest temperature to the highest."""
    seeds = [curves.series(run, quantity) for run in runs]
    shown = {name: curves.over_seeds([seed[name] for seed in seeds]) for name in seeds[0]}
    ends = {name: curves.draw(axes, curve, colours[name], thin=True) for name, curve in shown.items()}
    axes.axhline(1, color=INKS["muted"].light, linewidth=0.6, zorder=0.5)
    _epochs(axes)
    named = curves.extremes(shown, MOST_SIDE_BY_SIDE)
    curves.label(axes, [ends[name]._replace(text=short_name(name)) for name in named], size=7.5)
    return named


def _risk_spread(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> Picture | None:
    """Standard deviation over the classes of their risks, divided by the mean (the paper's Figure 5)."""
    figure = Figure(figsize=(WIDTH, curves.panel_height(2 * len(by_method))), layout="constrained")
    axes = figure.subplots()
    said, ends = [], []
    for method, runs in by_method.items():
        for quantity, images in RISKS.items():
            seeds = [curves.series(run, quantity) for run in runs]
            if not all(seeds):
                continue
            curve = curves.over_seeds([spread_by_epoch(list(seed.values())) for seed in seeds])
            text = f"{_name(method)}, {images}"
            ends.append(curves.draw(axes, curve, style_of(method), dashed=quantity == "risk_clean")._replace(text=text))
            said.append(f"{text}: from {curve.mean[0]:.2f} to {curve.mean[-1]:.2f}.")
    if not ends:
        return None
    head(axes, "Spread of the class risks", "standard deviation / mean")
    axes.set_ylim(bottom=0)
    _epochs(axes)
    curves.label(axes, ends)
    return _picture(figure, "risk_spread", "Spread of the class risks while training", said, summary)


def _validation(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> Picture:
    """Clean and PGD accuracy after every epoch, average and worst class, with the epochs that were chosen."""
    figure = Figure(figsize=(WIDTH, 1.6 * curves.panel_height(len(by_method))), layout="constrained")
    said = []
    for axes, (quantity, title) in zip(figure.subplots(2, 2).flat, VALIDATION.items(), strict=True):
        ends = []
        for method, runs in by_method.items():
            seeds = [_percent(curves.series(run, quantity)[""]) for run in runs]
            curve = curves.over_seeds(seeds)
            ends.append(curves.draw(axes, curve, style_of(method))._replace(text=_name(method)))
            for run, seed in zip(runs, seeds, strict=True):
                best = run.state["best_epoch"]
                axes.plot(best, seed[best], "o", color=style_of(method).colour, markersize=4.5, markeredgecolor="white")
            said.append(f"{title}, {method_label(method)}: {curve.mean[-1]:.1f} % at the end.")
        head(axes, title, "%")
        axes.set_ylim(0, 100)
        _epochs(axes)
        curves.label(axes, ends)
    return _picture(figure, "validation", "Validation accuracy while training", said, summary)


def _name(method: str) -> str:
    """A method's label beside its line: with the line's marker, by which methods of one hue differ."""
    return method_label(method) + SIGNS[style_of(method).marker]


def _percent(fractions: curves.Series) -> curves.Series:
    return {epoch: 100 * value for epoch, value in fractions.items()}


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _picture(figure: Figure, name: str, title: str, said: Sequence[str], summary: Summary) -> Picture:
    seeds = summary["seeds"]
    over = f"Lines: mean of {len(seeds)} seeds; bands: from the lowest to the highest."
    caption = f"{CAPTIONS[name]} {over if len(seeds) > 1 else f'Seed {seeds[0]}.'}"
    return Picture(name, title, caption, finish(figure, name, title, " ".join(said), {}))
