"""Put all runs that params name into one table, with figures: `python -m stages.report`."""

from pathlib import Path

from absld.data.card import read_card
from absld.records.files import read_json
from absld.records.layout import RunKey
from absld.report.inputs import RunFiles, read_run
from absld.report.writing import ReportFiles, write_report
from stages.contracts import EVALUATE, EXPORT, REPORT, TRAIN
from stages.opening import Opened, main


def work(stage: Opened) -> None:
    """Read the runs by name, so that folders left over from other parameters leave no trace."""
    wanted = stage.params.runs
    keys = [RunKey(method, seed) for method in wanted.methods for seed in wanted.seeds]
    files = ReportFiles(*(stage.writes[name] for name in ("summary", "summary_text", "summary_page", "figures")))
    runs = [read_run(key, files_of(stage.root, key)) for key in keys]
    teacher = read_json(stage.reads["teacher_card"])
    write_report(runs, stage.params.report.baseline, read_card(stage.reads["card"]), teacher, files)


def files_of(root: Path, key: RunKey) -> RunFiles:
    """Where the other stages' contracts say that a run's files lie."""
    paths = (TRAIN.writes["history"], TRAIN.writes["state"], EVALUATE.writes["evaluation"], EXPORT.writes["card"])
    return RunFiles(*(root / path.format(method=key.method, seed=key.seed) for path in paths))


if __name__ == "__main__":
    main(REPORT, work)
