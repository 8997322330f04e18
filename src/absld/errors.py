"""The errors that need no traceback: their message is all there is to say."""


class InputError(Exception):
    """What the user gave is wrong: parameters, a file, a data set, a device.

    The message says where, what, and what to do. Nothing has been computed yet and nothing is lost. The command line
    and the stages print it without a traceback and exit with code 2.
    """


class FailedError(RuntimeError):
    """The work has come to nothing, and the message says why. Nothing is written.

    The command line and the stages print it without a traceback and exit with code 1.
    """


class EvaluationRefusedError(FailedError):
    """The numbers would not mean what they say; of which network, and what to do."""


class DivergedError(FailedError):
    """The loss became infinite or no number."""


class ParityError(FailedError):
    """The exported file does not compute what the student computes."""
