"""Write down which code a method's training executes: `python -m stages.code METHOD`."""

from absld.records.files import write_text
from stages.contracts import CODE_OF_METHODS
from stages.opening import Opened, code_of, listing, main


def work(stage: Opened) -> None:
    """One file for one method."""
    write_text(stage.writes["code"], listing(code_of(stage.root, "train", *stage.methods), stage.resolved))


if __name__ == "__main__":
    main(CODE_OF_METHODS, work)
