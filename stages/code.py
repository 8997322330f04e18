"""Write down which code a method's training executes: `python -m stages.code METHOD`."""

from absld.records.files import digest, write_text
from stages.contracts import CODE_OF_METHODS
from stages.opening import Opened, code_of, main


def listing(code: dict[str, str], resolved: dict[str, object]) -> str:
    """As sha256sum prints it; the last line is the hash of the parameters as they were understood."""
    lines = [*(f"{sha256}  {path}" for path, sha256 in code.items()), f"{digest(resolved)}  params"]
    return "\n".join(lines) + "\n"


def work(stage: Opened) -> None:
    """One file for one method."""
    write_text(stage.writes["code"], listing(code_of(stage.root, "train", stage.axes["method"]), stage.resolved))


if __name__ == "__main__":
    main(CODE_OF_METHODS, work)
