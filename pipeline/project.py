"""Where the project lies."""

from pathlib import Path

from absld.errors import InputError


def find_root(start: Path | None = None) -> Path:
    """The nearest folder, from `start` (the working directory) upwards, that holds dvc.yaml and params.yaml.

    Raises:
        InputError: there is none.

    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            if (folder / "params.yaml").is_file():
                return folder
            raise InputError(
                f"{folder} has a dvc.yaml but no params.yaml. Write one: cp pipeline/profiles/digits.yaml params.yaml"
            )
    raise InputError(f"{here} is not inside a project: neither it nor a folder above holds dvc.yaml and params.yaml")
