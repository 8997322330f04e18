"""What can be known to be wrong before anything starts: images, teacher, other files, device."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from absld.data.preflight import facts_of
from absld.errors import InputError
from absld.params.adversarial import FromFile
from absld.params.agreement import Disagreement, against_data, brought
from absld.params.distillation import CleanTeacher
from absld.params.root import Params
from absld.teachers.preflight import check_teacher


def preflight(root: Path, params: Params, told: Callable[[Iterable[Disagreement]], str]) -> None:
    """Look at what the parameters point to.

    Args:
        root: the project's folder.
        params: checked by themselves already.
        told: puts problems into words, with their places in the file.

    Raises:
        InputError: images, a teacher or another file are missing, do not fit the rest, or there is no such device.

    """
    problems = list(against_data(params, facts_of(params.data, root)))
    if params.train.device == "cuda" and not devices(root)["cuda"]:
        message = "torch finds no CUDA device here; set it to auto or cpu, or see `absld doctor`"
        problems.append(Disagreement(("train", "device"), message))
    problems += _missing_files(root, params)
    if problems:
        raise InputError(told(problems))
    check_teacher(params.teacher, root)


def _missing_files(root: Path, params: Params) -> Iterator[Disagreement]:
    """The files that methods bring networks from: each would be found missing only when its run begins."""
    for name in params.runs.methods:
        for key, section in brought(getattr(params.methods, name)).items():
            origin, keys = (section.origin, (key, "origin")) if isinstance(section, CleanTeacher) else (section, (key,))
            if isinstance(origin, FromFile) and not (root / origin.path).is_file():
                message = f"there is no file {root / origin.path}: correct it; it starts from params.yaml"
                yield Disagreement(("methods", name, *keys, "path"), message)


def devices(root: Path) -> dict[str, Any]:
    """What torch can use here, asked of a process of its own: importing torch takes seconds.

    Raises:
        InputError: torch cannot be imported.

    """
    answer = subprocess.run([sys.executable, "-m", "stages.doctor"], cwd=root, capture_output=True, text=True)
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:]
        raise InputError(f"torch cannot be used: {''.join(last)}; `make setup` installs it")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found
