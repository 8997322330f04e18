"""What can be known of a teacher before anything starts: no torch, no network."""

from importlib.util import find_spec
from pathlib import Path

from absld.errors import InputError
from absld.params.teacher import Teacher, TeacherFile, TeacherRobustBench
from absld.teachers.robustbench import INSTALL, KNOWN


def check_teacher(teacher: Teacher, root: Path) -> None:
    """Refuse a file that is missing and a model whose package is missing.

    Args:
        teacher: the section `teacher` of params.yaml.
        root: the project's folder, which relative paths start from.

    Raises:
        InputError: see above.

    """
    if isinstance(teacher, TeacherFile) and not (root / teacher.path).is_file():
        raise InputError(
            f"teacher.path: there is no file {root / teacher.path}: correct it; it starts from params.yaml"
        )
    if isinstance(teacher, TeacherRobustBench) and teacher.model not in KNOWN and find_spec("robustbench") is None:
        raise InputError(
            f"teacher.model: {teacher.model} needs the package robustbench: {INSTALL}; known without it are "
            f"{', '.join(KNOWN)}"
        )
