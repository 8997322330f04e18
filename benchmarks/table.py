"""The tables of docs/performance.md, from the history: `python -m benchmarks.table` writes them anew."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absld.records.files import write_text
from benchmarks.clock import PARTS
from benchmarks.history import Record, newest, read

PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
CONTESTANTS = (
    "contestant", "images/s", "× published", "TFLOP/s", "of the peak", "MiB", "first steps, s", *PARTS,
)  # fmt: skip


def page(text: str, records: Sequence[Record]) -> str:
    """The document with the tables of these runs between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"the document has no {BEGIN} ... {END}"
    return f"{before}{BEGIN}\n\n{tables(records)}\n{END}{after}"


def tables(records: Sequence[Record]) -> str:
    """For each device the newest measurement of each case, and all ratios."""
    if not records:
        return "No run is recorded yet.\n"
    return "\n".join(_device(records, device) for device in newest(records, "ratios"))


def _device(records: Sequence[Record], device: str) -> str:
    own = [record for record in records if record["device"] == device]
    last = own[-1]
    ratios, spread = newest(own, "ratios")[device], newest(own, "spread")[device]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items() if version)
    heading = f"### {device}\n\n{last['cores']} cores; in the last run {versions}.\n"
    cases = newest(own, "cases")[device]
    of_case = {name: _run(record) for record in own for name in record.get("cases", {})}
    blocks = [_case(name, of_case[name], block, ratios, spread) for name, block in cases.items()]
    rows = [[name, f"{value:.2f}", _range(spread[name])] for name, value in ratios.items()]
    of_part = {part: _run(record) for record in own for part in MORE if part in record}
    more = [f"`{part}`: {run}\n\n{MORE[part](newest(own, part)[device])}" for part, run in of_part.items()]
    return "\n".join([heading, *blocks, _markdown(("ratio", "median", "spread"), rows), *more])


def _run(record: Record) -> str:
    return f"{record['date']}, commit {record['commit']}"


def _case(name: str, run: str, block: dict[str, Any], ratios: dict[str, float], spread: dict[str, list[float]]) -> str:
    head = (
        f"`{name}`: student {block['student']}, teacher {block['teacher']}, {block['steps']} steps of "
        f"{block['batch_size']} images, {block['rounds']} rounds;\n{run}\n"
    )
    rows = [_contestant(name, who, result, ratios, spread) for who, result in block["contestants"].items()]
    return head + "\n" + _markdown(CONTESTANTS, rows)


def _contestant(
    case: str, name: str, result: dict[str, Any], ratios: dict[str, float], spread: dict[str, list[float]]
) -> list[str]:
    ratio = f"{case}_{name}_over_published"
    return [
        f"{name} ({_precision(result['report'])})",
        f"{result['images_per_second']:,.0f}"
        if result["images_per_second"] >= 100
        else f"{result['images_per_second']:.1f}",
        f"{ratios[ratio]:.2f} ({_range(spread[ratio])})" if ratio in ratios else "1",
        f"{result['flops_per_second'] / 1e12:.3g}",
        f"{100 * result['share_of_peak']:.3g} %",
        "" if result["memory_mib"] is None else f"{result['memory_mib']:.0f}",
        f"{result['first_seconds']:.1f}",
        *(f"{100 * result['shares'][part]:.1f} %" for part in PARTS),
    ]


def _precision(report: dict[str, Any]) -> str:
    """The student's, and the teacher's where it is another."""
    precision, of_teacher = report["precision"], report.get("teacher_precision", report["precision"])
    return str(precision) if precision == of_teacher else f"{precision}, teacher {of_teacher}"


def _autoattack(block: dict[str, Any]) -> str:
    return (
        f"AutoAttack, standard, on {block['images']} images with {block['architecture']} at eps {block['eps']:.4f}: "
        f"{block['survived']} survive; verdicts that differ from the reference's: {block['verdicts_that_differ']}; "
        f"{block['seconds']['ours']:.0f} s against {block['seconds']['reference']:.0f} s.\n"
    )


def _teacher_memory(block: dict[str, Any]) -> str:
    rows = [
        [
            profile,
            str(of["variants"]),
            str(of["epochs"]),
            f"{100 * of['expected_hit_rate']:.1f} %",
            f"{100 * of['teacher_hit_rate']:.1f} %" if "teacher_hit_rate" in of else "",
        ]
        for profile, of in block.items()
    ]
    return _markdown(("teacher's memory", "variants", "epochs", "expected hits", "measured hits"), rows)


MORE = {"autoattack": _autoattack, "teacher_memory": _teacher_memory}


def _range(low_high: Sequence[float]) -> str:
    low, high = low_high
    return f"{low:.2f} to {high:.2f}"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(path: Path = PAGE) -> None:
    """Put the tables of the recorded runs into the document."""
    write_text(path, page(path.read_text("utf-8"), read()))


if __name__ == "__main__":
    write()
