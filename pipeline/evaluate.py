"""`absld evaluate`: a model that was not trained here, on the data and with the attacks of params.yaml or others."""

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from absld.errors import InputError, did_you_mean
from absld.evaluation.overrides import check_attacks, parse_eps
from absld.params.load import load
from absld.params.networks import Architecture
from absld.params.yaml_file import read_yaml
from absld.records.attacks import attack_label
from absld.records.files import read_json
from absld.report.wording import MEASURES, images, number
from absld.statistics.metrics import shown_measures
from pipeline import console, dvc, outcome, processes

if TYPE_CHECKING:
    from rich.table import Table

FOLDER = "evaluations"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
NO_WHITE_BOX = (
    "No white-box attack was run: ONNX Runtime gives no gradients. These numbers bound the robustness from above only; "
    "attacks that see the gradients (PGD, AutoAttack) may leave far less."
)


@dataclass(frozen=True)
class Model:
    """What the user named; paths as they were typed."""

    weights: Path | None
    onnx: Path | None
    architecture: str | None
    mean: str | None
    std: str | None
    adversarial: Path | None
    name: str | None
    data: Path | None
    size: int | None
    channels: int | None
    attacks: tuple[str, ...]
    eps: str | None

    @property
    def file(self) -> Path:
        """The model itself.

        Raises:
            InputError: none was named, or two.

        """
        given = [path for path in (self.weights, self.onnx) if path is not None]
        if len(given) != 1:
            raise InputError("give one model: --weights FILE (a checkpoint) or --onnx FILE")
        return given[0]

    @property
    def folder(self) -> str:
        """Its name below evaluations/: as given, else as the file is called."""
        return self.name or self.file.stem

    @property
    def options(self) -> list[str]:
        """The same for `python -m stages.evaluate_model`, which runs in the project's root."""
        paths = {
            "--weights": self.weights, "--onnx": self.onnx, "--adversarial": self.adversarial, "--data": self.data,
        }  # fmt: skip
        texts = {
            "--arch": self.architecture, "--mean": self.mean, "--std": self.std, "--name": self.folder,
            "--size": self.size, "--channels": self.channels, "--eps": self.eps,
        }  # fmt: skip
        absolute = {option: str(path.resolve()) for option, path in paths.items() if path is not None}
        given = [f"{option}={value}" for option, value in {**absolute, **texts}.items() if value is not None]
        return given + [f"--attack={attack}" for attack in self.attacks]

    def check(self) -> None:
        """Everything that can be found wrong before anything is fetched or attacked.

        Raises:
            InputError: with what to do.

        """
        for path in filter(None, (self.file, self.adversarial)):
            if not path.is_file():
                raise InputError(f"there is no file {path}: correct the path")
        if not NAME.fullmatch(self.folder):
            raise InputError(f"--name {self.folder}: a folder's name of letters, digits, dots, - and _ is needed")
        if self.onnx is not None and any((self.architecture, self.mean, self.std)):
            raise InputError("--arch, --mean and --std are for --weights: an ONNX file says how it computes itself")
        if self.weights is not None and self.adversarial is not None:
            raise InputError("--adversarial is for --onnx: with --weights the attacks make their own examples")
        check_attacks(self.attacks, white_box=self.weights is not None)
        if self.eps is not None:
            parse_eps(self.eps)
        if self.data is not None and not self.data.is_dir():
            raise InputError(f"--data: there is no folder {self.data}: correct the path")
        if self.channels not in (None, 1, 3):
            raise InputError(f"--channels {self.channels}: 1 is grey, 3 is colour")
        if self.data is None and (self.size, self.channels) != (None, None):
            raise InputError("--size and --channels are for the image files of --data: leave them out")
        known = get_args(Architecture)
        if self.architecture is not None and self.architecture not in known:
            hint = did_you_mean(self.architecture, known)
            asked = f"--arch {self.architecture}: unknown{f', {hint}' if hint else ''}"
            raise InputError(f"{asked}; there are {', '.join(known)}")


def run(root: Path, model: Model) -> int:
    """Attack the model; first the data that params.yaml names are fetched, unless others are given or they are there.

    Returns:
        The exit code of the command line.

    Raises:
        InputError: something that the user named is wrong; or the data must be fetched, and another command uses them.

    """
    model.check()
    console.left_over(processes.end_left_over(root))
    load(root / "params.yaml")
    if model.data is None and not _are_fetched(root):
        dvc.changed(root)  # it says who uses the data, if anybody does; `dvc repro` would only fail
        outcome.forget_failure(root)
        code = outcome.exit_code(root, dvc.repro(root, ["fetch_data"]))
        if code != dvc.DONE:
            console.failed(outcome.failure(root), code)
            return code
    command = [sys.executable, "-m", "stages.evaluate_model", *model.options]
    ended = processes.run(command, cwd=root, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    if ended.told is not None:
        return 128 + ended.told
    if ended.code < 0:
        console.cut_off(ended.code)
    return ended.code if ended.code in (dvc.DONE, dvc.WRONG_INPUT) else dvc.FAILED


def read(root: Path, model: Model) -> dict[str, Any]:
    """The evaluation that was written."""
    found: dict[str, Any] = read_json(root / FOLDER / model.folder / "evaluation.json")
    return found


def table(evaluation: Mapping[str, Any]) -> "Table":
    """Accuracy in percent, class by class, a column an attack."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    attacks: Mapping[str, Any] = evaluation["attacks"]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=escape(_caption(evaluation)), caption_justify="left")
    shown.add_column("class")
    for attack, of in attacks.items():
        shown.add_column(attack_label(attack, of["settings"]), justify="right")
    for name in evaluation["classes"]:
        shown.add_row(Text(name), *(number("per_class", of["accuracy"]["per_class"][name]) for of in attacks.values()))
    shown.add_section()
    for measure in shown_measures(evaluation["classes"]):
        shown.add_row(MEASURES[measure], *(number(measure, of["accuracy"][measure]) for of in attacks.values()))
    return shown


def remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """What must be known besides: checks that failed, and that the attacks were weak ones."""
    failed = [f"{name}: {check['detail']}" for name, check in evaluation["checks"].items() if not check["passed"]]
    lines = [f"A check failed, the numbers may flatter: {line}" for line in failed]
    return lines if evaluation["model"]["white_box"] else [*lines, NO_WHITE_BOX]


def _are_fetched(root: Path) -> bool:
    """Whether the data are what dvc.lock says, and that is of this code and these parameters.

    DVC would say the same, but not while another command uses the data.
    """
    from pipeline.publish import as_listed
    from stages.contracts import FETCH_DATA
    from stages.opening import open_stage

    try:
        record = read_yaml(root / "dvc.lock", anchors=True)["stages"][FETCH_DATA.name]
        recorded = {root / file["path"]: file["md5"] for file in (*record["deps"], *record["outs"])}
    except (InputError, KeyError, TypeError):  # there is none, or another DVC is writing it
        return False
    stage = open_stage(FETCH_DATA, root)
    files = (*stage.reads.values(), *stage.writes.values())
    return as_listed(stage) and recorded == {path: _md5(path) for path in files}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _caption(evaluation: Mapping[str, Any]) -> str:
    attacks = evaluation["attacks"].items()
    tested = [f"{attack_label(attack, of['settings'])} {images(of['n'])}" for attack, of in attacks]
    same = {images(of["n"]) for _, of in attacks}
    eps = evaluation["threat_model"]["eps_text"]
    return f"{evaluation['dataset']}: percent within L∞ eps {eps}; {', '.join(same if len(same) == 1 else tested)}"
