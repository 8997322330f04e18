"""The errors that need no traceback: their message is all there is to say."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class InputError(Exception):
    """What the user gave is wrong: parameters, a file, a data set, a device.

    The message says where, what, and what to do. Nothing has been computed yet and nothing is lost. The command line
    and the stages print it without a traceback and exit with code 2.
    """


class FailedError(RuntimeError):
    """The work has come to nothing, and the message says why. There is no result; what it can go on from is kept.

    The stages print it without a traceback and exit with code 1, and so does the command line that has started them.
    """


class EvaluationRefusedError(FailedError):
    """The numbers would not mean what they say; of which network, and what to do."""


class DivergedError(FailedError):
    """The loss became infinite or no number."""


class ParityError(FailedError):
    """The exported file does not compute what the student computes."""


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Where something is written that the user named, what the system refuses becomes InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: name another place ({error})") from None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """For a message: the known name that is nearest to one that is not known; None: none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
