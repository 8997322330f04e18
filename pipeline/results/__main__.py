"""Write docs/results.md and the figures anew, and say which files changed: `python -m pipeline.results`."""

import sys

from absld.errors import InputError
from pipeline import console
from pipeline.project import find_root
from pipeline.results.page import write


def main() -> None:
    """Exit code 2: what is kept cannot stand in one table, or docs/results.md has no place for it."""
    try:
        changed = write(find_root())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    for path in changed:
        console.say(f"wrote {console.near(path)}")
    if not changed:
        console.say("docs/results.md and its figures say what is kept already")


if __name__ == "__main__":
    main()
