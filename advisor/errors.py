"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad usage or bad input.

    The message is one line that names what is wrong and what to do about it. The command line
    prints it on standard error, without a traceback, and exits with code 2.
    """
