"""docs/results.md: what stands between the markers of a data set, and its figures. The rest is written by hand."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import fill

from absld.errors import InputError
from absld.records.files import write_text
from absld.report.markdown import escape, table_text
from pipeline.results.again import commands, comparisons, made
from pipeline.results.answers import answers_table, classes_that_differ
from pipeline.results.contrasts import BY_CLASS, Compared, compared
from pipeline.results.figures import Drawn, draw_all
from pipeline.results.reading import Results, read_results
from pipeline.results.same_images import same_images_table
from pipeline.results.tables import classes_table, measures_table, methods_table, paper_table

PAGE, FOLDER = "docs/results.md", "docs/results"
MARKED = re.compile(r"<!-- results: (?P<name>\S+) -->\n(?P<text>.*?)<!-- /results: (?P=name) -->", re.S)
NOTHING = "Nothing is kept here yet."
WIDTH = 129
"""Characters of a line of text; one more may be escaped."""
LIST_MARK = re.compile(r"^( *\d*)([.)+*-])(?= |$)")
"""What would begin a list where a line is broken."""


def write(root: Path) -> list[Path]:
    """Write the page and the figures of every data set, remove figures that there are no runs for any more.

    Returns what changed.

    Raises:
        InputError: the page has no markers for a data set, or its runs cannot stand in one table.

    """
    files = generated(root)
    changed = [path for path in (root / FOLDER).glob("*/*.svg") if path not in files]
    for path in changed:
        path.unlink()
    for path, content in files.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            write_text(path, content)
            changed.append(path)
    return changed


def generated(root: Path) -> dict[Path, str]:
    """The page and the figures as they should be, by their paths.

    Raises:
        InputError: what `write` raises.

    """
    page, found = root / PAGE, _read(root)
    text = page.read_text(encoding="utf-8")
    marked = {match["name"] for match in MARKED.finditer(text)}
    missing = [name for name in found if name not in marked]
    if missing:
        wanted = f"<!-- results: {missing[0]} -->\n<!-- /results: {missing[0]} -->"
        raise InputError(
            f"{PAGE} has no place for {', '.join(missing)}: add these two lines where it is to be\n{wanted}"
        )
    files: dict[Path, str] = {}
    texts: dict[str, str] = {}
    for name, results in found.items():
        drawn = draw_all(results)
        texts[name] = section(results, drawn)
        files |= {results.folder / f"{of.name}.svg": of.svg for of in drawn}
    return {page: MARKED.sub(lambda match: _marked(match["name"], texts.get(match["name"], NOTHING)), text), **files}


def section(results: Results, drawn: Sequence[Drawn]) -> str:
    """All that is said of one data set."""
    found = compared(results)
    folder = f"{FOLDER}/{results.name}"
    name = escape(results.name)
    answers = answers_table(found)
    public = results.kept[0].params["data"]["source"] != "image-folder"
    download = " already, or null to download them" if public else ""
    parts = [
        *([table_text(answers)] if answers else []),
        f"### {name}: the methods",
        table_text(methods_table(results)),
        *([table_text(same)] if (same := same_images_table(results)) else []),
        *_paper(results, folder),
        *(part for of in found for part in _pair(name, of, folder)),
        f"### {name}: figures",
        *(part for of in drawn for part in _figure(results, of)),
        f"### {name}: how it was made",
        *_list(list(made(results))),
        f"All of it again, in this order (FOLDER is where the images lie{download}):",
        _code(commands(results, folder)),
    ]
    return "\n\n".join(wrapped(part) for part in parts if part)


def _read(root: Path) -> dict[str, Results]:
    folders = sorted(path for path in (root / FOLDER).glob("*") if path.is_dir())
    return {folder.name: results for folder in folders if (results := read_results(folder)) is not None}


def _marked(name: str, text: str) -> str:
    return f"<!-- results: {name} -->\n\n{text}\n\n<!-- /results: {name} -->"


def _paper(results: Results, folder: str) -> Iterator[str]:
    """The paper's table, and the command that shows where its settings were others; or that there is none."""
    theirs = paper_table(results)
    if theirs is None:
        yield f"The paper has no table about {escape(results.first['dataset'])}, so no numbers of its own stand here."
        return
    runs = " ".join(f"{folder}/{kept.run.key}" for kept in results.kept)
    yield table_text(theirs.table)
    yield _code([f"absld compare --to paper --table {theirs.number} {runs}"])


def _pair(name: str, of: Compared, folder: str) -> Iterator[str]:
    yield f"### {name}: {of.title}"
    yield table_text(measures_table(of))
    if BY_CLASS in of.under:
        yield classes_that_differ(of)
        yield table_text(classes_table(of))
        yield _code(comparisons(of, folder))


def _figure(results: Results, of: Drawn) -> Iterator[str]:
    yield f"![{escape(of.title)}](results/{results.name}/{of.name}.svg)"
    yield f"{escape(of.title)}. {escape(of.caption)}"
    yield of.numbers


def _list(sentences: Sequence[str]) -> Iterator[str]:
    yield "\n".join(f"* {sentence}" for sentence in sentences)


def _code(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def wrapped(text: str) -> str:
    """The text with its long lines broken; tables, headings, figures and commands stay whole."""
    return "\n".join(_wrapped(line) for line in text.split("\n"))


def _wrapped(line: str) -> str:
    if line.startswith(("|", "#", "!", "    ")):
        return line
    indent = "  " if line.startswith("* ") else ""
    broken = fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    first, *others = broken.split("\n")
    return "\n".join([first, *(LIST_MARK.sub(r"\1\\\2", other) for other in others)])
