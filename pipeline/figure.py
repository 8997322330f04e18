"""The paper's figures from the runs that there are: which are needed, which are missing, where the figure goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from absld.errors import InputError, writing_to
from absld.params.yaml_file import read_yaml
from absld.records.layout import RunKey

if TYPE_CHECKING:
    from absld.report.tables import Table

FOLDER = "reports/paper"
"""Beside the outs of the stage `report`, not among them: DVC empties its outs before it runs the stage."""


class Drawn(NamedTuple):
    """What became of a figure."""

    path: Path
    table: "Table"
    left_out: list[RunKey]
    """Runs of these methods that are not finished."""


def redraw(root: Path, number: int, output: Path | None, *, as_png: bool) -> Drawn:
    """Draw figure `number` of the paper over all seeds whose runs are finished.

    Raises:
        InputError: a method has no finished run, another version of absld made one, the runs were not measured alike,
            or the file has another suffix or cannot be written.

    """
    from absld.records.files import replacing
    from absld.report.inputs import check_agreement, read_run
    from absld.report.paper_figures import METHODS
    from absld.report.paper_figures import redraw as draw
    from stages.report import files_of

    path, kind = _target(root, number, output, as_png=as_png)
    wanted = METHODS[number]
    keys = [key for key in _runs(root) if key.method in wanted]
    finished = [key for key in keys if all(file.is_file() for file in files_of(root, key))]
    missing = [method for method in wanted if method not in {key.method for key in finished}]
    if missing:
        raise InputError(
            f"Figure {number} compares {', '.join(wanted)}, and there is no finished run of "
            f"{' and '.join(missing)}. To make what is missing: {_command(root, missing)}"
        )
    runs = [read_run(key, files_of(root, key)) for key in finished]
    check_agreement(runs)
    drawn = draw(number, runs, kind)
    with writing_to(path), replacing(path) as part:
        part.write_bytes(drawn.content)
    return Drawn(path, drawn.table, [key for key in keys if key not in finished])


def _target(root: Path, number: int, output: Path | None, *, as_png: bool) -> tuple[Path, Literal["svg", "png"]]:
    path = output or root / FOLDER / f"figure-{number}.{'png' if as_png else 'svg'}"
    match path.suffix.lower():
        case ".png":
            return path, "png"
        case ".svg" if not as_png:
            return path, "svg"
    raise InputError(f"{path}: the file's suffix must be {'.png, as --png says' if as_png else '.svg or .png'}")


def _runs(root: Path) -> list[RunKey]:
    """Every folder that is named like a run, method by method, seeds in their order."""
    split = [folder.name.rpartition("-s") for folder in (root / "runs").glob("*-s*") if folder.is_dir()]
    return sorted(RunKey(method, int(seed)) for method, _, seed in split if seed.isdecimal())


def _command(root: Path, missing: Sequence[str]) -> str:
    """What makes them, beside the runs that params.yaml names already."""
    listed = read_yaml(root / "params.yaml")["runs"]["methods"]
    added = [method for method in missing if method not in listed]
    setting = f' --set "runs.methods=[{", ".join([*listed, *added])}]"' if added else ""
    return f"`absld repro{setting}`"
