"""What can be known to be wrong before anything starts: images, teacher, device."""

import json
import subprocess
import sys
from pathlib import Path

from absld.data.preflight import facts_of
from absld.errors import InputError
from absld.params.agreement import against_data
from absld.params.load import told
from absld.params.root import Params
from absld.teachers.preflight import check_teacher


def preflight(root: Path, params: Params) -> None:
    """Look at what params.yaml points to.

    Raises:
        InputError: images or a teacher are missing, do not fit the rest, or there is no such device.

    """
    path = root / "params.yaml"
    if problems := list(against_data(params, facts_of(params.data, root))):
        raise InputError(told(problems, path))
    check_teacher(params.teacher, root)
    if params.train.device == "cuda" and not devices(root)["cuda"]:
        raise InputError(
            "params.yaml: train.device: cuda: torch finds no CUDA device here; set it to auto or cpu, "
            "or see `absld doctor`"
        )


def devices(root: Path) -> dict[str, object]:
    """What torch can use here, asked of a process of its own: importing torch takes seconds."""
    answer = subprocess.run(
        [sys.executable, "-m", "stages.doctor"], cwd=root, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(answer.stdout)
    return found
