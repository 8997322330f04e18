"""Every stage of the pipeline as a table: what it reads, what it writes, which parameters it may see.

dvc.yaml says the same in DVC's words; a test compares the two. Paths are relative to the project's root; ``{method}``,
``{seed}`` and ``{name}`` are filled in by the stage's axes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SPLITS = ("train", "validation", "test")
DATA = {f"{split}_{axis}": f"data/dataset/{split}_{axis}.npy" for split in SPLITS for axis in ("x", "y")}
CARD = {"card": "data/dataset/card.json"}
TEACHER = {"teacher": "models/teacher/weights.safetensors", "teacher_card": "models/teacher/card.json"}
RUN = "runs/{method}-s{seed}"


def _of(split: str) -> dict[str, str]:
    return {name: path for name, path in DATA.items() if name.startswith(split)}


@dataclass(frozen=True)
class Stage:
    """One step: a pure function from the files it reads and the parameters it declares to the files it writes."""

    name: str
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    params: tuple[str, ...] = ()
    """Dotted keys of params.yaml; a stage sees nothing else of it."""
    axes: tuple[str, ...] = ()
    """The command-line arguments that say which item of the matrix this is."""
    matrix: Mapping[str, str] = field(default_factory=dict)
    """Axis to the list in params.yaml that it runs over."""
    metrics: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()


OVER_RUNS = {"method": "runs.methods", "seed": "runs.seeds"}

CODE_OF_METHODS = Stage(
    "code",
    reads={"source": "src", "stages": "stages"},
    writes={"code": "code/{method}.sha256"},
    params=("student", "train", "methods.{method}"),
    axes=("method",),
    matrix={"method": "runs.methods"},
)
CODE_OF_STAGES = Stage(
    "code_of_stages",
    reads={"source": "src", "stages": "stages"},
    writes={name: f"code/{name}.sha256" for name in ("fetch_data", "fetch_teacher", "evaluate", "export", "report")},
    params=(
        "data",
        "teacher",
        "train.device",
        "train.engine",
        "train.precision",
        "train.processes",
        "evaluate",
        "export.opset",
        "export.square",
        "export.variants",
        "runs",
        "report",
    ),
)
FETCH_DATA = Stage(
    "fetch_data",
    reads={"code": "code/fetch_data.sha256"},
    writes={**DATA, **CARD},
    params=("data",),
)
FETCH_TEACHER = Stage(
    "fetch_teacher",
    reads={"code": "code/fetch_teacher.sha256", **DATA, **CARD},
    writes=TEACHER,
    params=("teacher", "train.device", "train.engine", "train.precision", "train.processes"),
)
TRAIN = Stage(
    "train",
    reads={"code": "code/{method}.sha256", **DATA, **CARD, **TEACHER},
    writes={
        "best": f"{RUN}/train/best.safetensors",
        "last": f"{RUN}/train/last.safetensors",
        "history": f"{RUN}/train/history.csv",
        "state": f"{RUN}/train/state.json",
    },
    params=("student", "train", "methods.{method}"),
    axes=("method", "seed"),
    matrix=OVER_RUNS,
    plots=("history",),
)
EVALUATE = Stage(
    "evaluate",
    reads={
        "code": "code/evaluate.sha256",
        **_of("test"),
        **CARD,
        "teacher": TEACHER["teacher"],
        "best": TRAIN.writes["best"],
        "last": TRAIN.writes["last"],
    },
    writes={
        "evaluation": f"{RUN}/evaluation/evaluation.json",
        "verdicts": f"{RUN}/evaluation/verdicts.npz",
        "adversarial": f"{RUN}/evaluation/adversarial.npz",
    },
    params=("evaluate", "train.device"),
    axes=("method", "seed"),
    matrix=OVER_RUNS,
    metrics=("evaluation",),
)
EXPORT = Stage(
    "export",
    reads={
        "code": "code/export.sha256",
        **_of("validation"),
        **_of("test"),
        **CARD,
        "teacher_card": TEACHER["teacher_card"],
        "best": TRAIN.writes["best"],
        "state": TRAIN.writes["state"],
        "evaluation": EVALUATE.writes["evaluation"],
        "adversarial": EVALUATE.writes["adversarial"],
    },
    writes={
        "student": f"{RUN}/export/student.onnx",
        "card": f"{RUN}/export/card.json",
        "card_text": f"{RUN}/export/card.md",
        "variants": f"{RUN}/export/variants",
    },
    params=("export.opset", "export.square", "export.variants"),
    axes=("method", "seed"),
    matrix=OVER_RUNS,
)
REPORT = Stage(
    "report",
    reads={"code": "code/report.sha256", **CARD, "teacher_card": TEACHER["teacher_card"], "runs": "runs"},
    writes={
        "summary": "reports/summary.json",
        "summary_text": "reports/summary.md",
        "summary_page": "reports/summary.html",
        "figures": "reports/figures",
    },
    params=("runs", "report"),
    metrics=("summary",),
    plots=("figures",),
)

ALL = (CODE_OF_METHODS, CODE_OF_STAGES, FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE, EXPORT, REPORT)
