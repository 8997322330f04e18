"""What can be known to be wrong before anything starts: images, teacher, device."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from absld.data.preflight import facts_of
from absld.errors import InputError
from absld.params.agreement import Disagreement, against_data
from absld.params.root import Params
from absld.teachers.preflight import check_teacher


def preflight(root: Path, params: Params, told: Callable[[Iterable[Disagreement]], str]) -> None:
    """Look at what the parameters point to.

    Args:
        root: the project's folder.
        params: checked by themselves already.
        told: puts problems into words, with their places in the file.

    Raises:
        InputError: images or a teacher are missing, do not fit the rest, or there is no such device.

    """
    problems = list(against_data(params, facts_of(params.data, root)))
    if params.train.device == "cuda" and not devices(root)["cuda"]:
        message = "torch finds no CUDA device here; set it to auto or cpu, or see `absld doctor`"
        problems.append(Disagreement(("train", "device"), message))
    if problems:
        raise InputError(told(problems))
    check_teacher(params.teacher, root)


def devices(root: Path) -> dict[str, object]:
    """What torch can use here, asked of a process of its own: importing torch takes seconds."""
    answer = subprocess.run(
        [sys.executable, "-m", "stages.doctor"], cwd=root, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(answer.stdout)
    return found
