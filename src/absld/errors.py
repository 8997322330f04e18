"""The errors that a user can mend."""


class InputError(Exception):
    """What the user gave is wrong: parameters, a file, a data set, a device.

    The message says where, what, and what to do. Nothing has been computed yet and nothing is lost. The command line
    and the stages print it without a traceback and exit with code 2.
    """
