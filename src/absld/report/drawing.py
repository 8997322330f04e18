"""From a matplotlib figure to SVG: the same bytes every time, as a file of its own and inside the page."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from absld.report.palette import INKS

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONTS = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', sans-serif"
"""What a viewer sets the text in. matplotlib measures with its own font, which is wider than these."""
LEGAL = dict.fromkeys([*range(9), 11, 12, *range(14, 32)], "\N{REPLACEMENT CHARACTER}")
"""Control characters, which a folder's name may hold and XML may not."""
WIDTH = 7.6
"""Of every figure, in inches."""
LETTERS = 136
"""Of a line of a footnote."""
FOOTNOTE = "footnote"
"""Class of a footnote in the SVG, so that the page, which has the same words in its caption, can hide it."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "absld",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INKS["ink"].light,
    "axes.labelcolor": INKS["muted"].light,
    "axes.edgecolor": INKS["muted"].light,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": INKS["rule"].light,
    "grid.linewidth": 0.7,
    "xtick.color": INKS["muted"].light,
    "ytick.color": INKS["muted"].light,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0,
    "text.color": INKS["ink"].light,
    "figure.facecolor": INKS["paper"].light,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Picture:
    """A finished figure."""

    name: str
    """Its file is figures/<name>.svg."""
    title: str
    caption: str
    """What is drawn, how it was measured, what band or whisker means."""
    svg: str
    """A whole SVG file, on light paper."""


@contextmanager
def house_style() -> Iterator[None]:
    """Inside the block figures are made in the report's style, whatever a matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def head(axes: Axes, title: str, unit: str, above: float = 8) -> None:
    """A panel's title with the unit of its upright axis, so many points above it."""
    axes.set_title(f"{title}, {unit}", pad=above)


def footnote(figure: Figure, text: str) -> None:
    """How it was measured, below all panels: a figure is also looked at without its caption."""
    below = figure.supxlabel(fill(text, LETTERS), x=0.01, ha="left", size=7.5, color=INKS["muted"].light)
    below.set_gid(FOOTNOTE)


def finish(figure: Figure, name: str, title: str, description: str, tips: Mapping[str, str]) -> str:
    """The figure as an SVG file.

    Args:
        figure: To be drawn; made inside `house_style`.
        name: Prefix of all ids in it, so that figures can share a page.
        title: What a screen reader says first.
        description: What it says then.
        tips: Group id (`set_gid`) to the text that shows where the pointer rests.

    """
    text = _saved(figure, "svg", {"Date": None, "Creator": None, "Format": None, "Type": None}).decode("utf-8")
    root = ElementTree.fromstring(text.translate(LEGAL))
    _clean(root, name, tips)
    for place, (tag, content) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = content
        root.insert(place, element)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode").translate(LEGAL) + "\n"


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, for where SVG is not taken; made inside `house_style`."""
    return _saved(figure, "png", {"Software": None}, dpi=200)


def _saved(figure: Figure, kind: str, metadata: Mapping[str, None], dpi: float | str = "figure") -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # of an SVG the viewer's fonts have it
        figure.savefig(content, format=kind, metadata=dict(metadata), dpi=dpi)
    return content.getvalue()


def inline(svg: str) -> str:
    """The same figure for the page: colours follow the page's, no namespace, and as wide as its place."""
    root = ElementTree.fromstring(svg)
    variables = {ink.light: f"var(--{name})" for name, ink in INKS.items()}
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        style = element.attrib.get("style")
        if style:
            element.attrib["style"] = re.sub(r"#[0-9a-f]{6}", lambda m: variables.get(m[0], m[0]), style)
        href = element.attrib.pop(f"{{{XLINK}}}href", None)
        if href:
            element.attrib["href"] = href
    for absolute in ("width", "height", "version"):
        root.attrib.pop(absolute, None)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, name: str, tips: Mapping[str, str]) -> None:
    """Keep only ids that something refers to, under `name`; shorten numbers; set fonts and tips."""
    referred = set(re.findall(r"#([\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{SVG}}}style":  # it would reach the whole page; the root says it instead
                parent.remove(child)
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in referred:
            element.attrib["id"] = f"{name}-{identity}"
        if identity == FOOTNOTE:
            element.attrib["class"] = FOOTNOTE
        if identity in tips:
            tip = ElementTree.Element(f"{{{SVG}}}title")
            tip.text = tips[str(identity)]
            element.insert(0, tip)
        for key, value in element.attrib.items():
            element.attrib[key] = _rewritten(key, value, name)
    root.attrib["style"] = f"stroke-linejoin: round; stroke-linecap: butt; font-family: {FONTS}"


def _rewritten(key: str, value: str, name: str) -> str:
    if key == f"{{{XLINK}}}href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    value = re.sub(r"url\(#([\w-]+)\)", rf"url(#{name}-\1)", value)
    if key == "style":
        return value.replace("font-family: 'DejaVu Sans'; ", "")
    if key in ("d", "x", "y", "transform", "points"):
        return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
    return value
